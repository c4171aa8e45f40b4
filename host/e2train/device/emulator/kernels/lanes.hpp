// SPDX-License-Identifier: Apache-2.0
// Vectors of 32-bit lanes in the machine's own width, and the exact dot products on them.
//
// Written with the vector extensions that g++ and clang share, so that the same code serves
// AVX-512, AVX2, SSE and NEON; only the dot products name instructions. All of them wrap modulo
// 2^32, so a sum is exact whenever its final value fits 32 bits, whatever its partial sums did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace e2 {

#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int LANES = 16;
constexpr int REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int LANES = 8;
constexpr int REGISTERS = 16;
#else
constexpr int LANES = 4;
constexpr int REGISTERS = 16;
#endif

typedef int32_t Vec __attribute__((vector_size(4 * LANES)));
typedef int16_t HalfVec __attribute__((vector_size(2 * LANES)));
typedef int8_t ByteVec __attribute__((vector_size(LANES)));

// Both as instructions: g++ takes a conversion from bytes apart lane by lane.
inline Vec widened(ByteVec v) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return (Vec)_mm512_cvtepi8_epi32((__m128i)v);
#elif defined(__AVX2__)
    return (Vec)_mm256_cvtepi8_epi32(_mm_set_epi64x(0, (long long)v));
#else
    return __builtin_convertvector(v, Vec);
#endif
}

inline Vec widened(HalfVec v) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return (Vec)_mm512_cvtepi16_epi32((__m256i)v);
#elif defined(__AVX2__)
    return (Vec)_mm256_cvtepi16_epi32((__m128i)v);
#else
    return __builtin_convertvector(v, Vec);
#endif
}

inline Vec splat(int32_t value) {
    return Vec{} + value;
}

inline Vec load(const int32_t* from) {
    Vec v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(int32_t* to, Vec v) {
    std::memcpy(to, &v, sizeof v);
}

// The first `count` lanes from memory, zero in the others.
inline Vec load(const int32_t* from, int count) {
    if (count == LANES) return load(from);
    Vec v{};
    std::memcpy(&v, from, sizeof(int32_t) * count);
    return v;
}

inline Vec load(const int16_t* from, int count) {
    HalfVec h{};
    if (count == LANES)
        std::memcpy(&h, from, sizeof h);
    else
        std::memcpy(&h, from, sizeof(int16_t) * count);
    return widened(h);
}

inline Vec load(const int8_t* from, int count) {
    ByteVec b{};
    if (count == LANES)
        std::memcpy(&b, from, sizeof b);
    else
        std::memcpy(&b, from, count);
    return widened(b);
}

// The first `count` lanes of values that fit 16 bits.
inline void store(int16_t* to, Vec v, int count) {
    const HalfVec h = __builtin_convertvector(v, HalfVec);
    if (count == LANES)
        std::memcpy(to, &h, sizeof h);
    else
        std::memcpy(to, &h, sizeof(int16_t) * count);
}

inline Vec max(Vec a, Vec b) {
    return a > b ? a : b;
}
inline Vec min(Vec a, Vec b) {
    return a < b ? a : b;
}
inline Vec magnitude(Vec v) {
    return max(v, -v);
}

inline int32_t largest(Vec v) {
    int32_t top = v[0];
    for (int i = 1; i < LANES; ++i) top = v[i] > top ? v[i] : top;
    return top;
}

inline Vec saturate16(Vec v) {
    return min(max(v, splat(-32768)), splat(32767));
}

// (v + 2^(shift-1)) >> shift without a 33rd bit: floor((floor(v / 2^(s-1)) + 1) / 2). shift >= 1;
// beyond 32 every value rounds to zero, which shift 32 gives as well.
inline Vec round_shift(Vec v, int shift) {
    const int first = shift > 32 ? 31 : shift - 1;
    return ((v >> first) + 1) >> 1;
}

// acc + a.low * b.low + a.high * b.high on the two signed 16-bit halves of every lane.
inline Vec dot_halves(Vec acc, Vec a, Vec b) {
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
    return (Vec)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__) && defined(__AVX512F__)
    return acc + (Vec)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return acc + (Vec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return acc + (Vec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    return acc + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

// acc + the four products of unsigned bytes of a with signed bytes of b in every lane. Only the
// VNNI instruction is exact: the older byte products saturate to 16 bits on the way.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
constexpr bool HAVE_BYTE_DOT = true;
inline Vec dot_bytes(Vec acc, Vec a, Vec b) {
    return (Vec)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
}
#else
constexpr bool HAVE_BYTE_DOT = false;
#endif

constexpr int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

// Uninitialised memory on a cache line's boundary.
template <class T>
class Buffer {
  public:
    explicit Buffer(size_t count)
        : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {
        if (data_ == nullptr) throw std::bad_alloc();
    }
    Buffer(size_t count, T value) : Buffer(count) {
        for (size_t i = 0; i < count; ++i) data_[i] = value;
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }
    T* get() { return data_; }
    const T* get() const { return data_; }
    T& operator[](size_t i) { return data_[i]; }

  private:
    T* data_;
};

}  // namespace e2
