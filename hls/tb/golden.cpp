// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

#include <algorithm>
#include <fstream>

namespace tb {
namespace {

constexpr char MAGIC[] = "E2GV0001";
constexpr std::size_t MAGIC_BYTES = sizeof(MAGIC) - 1;
constexpr std::size_t NAME_BYTES = 24;
constexpr std::uint32_t ALIGNMENT = 8;  // memory is made of 64-bit beats

// Takes a file's bytes from front to back and knows what it is reading, for messages.
class Source {
  public:
    explicit Source(const std::string& path) : path_(path), at_(0) {
        std::ifstream stream(path, std::ios::binary);
        if (!stream) throw BadFile(path + ": cannot be opened");
        char part[4096];
        do {
            stream.read(part, sizeof(part));
            bytes_.insert(bytes_.end(), part, part + stream.gcount());
        } while (stream);
        if (stream.bad()) throw BadFile(path + ": cannot be read");
    }

    [[noreturn]] void fail(const std::string& text) const { throw BadFile(path_ + ": " + text); }

    const std::uint8_t* take(std::uint64_t size, const std::string& what) {
        if (size > bytes_.size() - at_) fail("ends within " + what);
        const std::uint8_t* const taken =
            reinterpret_cast<const std::uint8_t*>(bytes_.data()) + at_;
        at_ += static_cast<std::size_t>(size);
        return taken;
    }

    std::uint32_t number(const std::string& what) {
        return static_cast<std::uint32_t>(signed_integer(take(4, what), 4));
    }

    std::vector<std::uint8_t> data(std::uint64_t size, const std::string& what) {
        const std::uint8_t* const first = take(size, what);
        return std::vector<std::uint8_t>(first, first + size);
    }

    void expect_end() const {
        const std::size_t left = bytes_.size() - at_;
        if (left != 0) fail(std::to_string(left) + " bytes after the last scratch range");
    }

  private:
    std::string path_;
    std::vector<char> bytes_;
    std::size_t at_;
};

std::string numbered(const char* what, std::size_t index) {
    return std::string(what) + " " + std::to_string(index + 1);
}

Launch read_launch(Source& source, const std::string& what) {
    Launch launch;
    const std::uint32_t words = source.number(what);
    const std::uint8_t* const bytes = source.take(std::uint64_t{4} * words, what);
    for (std::size_t i = 0; i < words; ++i) {
        launch.registers.push_back(static_cast<std::uint32_t>(signed_integer(bytes + 4 * i, 4)));
    }
    launch.error = source.number(what);
    return launch;
}

void check_inside(const Source& source, std::uint32_t address, std::uint64_t bytes,
                  std::uint32_t memory_bytes, const std::string& what) {
    if (address + bytes > memory_bytes) source.fail(what + " does not lie in memory");
}

Expectation read_expectation(Source& source, const std::string& what) {
    Expectation expected;
    const std::uint8_t* const name = source.take(NAME_BYTES, what);
    expected.name.assign(name, std::find(name, name + NAME_BYTES, std::uint8_t{0}));
    expected.address = source.number(what);
    expected.element_bytes = source.number(what);
    const std::uint32_t size = expected.element_bytes;
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        source.fail(what + " has elements of " + std::to_string(size) + " bytes");
    }
    const std::uint32_t rank = source.number(what);
    if (rank > MAX_DIMENSIONS) source.fail(what + " has " + std::to_string(rank) + " dimensions");
    std::uint64_t bytes = size;
    for (std::uint32_t i = 0; i < MAX_DIMENSIONS; ++i) {
        const std::uint32_t dim = source.number(what);
        if (i >= rank) continue;
        expected.dims.push_back(dim);
        bytes *= dim;
        if (bytes > UINT32_MAX) source.fail(what + " is larger than memory can be");
    }
    expected.data = source.data(bytes, what);
    return expected;
}

void read_memory(Source& source, Golden& golden) {
    const std::uint32_t memory = golden.memory_bytes = source.number("the memory size");
    if (memory == 0 || memory % ALIGNMENT != 0) source.fail("memory must be whole 64-bit beats");
    const std::uint32_t regions = source.number("the number of regions");
    for (std::uint32_t i = 0; i < regions; ++i) {
        const std::string what = numbered("region", i);
        Region region;
        region.address = source.number(what);
        const std::uint32_t bytes = source.number(what);
        check_inside(source, region.address, bytes, memory, what);
        region.data = source.data(bytes, what);
        golden.regions.push_back(region);
    }
}

void read_results(Source& source, Golden& golden) {
    const std::uint32_t expectations = source.number("the number of expectations");
    for (std::uint32_t i = 0; i < expectations; ++i) {
        const std::string what = numbered("expectation", i);
        golden.expectations.push_back(read_expectation(source, what));
        const Expectation& expected = golden.expectations.back();
        check_inside(source, expected.address, expected.data.size(), golden.memory_bytes, what);
    }
    const std::uint32_t ranges = source.number("the number of scratch ranges");
    for (std::uint32_t i = 0; i < ranges; ++i) {
        const std::string what = numbered("scratch range", i);
        Span span;
        span.address = source.number(what);
        span.bytes = source.number(what);
        check_inside(source, span.address, span.bytes, golden.memory_bytes, what);
        golden.scratch.push_back(span);
    }
}

}  // namespace

std::int64_t signed_integer(const std::uint8_t* bytes, std::uint32_t size) {
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < size; ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
    const unsigned unused = 64 - 8 * size;
    return static_cast<std::int64_t>(value << unused) >> unused;
}

Golden load_golden(const std::string& path) {
    Source source(path);
    const std::uint8_t* const magic = source.take(MAGIC_BYTES, "its first eight bytes");
    if (!std::equal(MAGIC, MAGIC + MAGIC_BYTES, magic)) source.fail("not golden vectors");
    Golden golden;
    const std::uint32_t launches = source.number("the number of launches");
    for (std::uint32_t i = 0; i < launches; ++i) {
        golden.launches.push_back(read_launch(source, numbered("launch", i)));
    }
    read_memory(source, golden);
    read_results(source, golden);
    source.expect_end();
    return golden;
}

}  // namespace tb
