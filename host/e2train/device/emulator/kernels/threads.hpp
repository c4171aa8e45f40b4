// SPDX-License-Identifier: Apache-2.0
// Work shared by threads: each takes the next piece until none is left.
//
// Threads are started for one operation and joined at its end: tens of microseconds, and nothing
// spins while another program holds a processor, nor survives a fork. Which thread does which piece
// is left to chance; sums are integers, so results do not depend on it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace e2 {

// The numbers 0 to count - 1, each handed out once.
class Pieces {
  public:
    explicit Pieces(int64_t count) : count_(count) {}
    bool take(int64_t& piece) { return (piece = next_++) < count_; }
    int64_t count() const { return count_; }

  private:
    int64_t count_;
    std::atomic<int64_t> next_{0};
};

// Runs work() on up to `threads` threads, this one among them; it takes from `pieces` until they
// end.
template <class Work>
void share(const Pieces& pieces, int threads, const Work& work) {
    std::vector<std::thread> others;
    const int64_t useful = std::min<int64_t>(threads, pieces.count());
    try {
        for (int64_t i = 1; i < useful; ++i) others.emplace_back(std::cref(work));
    } catch (const std::system_error&) {
        // no more threads to be had: those that run do all the work
    }
    work();
    for (std::thread& other : others) other.join();
}

}  // namespace e2
