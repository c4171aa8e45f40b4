// SPDX-License-Identifier: Apache-2.0
// A launch of the Verilated core on words in memory, with streams that stall at random: the fast
// bench of tests and of the mutation check.
#include <cstdint>
#include <random>

#include "verilated_core.hpp"

namespace {

// A coin that falls on its side `percent` times in a hundred.
class Coin {
  public:
    Coin(std::uint32_t seed, std::int32_t percent) : bits_(seed), percent_(percent) {}

    bool operator()() { return static_cast<std::int32_t>(bits_() % 100) < percent_; }

  private:
    std::minstd_rand bits_;
    std::int32_t percent_;
};

}  // namespace

extern "C" {

struct BenchStalls {
    std::uint32_t seed;
    std::int32_t steps;  // percent of cycles in which the stream has nothing, or takes nothing
    std::int32_t rows;
    std::int32_t columns;
    std::int32_t sums;
    std::int32_t clock;        // or in which the clock is not enabled
    std::int32_t reset_after;  // cycles of a launch that a reset then ends; 0: none
};

struct BenchResult {
    std::int64_t words;       // of sums that came, of which at most `capacity` are kept
    std::int64_t taken;       // steps
    std::int64_t cycles;      // from start to done
    std::int64_t first_word;  // the cycle in which it came, the start's being 0
};

// Runs `count` steps (a word of each stream) in one launch. Returns 0, or 1 where the core is not
// done within `limit` cycles.
std::int32_t e2_rtl_bench(std::int64_t count, const std::uint32_t* steps, const std::uint32_t* rows,
                          const std::uint32_t* columns, const BenchStalls* stalls,
                          std::int64_t limit, std::int64_t capacity, std::uint32_t* sums,
                          BenchResult* result) {
    e2::VerilatedCore core;
    Coin no_step(stalls->seed + 1, stalls->steps);
    Coin no_row(stalls->seed + 2, stalls->rows);
    Coin no_column(stalls->seed + 3, stalls->columns);
    Coin full(stalls->seed + 4, stalls->sums);
    Coin halted(stalls->seed + 5, stalls->clock);
    for (int attempt = stalls->reset_after > 0 ? 0 : 1; attempt < 2; ++attempt) {
        *result = BenchResult{0, 0, 0, -1};
        core.start();
        for (std::int64_t cycle = 0;; ++cycle) {
            if (attempt == 0 && cycle == stalls->reset_after) {
                core.reset();
                break;
            }
            if (cycle == limit) {
                return 1;
            }
            const std::int64_t at = result->taken;
            const bool more = at < count;
            const e2::CoreInputs in = {
                more && !no_step() ? steps + at : nullptr,
                more && !no_row() ? rows + at * e2::VerilatedCore::ROW_PARTS : nullptr,
                more && !no_column() ? columns + at * e2::VerilatedCore::COLUMN_PARTS : nullptr,
                full(), !halted()};
            const e2::CoreOutputs out = core.cycle(in);
            result->taken += out.taken;
            if (out.sums != nullptr) {
                if (result->words == 0) {
                    result->first_word = cycle;
                }
                if (result->words < capacity) {
                    for (int part = 0; part < e2::VerilatedCore::SUM_PARTS; ++part) {
                        sums[result->words * e2::VerilatedCore::SUM_PARTS + part] = out.sums[part];
                    }
                }
                ++result->words;
            }
            if (out.done) {
                result->cycles = cycle;
                break;
            }
        }
    }
    return 0;
}
}
