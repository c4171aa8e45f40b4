// SPDX-License-Identifier: Apache-2.0
// The Verilated MAC core behind its FIFO ports, a cycle at a time.
#ifndef E2TRAIN_VERILATED_CORE_HPP
#define E2TRAIN_VERILATED_CORE_HPP

#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#include "Vmac_core.h"
#include "verilated.h"

namespace e2 {

// What stands at the ports in a cycle. Words are 32 bits each, the lowest first; null where a
// stream has none.
struct CoreInputs {
    const std::uint32_t* step;
    const std::uint32_t* rows;
    const std::uint32_t* columns;
    bool sums_full;
    bool clock_enable;
};

// What the core did in that cycle.
struct CoreOutputs {
    bool taken;                 // a word of each input stream
    const std::uint32_t* sums;  // a word that leaves, or null
    bool done;
};

class VerilatedCore {
  public:
    static constexpr int ROW_PARTS = 64;
    static constexpr int COLUMN_PARTS = 16;
    static constexpr int SUM_PARTS = 24;

    VerilatedCore() : core_(&context_) {
        core_.ap_ce = 1;
        core_.ap_continue = 1;
#ifdef E2_MUTANTS  // the mutation check's copy of the Verilog has faults to choose from
        const char* chosen = std::getenv("E2_MUTANT");
        core_.mutant = static_cast<std::uint8_t>(chosen == nullptr ? 0 : std::atoi(chosen));
#endif
        reset();
    }

    ~VerilatedCore() { core_.final(); }

    // Two cycles of reset; the next launch starts afresh.
    void reset() {
        core_.ap_rst = 1;
        core_.ap_start = 0;
        core_.steps_empty_n = core_.rows_empty_n = core_.columns_empty_n = 0;
        edge();
        edge();
        core_.ap_rst = 0;
    }

    void start() { core_.ap_start = 1; }

    CoreOutputs cycle(const CoreInputs& in) {
        core_.steps_empty_n = in.step != nullptr;
        core_.rows_empty_n = in.rows != nullptr;
        core_.columns_empty_n = in.columns != nullptr;
        core_.sums_full_n = !in.sums_full;
        core_.ap_ce = in.clock_enable;
        if (in.step != nullptr) {
            core_.steps_dout = *in.step;
        }
        if (in.rows != nullptr) {
            copy(in.rows, &core_.rows_dout[0], ROW_PARTS);
        }
        if (in.columns != nullptr) {
            copy(in.columns, &core_.columns_dout[0], COLUMN_PARTS);
        }
        core_.ap_clk = 0;
        core_.eval();
        CoreOutputs out = {core_.steps_read != 0, nullptr, core_.ap_done != 0};
        if (core_.steps_read != core_.rows_read || core_.steps_read != core_.columns_read) {
            throw std::logic_error("the core reads its streams apart");
        }
        if (core_.sums_write) {
            copy(&core_.sums_din[0], sums_, SUM_PARTS);
            out.sums = sums_;
        }
        if (core_.ap_ready) {
            core_.ap_start = 0;
        }
        core_.ap_clk = 1;
        core_.eval();
        ++cycles_;
        return out;
    }

    // Since the model was made, reset included.
    std::uint64_t cycles() const { return cycles_; }

  private:
    static void copy(const std::uint32_t* from, std::uint32_t* to, int parts) {
        for (int part = 0; part < parts; ++part) {
            to[part] = from[part];
        }
    }

    void edge() {
        core_.ap_clk = 0;
        core_.eval();
        core_.ap_clk = 1;
        core_.eval();
        ++cycles_;
    }

    VerilatedContext context_;
    Vmac_core core_;
    std::uint32_t sums_[SUM_PARTS] = {};
    std::uint64_t cycles_ = 0;
};

}  // namespace e2

#endif
