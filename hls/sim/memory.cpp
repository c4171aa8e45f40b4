// SPDX-License-Identifier: Apache-2.0
// What stands behind the memory ports (DPI), and what the server sets and asks (ctypes).
#include "memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::uint64_t NOTHING = 0xdeadbeefdeadbeefULL;  // read where no memory answers
constexpr int OKAY = 0;
constexpr int DECERR = 3;
constexpr int NEVER = -1;
constexpr int PORTS = 5;

struct Memory {
    unsigned char* bytes;
    std::uint64_t base;
    std::uint64_t size;
};

// The next burst of a direction of a port that is answered otherwise, after `skip` good ones.
struct Upset {
    bool armed;
    int port;
    int write;
    int response;
    std::uint64_t skip;
};

struct Statistics {
    std::uint64_t bursts[2][PORTS];  // read, written
    std::uint64_t beats[2][PORTS];
    std::uint64_t violations;
};

Memory memory = {nullptr, 0, 0};
Upset upset = {false, 0, 0, 0, 0};
Statistics statistics = {};

bool inside(std::uint64_t address, std::uint64_t bytes) {
    return address >= memory.base && address + bytes <= memory.base + memory.size;
}

int upset_of(int port, int write) {
    if (!upset.armed || upset.port != port || upset.write != write) {
        return OKAY;
    }
    if (upset.skip > 0) {
        --upset.skip;
        return OKAY;
    }
    upset.armed = false;
    return upset.response;
}

}  // namespace

extern "C" void bus_violation(const char* rule, int port) {
    ++statistics.violations;
    std::fprintf(stderr, "bus: port %d: %s\n", port, rule);
}

namespace e2sim {

std::uint64_t memory_peek(std::uint64_t address) {
    if (!inside(address, 8)) {
        return NOTHING;
    }
    std::uint64_t value;
    std::memcpy(&value, memory.bytes + (address - memory.base), 8);
    return value;
}

}  // namespace e2sim

// ---- for the memory's Verilog -------------------------------------------------------------------

// The response to a burst: OKAY, SLVERR, DECERR, or NEVER.
extern "C" int memory_response(int port, int write, int unsigned address, int beats) {
    ++statistics.bursts[write][port];
    statistics.beats[write][port] += static_cast<std::uint64_t>(beats);
    const std::uint64_t bytes = std::uint64_t{8} * static_cast<std::uint64_t>(beats);
    if (address % 8 != 0) {
        bus_violation("a burst begins inside a beat", port);
    }
    if (beats > 16) {
        bus_violation("a burst of more than 16 beats", port);
    }
    if (address / 4096 != (address + bytes - 1) / 4096) {
        bus_violation("a burst crosses 4 KiB", port);
    }
    const int other = upset_of(port, write);
    return other == OKAY && !inside(address, bytes) ? DECERR : other;
}

extern "C" long long unsigned memory_read(int unsigned address) {
    return e2sim::memory_peek(address);
}

extern "C" void memory_write(int unsigned address, long long unsigned data, int strobes) {
    for (int byte = 0; inside(address, 8) && byte < 8; ++byte) {
        if ((strobes >> byte) & 1) {
            memory.bytes[address - memory.base + static_cast<std::uint64_t>(byte)] =
                static_cast<unsigned char>(data >> (8 * byte));
        }
    }
}

// ---- for the server -----------------------------------------------------------------------------

extern "C" int board_map(const char* path, std::uint64_t base, std::uint64_t size) {
    const int file = open(path, O_RDWR);
    if (file < 0) {
        return -1;
    }
    void* place = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place == MAP_FAILED) {
        return -1;
    }
    memory = Memory{static_cast<unsigned char*>(place), base, size};
    return 0;
}

extern "C" void board_upset(int port, int write, int response, std::uint64_t skip) {
    upset = Upset{true, port, write, response, skip};
}

// 21 counters: read bursts, write bursts, beats read, beats written (each by port), violations.
extern "C" void board_statistics(std::uint64_t* counters) {
    std::memcpy(counters, &statistics, sizeof statistics);
}
