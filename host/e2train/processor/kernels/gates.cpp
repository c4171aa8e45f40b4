// SPDX-License-Identifier: Apache-2.0
// The cell of SLU's gates, forward and back (methods.slu_gates), to the last bit as NumPy does it.
// Matrices are row-major float64; every product is of integers of 20 bits, so that its sums are
// exact in any order.
#include <vector>

#include "exact.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

using e2p::exponent_for;
using e2p::hyperbolic_tangent;
using e2p::scaled;
using e2p::sigmoid;

constexpr int HIDDEN = 10;
constexpr int SUMS = 4 * HIDDEN;
constexpr double LEAST = 0.02, MOST = 0.98;  // probabilities of running a block
constexpr double GRID = 1 << 20;

using Values = std::vector<double>;

// The integers of a matrix, and their exponent.
struct Grid {
    Values values;
    int exponent;

    Grid(const double* from, std::size_t count) : values(count) {
        double peak = 0.0;
        for (std::size_t i = 0; i < count; ++i) {
            peak = std::max(peak, std::fabs(from[i]));
        }
        exponent = exponent_for(peak, GRID);
        for (std::size_t i = 0; i < count; ++i) {
            values[i] = std::floor(scaled(from[i], -exponent) + 0.5);
        }
    }
};

// [rows, inner] times [inner, columns].
Values product(const double* a, const double* b, int rows, int inner, int columns) {
    const Grid left(a, std::size_t(rows) * inner), right(b, std::size_t(inner) * columns);
    Values out(std::size_t(rows) * columns, 0.0);
    for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < inner; ++i) {
            const double l = left.values[std::size_t(r) * inner + i];
            for (int c = 0; c < columns; ++c) {
                out[std::size_t(r) * columns + c] += l * right.values[std::size_t(i) * columns + c];
            }
        }
    }
    for (double& value : out) {
        value = scaled(value, left.exponent + right.exponent);
    }
    return out;
}

// The transpose of a [inner, rows] times b [inner, columns], added to `to`.
void add_transposed(const double* a, const double* b, int inner, int rows, int columns,
                    double* to) {
    const Grid left(a, std::size_t(rows) * inner), right(b, std::size_t(inner) * columns);
    Values out(std::size_t(rows) * columns, 0.0);
    for (int i = 0; i < inner; ++i) {
        for (int r = 0; r < rows; ++r) {
            const double l = left.values[std::size_t(i) * rows + r];
            for (int c = 0; c < columns; ++c) {
                out[std::size_t(r) * columns + c] += l * right.values[std::size_t(i) * columns + c];
            }
        }
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
        to[i] += scaled(out[i], left.exponent + right.exponent);
    }
}

// a [rows, inner] times the transpose of b [columns, inner].
Values by_transposed(const double* a, const double* b, int rows, int inner, int columns) {
    Values turned(std::size_t(inner) * columns);
    for (int c = 0; c < columns; ++c) {
        for (int i = 0; i < inner; ++i) {
            turned[std::size_t(i) * columns + c] = b[std::size_t(c) * inner + i];
        }
    }
    return product(a, turned.data(), rows, inner, columns);
}

// Sums over the rows of [rows, columns], added to `to`.
void add_column_sums(const double* a, int rows, int columns, double* to) {
    const Grid grid(a, std::size_t(rows) * columns);
    for (int c = 0; c < columns; ++c) {
        double sum = 0.0;
        for (int r = 0; r < rows; ++r) {
            sum += grid.values[std::size_t(r) * columns + c];
        }
        to[c] += scaled(sum, grid.exponent);
    }
}

}  // namespace

// The gates' weights; float64 copies of the float32 parameters, or their gradients.
struct GateWeights {
    double* map;        // [channels, HIDDEN], of the block's channel count
    double* input;      // [HIDDEN, SUMS]
    double* recurrent;  // [HIDDEN, SUMS]
    double* bias;       // [SUMS]
    double* output;     // [HIDDEN]
};

// One block's step: arrays [samples, ...]; gates holds input, forget, candidate and output.
struct GateStep {
    const double* features;  // [samples, channels]
    const double* hidden_before;
    const double* cell_before;
    double* embedded;
    double* gates;  // [samples, SUMS]
    double* cell;
    double* hidden;
    double* open;         // [samples]
    double* probability;  // [samples]
};

