// SPDX-License-Identifier: Apache-2.0
// The kernel's C++ as the body of the Verilog shell, behind DPI.
//
// A launch runs the kernel twice. The first run looks at memory directly, writes nothing and only
// notes which beats are read and written in which order: from that come the bursts, as Vitis HLS
// infers them from loops (consecutive addresses of a port, at most 16 beats, none across 4 KiB).
// The second run is a coroutine that has no data but what the shell's AXI masters bring, and whose
// writes reach memory through them alone.
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <unordered_map>
#include <vector>

#include "e2train/types.hpp"
#include "memory.hpp"
#include "port_beat.hpp"

extern "C" std::uint32_t e2train_launch(const std::uint32_t* registers, e2sim::Beat* const* ports,
                                        std::uint32_t* abi_version,
                                        std::uint32_t* configuration_hash);

namespace e2sim {

std::uintptr_t windows = 0;

namespace {

constexpr std::uint32_t BURST_BEATS = 16;
constexpr std::uint32_t PAGE_BEATS = 4096 / 8;
constexpr std::size_t OUTSTANDING = 4;  // read bursts of a port
constexpr std::size_t STACK_BYTES = std::size_t{64} << 20;
constexpr int WRITER = PORTS - 1;  // the one port that the kernel writes through

struct Burst {
    std::uint32_t index;  // of the first beat
    std::uint32_t beats;
    std::size_t after;  // write bursts that must have been answered before this one reads
};

// ---- first run: which bursts --------------------------------------------------------------------

struct Written {
    std::uint64_t value;
    std::size_t burst;
    std::uint64_t time;
};

struct Plan {
    std::vector<Burst> reads[PORTS];
    std::vector<Burst> writes;
    std::uint64_t began[PORTS];  // when the last read burst of a port began
    bool writing;                // the last write burst may grow
    std::uint64_t time;
    std::unordered_map<std::uint32_t, Written> written;
};

bool grows(const Burst& burst, std::uint32_t index) {
    return index == burst.index + burst.beats && burst.beats < BURST_BEATS &&
           index % PAGE_BEATS != 0;
}

std::uint64_t plan_read(Plan& plan, int port, std::uint32_t index) {
    ++plan.time;
    const auto found = plan.written.find(index);
    const bool written = found != plan.written.end();
    std::vector<Burst>& bursts = plan.reads[port];
    const bool fresh = written && found->second.time > plan.began[port];
    if (bursts.empty() || fresh || !grows(bursts.back(), index)) {
        bursts.push_back(Burst{index, 0, 0});
        plan.began[port] = plan.time;
    }
    ++bursts.back().beats;
    if (!written) {
        return memory_peek(std::uint64_t{index} * 8);
    }
    const std::size_t after = found->second.burst + 1;
    bursts.back().after = after > bursts.back().after ? after : bursts.back().after;
    if (after == plan.writes.size()) {
        plan.writing = false;
    }
    return found->second.value;
}

void plan_write(Plan& plan, std::uint32_t index, std::uint64_t value) {
    ++plan.time;
    if (!plan.writing || !grows(plan.writes.back(), index)) {
        plan.writes.push_back(Burst{index, 0, 0});
        plan.writing = true;
    }
    ++plan.writes.back().beats;
    plan.written[index] = Written{value, plan.writes.size() - 1, plan.time};
}

// ---- second run: data from the masters ----------------------------------------------------------

// Where a sequence of bursts stands: `burst` and the beat in it.
struct Place {
    std::size_t burst;
    std::uint32_t beat;

    void next(const std::vector<Burst>& bursts) {
        if (++beat == bursts[burst].beats) {
            ++burst;
            beat = 0;
        }
    }

    bool at(const std::vector<Burst>& bursts, std::uint32_t index) const {
        return burst < bursts.size() && bursts[burst].index + beat == index;
    }
};

struct Reader {
    std::size_t issued;
    Place arrived;
    Place used;
    std::deque<std::uint64_t> data;
};

struct Writer {
    std::size_t issued;
    std::size_t answered;
    Place made;
    std::deque<std::uint64_t> data;
};

enum Phase { IDLE, PLANNING, RUNNING, FINISHED };

struct Body {
    Phase phase;
    std::uint32_t registers[128];
    std::uint32_t error;
    std::uint32_t abi_version;
    std::uint32_t configuration_hash;
    Plan plan;
    Reader readers[PORTS];
    Writer writer;
    int waiting;  // port that the kernel waits for, -1 for none
};

Body body;
ucontext_t simulator;
ucontext_t kernel;
void* stack = nullptr;

void call_kernel() {
    Beat* ports[PORTS];
    for (int port = 0; port < PORTS; ++port) {
        ports[port] = reinterpret_cast<Beat*>(windows + std::uintptr_t(port) * WINDOW_BYTES);
    }
    body.error = e2train_launch(body.registers, ports, &body.abi_version, &body.configuration_hash);
}

void run_kernel() {
    call_kernel();
    body.phase = FINISHED;
}

// Back to the simulator until a beat of the port has come. A kernel that asks for another address
// than the first run did (it saw other data: the bus answered wrongly) waits here for ever, as
// hardware may.
void wait_for(int port) {
    body.waiting = port;
    swapcontext(&kernel, &simulator);
}

void diverged(const char* what, int port, std::uint32_t index) {
    std::fprintf(stderr, "body: %s of port %d at 0x%08x was not foreseen: other data arrived\n",
                 what, port, index * 8);
    while (true) {
        wait_for(-1);
    }
}

std::uint64_t run_read(int port, std::uint32_t index) {
    Reader& reader = body.readers[port];
    if (!reader.used.at(body.plan.reads[port], index)) {
        diverged("read", port, index);
    }
    while (reader.data.empty()) {
        wait_for(port);
    }
    const std::uint64_t value = reader.data.front();
    reader.data.pop_front();
    reader.used.next(body.plan.reads[port]);
    return value;
}

void run_write(std::uint32_t index, std::uint64_t value) {
    if (!body.writer.made.at(body.plan.writes, index)) {
        diverged("write", WRITER, index);
    }
    body.writer.data.push_back(value);
    body.writer.made.next(body.plan.writes);
}

void resume() {
    body.waiting = -1;
    swapcontext(&simulator, &kernel);
}

int port_of(std::uintptr_t element) {
    return static_cast<int>((element - windows) / WINDOW_BYTES);
}

std::uint32_t index_of(std::uintptr_t element) {
    return static_cast<std::uint32_t>(((element - windows) % WINDOW_BYTES) / 8);
}

void* reserve(std::size_t bytes, int protection) {
    void* place =
        mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) {
        std::perror("body: mmap");
        std::exit(1);
    }
    return place;
}

void prepare() {
    if (stack != nullptr) {
        return;
    }
    windows = reinterpret_cast<std::uintptr_t>(reserve(PORTS * WINDOW_BYTES, PROT_NONE));
    stack = reserve(STACK_BYTES, PROT_READ | PROT_WRITE);
}

}  // namespace

