// SPDX-License-Identifier: Apache-2.0
// Test bench of the accelerator's top function, for g++ and for Vitis HLS's csim and cosim alike.
//
//   bench VECTORS.e2gv... | @LIST
//
// Runs every file's launches and compares every integer that it expects. Ends with 0 if all are
// equal, with 1 at the first that is not, and with 2 if it is called wrongly or a file is no good.
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include "golden.hpp"
#include "launch.hpp"
#include "memory.hpp"

namespace {

struct Totals {
    unsigned long files = 0;
    unsigned long launches = 0;
    unsigned long long integers = 0;
};

// The files named on the command line; @LIST names a file with one path a line.
std::vector<std::string> files_of(int count, char** arguments) {
    std::vector<std::string> files;
    for (int i = 1; i < count; ++i) {
        const std::string given = arguments[i];
        if (given.empty() || given[0] != '@') {
            files.push_back(given);
            continue;
        }
        std::ifstream list(given.substr(1));
        if (!list) throw tb::BadFile(given.substr(1) + ": cannot be opened");
        std::string line;
        while (std::getline(list, line)) {
            if (!line.empty()) files.push_back(line);
        }
    }
    return files;
}

// Runs a vector file. Returns an empty string where all bytes agree, else a message that says which
// launch differs and how. `what` receives the name of the launch under way.
std::string run(const tb::Golden& golden, tb::Memory& memory, std::string& what) {
    for (std::size_t i = 0; i < golden.launches.size(); ++i) {
        const tb::Launch& launch = golden.launches[i];
        what = "launch " + std::to_string(i + 1) + " (" + tb::operation_name(launch) + ")";
        const std::uint32_t error = tb::start(launch, memory.beats());
        if (error != launch.error) {
            return "returned error " + std::to_string(error) + ", expected " +
                   std::to_string(launch.error);
        }
    }
    for (const tb::Expectation& expected : golden.expectations) {
        const std::string difference = memory.differs(expected);
        if (!difference.empty()) return difference;
    }
    return memory.changed_elsewhere(golden);
}

bool passes(const std::string& path, Totals& totals) {
    const tb::Golden golden = tb::load_golden(path);
    tb::check_launches(golden, path);
    tb::Memory memory(golden);
    std::string what = "no launch";
    const std::string wrong = run(golden, memory, what);
    if (!wrong.empty()) {
        std::printf("%s: %s: %s\n", path.c_str(), what.c_str(), wrong.c_str());
        return false;
    }
    ++totals.files;
    totals.launches += golden.launches.size();
    for (const tb::Expectation& expected : golden.expectations) {
        totals.integers += expected.data.size() / expected.element_bytes;
    }
    return true;
}

int bench(int count, char** arguments) {
    const std::vector<std::string> files = files_of(count, arguments);
    if (files.empty()) {
        std::fprintf(stderr, "usage: bench VECTORS.e2gv... | @LIST\n");
        return 2;
    }
    Totals totals;
    for (const std::string& path : files) {
        if (!passes(path, totals)) return 1;
    }
    std::printf("%lu files, %lu launches, %llu integers: all equal, no other byte changed\n",
                totals.files, totals.launches, totals.integers);
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return bench(count, arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 2;
    }
}