// `raised`: the block's bias; `offset`: that of all logits.
EXPORTED void e2p_gate_step(const GateWeights* weights, const GateStep* step, int samples,
                            int channels, double raised, double offset) {
    const Values embedded = product(step->features, weights->map, samples, channels, HIDDEN);
    for (int i = 0; i < samples * HIDDEN; ++i) {
        step->embedded[i] = std::max(embedded[std::size_t(i)], 0.0);
    }
    const Values own = product(step->embedded, weights->input, samples, HIDDEN, SUMS);
    const Values before = product(step->hidden_before, weights->recurrent, samples, HIDDEN, SUMS);
    for (int n = 0; n < samples; ++n) {
        double* gates = step->gates + n * SUMS;
        for (int k = 0; k < SUMS; ++k) {
            const double sum =
                (own[std::size_t(n * SUMS + k)] + before[std::size_t(n * SUMS + k)]) +
                weights->bias[k];
            const int part = k / HIDDEN;  // 1 is added to the forget gate: remember at first
            gates[k] = part == 2 ? hyperbolic_tangent(sum) : sigmoid(part == 1 ? sum + 1.0 : sum);
        }
        for (int h = 0; h < HIDDEN; ++h) {
            const int at = n * HIDDEN + h;
            step->cell[at] =
                gates[HIDDEN + h] * step->cell_before[at] + gates[h] * gates[2 * HIDDEN + h];
            step->hidden[at] = gates[3 * HIDDEN + h] * hyperbolic_tangent(step->cell[at]);
        }
    }
    const Values logits = product(step->hidden, weights->output, samples, HIDDEN, 1);
    for (int n = 0; n < samples; ++n) {
        step->open[n] = sigmoid((logits[std::size_t(n)] + raised) + offset);
        step->probability[n] = LEAST + (MOST - LEAST) * step->open[n];
    }
}

// Back through one step: adds to `gradients` and to the block's own bias; g_hidden and g_cell
// [samples, HIDDEN] come from the step behind and leave for the one before.
EXPORTED void e2p_gate_backward(const GateWeights* weights, const GateStep* step,
                                const GateWeights* gradients, double* g_raised,
                                const double* g_probability, double* g_hidden, double* g_cell,
                                int samples, int channels) {
    Values g_logit(static_cast<std::size_t>(samples));
    for (int n = 0; n < samples; ++n) {
        const double open = step->open[n];
        g_logit[std::size_t(n)] = g_probability[n] * (MOST - LEAST) * open * (1.0 - open);
    }
    add_transposed(step->hidden, g_logit.data(), samples, HIDDEN, 1, gradients->output);
    add_column_sums(g_logit.data(), samples, 1, g_raised);
    const Values from_logit = product(g_logit.data(), weights->output, samples, 1, HIDDEN);
    Values g_sums(std::size_t(samples) * SUMS);
    for (int n = 0; n < samples; ++n) {
        const double* gates = step->gates + n * SUMS;
        double* sums = g_sums.data() + n * SUMS;
        for (int h = 0; h < HIDDEN; ++h) {
            const int at = n * HIDDEN + h;
            const double i = gates[h], f = gates[HIDDEN + h], c = gates[2 * HIDDEN + h],
                         o = gates[3 * HIDDEN + h];
            const double g = g_hidden[at] + from_logit[std::size_t(at)];
            const double squashed = hyperbolic_tangent(step->cell[at]);
            const double through = g_cell[at] + g * o * (1.0 - squashed * squashed);
            sums[h] = through * c * i * (1.0 - i);
            sums[HIDDEN + h] = through * step->cell_before[at] * f * (1.0 - f);
            sums[2 * HIDDEN + h] = through * i * (1.0 - c * c);
            sums[3 * HIDDEN + h] = g * squashed * o * (1.0 - o);
            g_cell[at] = through * f;
        }
    }
    add_column_sums(g_sums.data(), samples, SUMS, gradients->bias);
    add_transposed(step->embedded, g_sums.data(), samples, HIDDEN, SUMS, gradients->input);
    add_transposed(step->hidden_before, g_sums.data(), samples, HIDDEN, SUMS, gradients->recurrent);
    Values g_embedded = by_transposed(g_sums.data(), weights->input, samples, SUMS, HIDDEN);
    for (std::size_t i = 0; i < g_embedded.size(); ++i) {
        g_embedded[i] = step->embedded[i] > 0 ? g_embedded[i] : g_embedded[i] * 0.0;
    }
    add_transposed(step->features, g_embedded.data(), samples, channels, HIDDEN, gradients->map);
    const Values back = by_transposed(g_sums.data(), weights->recurrent, samples, SUMS, HIDDEN);
    std::copy(back.begin(), back.end(), g_hidden);
}
