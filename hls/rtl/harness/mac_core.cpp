// SPDX-License-Identifier: Apache-2.0
// The MAC core's C++ function, computed by the Verilated core: takes the place of src/mac_core.cpp.
#include "e2train/mac_core.hpp"

#include <cstdio>
#include <cstdlib>

#include "verilated_core.hpp"

namespace e2 {

namespace {

constexpr int PATIENCE = 1000;  // cycles without a word before the launch counts as stuck

// The word of an input stream that the core sees, or none.
template <int WIDTH>
class Front {
  public:
    explicit Front(hls::stream<ap_uint<WIDTH>>& stream) : stream_(stream) { next(); }

    const std::uint32_t* word() const { return there_ ? parts_ : nullptr; }

    void next() {
        there_ = !stream_.empty();
        if (there_) {
            const ap_uint<WIDTH> word = stream_.read();
            for (int index = 0; index < PARTS; ++index) {
                const std::uint64_t both = part(word, index);
                parts_[2 * index] = static_cast<std::uint32_t>(both);
                parts_[2 * index + 1] = static_cast<std::uint32_t>(both >> 32);
            }
        }
    }

  private:
    static constexpr int PARTS = WIDTH / PART;
    hls::stream<ap_uint<WIDTH>>& stream_;
    std::uint32_t parts_[2 * PARTS];
    bool there_ = false;
};

// A step word is narrower than a part.
class StepFront {
  public:
    explicit StepFront(hls::stream<StepFlags>& stream) : stream_(stream) { next(); }

    const std::uint32_t* word() const { return there_ ? &flags_ : nullptr; }

    void next() {
        there_ = !stream_.empty();
        if (there_) {
            flags_ = stream_.read().to_uint();
        }
    }

  private:
    hls::stream<StepFlags>& stream_;
    std::uint32_t flags_ = 0;
    bool there_ = false;
};

SumBits sums_of(const std::uint32_t* parts) {
    SumBits word = 0;
    for (int index = 0; index < VerilatedCore::SUM_PARTS / 2; ++index) {
        set_part(word, index,
                 parts[2 * index] | static_cast<std::uint64_t>(parts[2 * index + 1]) << 32);
    }
    return word;
}

std::uint64_t cycles_of_launches = 0;

}  // namespace

void mac_core(hls::stream<StepFlags>& steps, hls::stream<RowBits>& rows,
              hls::stream<ColumnBits>& columns, hls::stream<SumBits>& sums) {
    static VerilatedCore core;
    StepFront step(steps);
    Front<CORE_ROW_BITS> row(rows);
    Front<CORE_COLUMN_BITS> column(columns);
    core.start();
    for (int quiet = 0; quiet < PATIENCE; ++quiet) {
        ++cycles_of_launches;
        const CoreOutputs out = core.cycle({step.word(), row.word(), column.word(), false, true});
        if (out.taken) {
            step.next();
            row.next();
            column.next();
            quiet = 0;
        }
        if (out.sums != nullptr) {
            sums.write(sums_of(out.sums));
            quiet = 0;
        }
        if (out.done) {
            return;
        }
    }
    std::fprintf(stderr, "mac_core: the Verilated core waits for words that do not come\n");
    std::abort();
}

}  // namespace e2

// Cycles of all launches of this process, each from start to done.
extern "C" std::uint64_t e2train_core_cycles() {
    return e2::cycles_of_launches;
}
