// SPDX-License-Identifier: Apache-2.0
// Streams for the compiler that hls_report.py reads: each access is a call that it knows as one of
// a FIFO. Nothing here is run.
#ifndef E2TRAIN_REPORT_HLS_STREAM_H
#define E2TRAIN_REPORT_HLS_STREAM_H

// Eight bytes of the word; its parts are one access.
extern "C" unsigned long e2_fifo_read(const void* stream, int part) noexcept;
extern "C" void e2_fifo_write(const void* stream, int part, unsigned long value) noexcept;
extern "C" bool e2_fifo_empty(const void* stream) noexcept;
extern "C" bool e2_fifo_full(const void* stream) noexcept;

namespace hls {

template <class T>
class stream {
  public:
    stream() {}
    explicit stream(const char*) {}

    T read() {
        union Word {
            unsigned long part[(sizeof(T) + 7) / 8];
            T value;
            Word() {}
        } word;
#pragma clang loop unroll(full)
        for (unsigned i = 0; i < (sizeof(T) + 7) / 8; ++i) {
            word.part[i] = e2_fifo_read(this, static_cast<int>(i));
        }
        return word.value;
    }
    void read(T& to) { to = read(); }
    void write(const T& value) {
        union Word {
            unsigned long part[(sizeof(T) + 7) / 8];
            T value;
            Word() {}
        } word;
        word.value = value;
#pragma clang loop unroll(full)
        for (unsigned i = 0; i < (sizeof(T) + 7) / 8; ++i) {
            e2_fifo_write(this, static_cast<int>(i), word.part[i]);
        }
    }
    void operator>>(T& to) { to = read(); }
    void operator<<(const T& value) { write(value); }
    bool empty() const { return e2_fifo_empty(this); }
    bool full() const { return e2_fifo_full(this); }
    bool read_nb(T& to) {
        const bool there = !empty();
        if (there) {
            to = read();
        }
        return there;
    }

  private:
    stream(const stream&);
    stream& operator=(const stream&);
    char unused;
};

}  // namespace hls

#endif
