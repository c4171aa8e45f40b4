// SPDX-License-Identifier: Apache-2.0
// A beat of a memory port in the simulated board: reading or writing one is a transfer of its port.
//
// Each of the kernel's port pointers points into an address range of its own that holds no memory.
// A Beat knows by its own address whether it is such an element, and which; all other Beats are
// plain 64-bit numbers. So the kernel's sources compile as they are.
#ifndef E2TRAIN_SIM_PORT_BEAT_HPP
#define E2TRAIN_SIM_PORT_BEAT_HPP

#include <cstdint>

namespace e2sim {

constexpr std::uintptr_t WINDOW_BYTES = std::uintptr_t{1} << 32;  // of a port: 32-bit addresses
constexpr int PORTS = 5;

extern std::uintptr_t windows;  // where the first port's range begins

std::uint64_t read_beat(std::uintptr_t element);
void write_beat(std::uintptr_t element, std::uint64_t value);

class Beat {
  public:
    Beat() = default;
    Beat(std::uint64_t value) : value_(value) {}
    Beat(const Beat& other) : value_(other.load()) {}

    Beat& operator=(const Beat& other) {
        store(other.load());
        return *this;
    }

    Beat& operator|=(std::uint64_t bits) {
        store(load() | bits);
        return *this;
    }

    operator std::uint64_t() const { return load(); }

  private:
    std::uintptr_t place() const { return reinterpret_cast<std::uintptr_t>(this); }

    bool of_port() const { return place() - windows < PORTS * WINDOW_BYTES; }

    std::uint64_t load() const { return of_port() ? read_beat(place()) : value_; }

    void store(std::uint64_t value) {
        if (of_port()) {
            write_beat(place(), value);
        } else {
            value_ = value;
        }
    }

    std::uint64_t value_;
};

static_assert(sizeof(Beat) == 8, "an index counts beats");

}  // namespace e2sim

#endif