std::uint64_t read_beat(std::uintptr_t element) {
    const int port = port_of(element);
    return body.phase == PLANNING ? plan_read(body.plan, port, index_of(element))
                                  : run_read(port, index_of(element));
}

void write_beat(std::uintptr_t element, std::uint64_t value) {
    if (port_of(element) != WRITER) {
        std::fprintf(stderr, "body: the kernel writes through port %d\n", port_of(element));
        std::exit(1);
    }
    if (body.phase == PLANNING) {
        plan_write(body.plan, index_of(element), value);
    } else {
        run_write(index_of(element), value);
    }
}

}  // namespace e2sim

// ---- what the shell calls -----------------------------------------------------------------------

using e2sim::body;

extern "C" void body_argument(int word, int unsigned value) {
    body.registers[word] = value;
}

extern "C" void body_start() {
    e2sim::prepare();
    body.plan = e2sim::Plan();
    for (e2sim::Reader& reader : body.readers) {
        reader = e2sim::Reader();
    }
    body.writer = e2sim::Writer();
    body.phase = e2sim::PLANNING;
    e2sim::call_kernel();
    body.phase = e2sim::RUNNING;
    getcontext(&e2sim::kernel);
    e2sim::kernel.uc_stack.ss_sp = e2sim::stack;
    e2sim::kernel.uc_stack.ss_size = e2sim::STACK_BYTES;
    e2sim::kernel.uc_link = &e2sim::simulator;
    makecontext(&e2sim::kernel, e2sim::run_kernel, 0);
    e2sim::resume();
}

// 1 when the kernel has returned and memory has answered all that it wrote.
extern "C" int body_done(int unsigned* error, int unsigned* abi_version, int unsigned* hash) {
    if (body.phase != e2sim::FINISHED || body.writer.answered != body.plan.writes.size()) {
        return 0;
    }
    *error = body.error;
    *abi_version = body.abi_version;
    *hash = body.configuration_hash;
    return 1;
}

// 1 with the next read burst of a port, 0 where there is none now.
extern "C" int body_next_read(int port, int unsigned* address, int* beats) {
    e2sim::Reader& reader = body.readers[port];
    const std::vector<e2sim::Burst>& bursts = body.plan.reads[port];
    if (reader.issued == bursts.size() ||
        reader.issued - reader.arrived.burst >= e2sim::OUTSTANDING ||
        body.writer.answered < bursts[reader.issued].after) {
        return 0;
    }
    *address = bursts[reader.issued].index * 8;
    *beats = static_cast<int>(bursts[reader.issued].beats);
    ++reader.issued;
    return 1;
}

extern "C" void body_read_beat(int port, long long unsigned data) {
    e2sim::Reader& reader = body.readers[port];
    reader.data.push_back(data);
    reader.arrived.next(body.plan.reads[port]);
    if (body.waiting == port && body.phase == e2sim::RUNNING) {
        e2sim::resume();
    }
}

// 1 with the next write burst of a port whose beats the kernel has all made.
extern "C" int body_next_write(int port, int unsigned* address, int* beats) {
    const std::vector<e2sim::Burst>& bursts = body.plan.writes;
    e2sim::Writer& writer = body.writer;
    if (port != e2sim::WRITER || writer.issued == bursts.size() ||
        writer.made.burst <= writer.issued) {
        return 0;
    }
    *address = bursts[writer.issued].index * 8;
    *beats = static_cast<int>(bursts[writer.issued].beats);
    ++writer.issued;
    return 1;
}

extern "C" long long unsigned body_write_beat() {
    const std::uint64_t value = body.writer.data.front();
    body.writer.data.pop_front();
    return value;
}

extern "C" void body_write_answered() {
    ++body.writer.answered;
}
