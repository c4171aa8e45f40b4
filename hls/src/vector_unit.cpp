// SPDX-License-Identifier: Apache-2.0
#include "e2train/vector_unit.hpp"

#include "e2train/vector_streams.hpp"

namespace e2 {

std::uint32_t run_vector(const Arguments& a, const Beat* columns, const Beat* rows,
                         const Beat* extra, Beat* output, ChannelEntry table[LIMITS_CHANNELS],
                         Counters& counters) {
    const TensorSize size = tensor_size(a);
    switch (a.operation) {
        case OPERATIONS_MAP:
            vector_map(a, size, columns, rows, extra, output, table, counters);
            break;
        case OPERATIONS_CHANNEL_SUMS:
            channel_sums(a, size, columns, rows, output, table, counters);
            break;
        case OPERATIONS_SAMPLE_PRODUCTS:
            sample_products(a, size, columns, rows, extra, output, counters);
            break;
        case OPERATIONS_POOL:
            pool(a, size, columns, output, counters);
            break;
        case OPERATIONS_RESAMPLE:
            resample(a, size, columns, output, counters);
            break;
        case OPERATIONS_MOVE:
            return move_samples(a, size, columns, rows, extra, output, counters);
        default:
            return ERRORS_OPERATION;
    }
    return ERRORS_OK;
}

}  // namespace e2
