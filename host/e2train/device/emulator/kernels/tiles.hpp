// SPDX-License-Identifier: Apache-2.0
// The processor's matrix tiles (AMX): eight of up to 16 rows of 64 bytes, and products of bytes
// into 32-bit sums that wrap modulo 2^32.
//
// The tile instructions do not tell the compiler what memory they use: whoever calls them puts
// tile_fence() between them and the plain code that writes and reads it.
#pragma once

#if defined(__linux__) && defined(__AMX_INT8__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
#define E2_HAVE_TILES 1

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace e2 {

// Whether the system lets this process use the tiles; it has to be asked once.
inline bool tiles_allowed() {
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    static const bool allowed = syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    return allowed;
}

inline void tile_fence() {
    asm volatile("" ::: "memory");
}

// A thread's tiles for as long as this lives; no two at a time in a thread.
class Tiles {
  public:
    // Sums and left operands (tiles 0 to 5) have `rows` rows, right operands (6 and 7) `words`;
    // left operands (4 and 5) have `words` words a row, the others 16.
    Tiles(int rows, int words) {
        struct alignas(64) {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t row_bytes[16] = {};
            uint8_t rows[16] = {};
        } shape;
        for (int i = 0; i < 8; ++i) {
            shape.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? 4 * words : 64);
            shape.rows[i] = (uint8_t)(i < 6 ? rows : words);
        }
        tile_fence();
        _tile_loadconfig(&shape);
    }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
};

}  // namespace e2
#else
namespace e2 {
inline bool tiles_allowed() {
    return false;
}
}  // namespace e2
#endif
