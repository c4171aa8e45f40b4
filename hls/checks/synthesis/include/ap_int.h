// SPDX-License-Identifier: Apache-2.0
// The vendor's integers for the compiler that hls_report.py reads: exact widths as Clang's _BitInt,
// so that LLVM sees the widths that a synthesis tool would. Nothing here is run.
#ifndef E2TRAIN_REPORT_AP_INT_H
#define E2TRAIN_REPORT_AP_INT_H

#include <type_traits>

template <int N, bool S>
struct ap_native {
    typedef signed _BitInt(N) type;
};
template <int N>
struct ap_native<N, false> {
    typedef unsigned _BitInt(N) type;
};

template <int N, bool S>
struct ap_int_base;

constexpr int ap_larger(int a, int b) {
    return a > b ? a : b;
}

// What a native integer counts as beside an ap_int.
template <class T>
struct ap_of {
    typedef ap_int_base<std::is_same<T, bool>::value ? 1 : 8 * int(sizeof(T)),
                        std::is_signed<T>::value>
        type;
};

template <class T>
using ap_if_native = typename std::enable_if<std::is_integral<T>::value, int>::type;

template <int N, bool S>
struct ap_slice {
    ap_int_base<N, S>& of;
    int high;
    int low;

    typename ap_native<N, false>::type bits() const {
        typedef typename ap_native<N, false>::type Bits;
        const int width = high - low + 1;
        const Bits all = ~Bits(0);
        return (Bits(of.v) >> low) & (all >> (N - width));
    }
    template <class T>
    ap_slice& operator=(const T& value) {
        typedef typename ap_native<N, false>::type Bits;
        const int width = high - low + 1;
        const Bits mask = (~Bits(0) >> (N - width)) << low;
        const Bits given = Bits(ap_int_base<N, false>(value).v);
        of.v = typename ap_native<N, S>::type((Bits(of.v) & ~mask) | ((given << low) & mask));
        return *this;
    }
    ap_slice& operator=(const ap_slice& value) { return *this = ap_int_base<N, false>(value); }
    operator ap_int_base<N, false>() const {
        ap_int_base<N, false> value;
        value.v = bits();
        return value;
    }
    long long to_int64() const { return static_cast<long long>(bits()); }
    unsigned long long to_uint64() const { return static_cast<unsigned long long>(bits()); }
    int to_int() const { return static_cast<int>(bits()); }
    unsigned to_uint() const { return static_cast<unsigned>(bits()); }
};

// One bit, as an operand or to be set.
template <int N, bool S>
struct ap_bit {
    ap_int_base<N, S>& of;
    int at;

    operator bool() const { return ((of.v >> at) & 1) != 0; }
    ap_bit& operator=(bool value) {
        of.range(at, at) = value;
        return *this;
    }
    ap_bit& operator=(const ap_bit& value) { return *this = static_cast<bool>(value); }
};

template <int N, bool S>
struct ap_int_base {
    typedef typename ap_native<N, S>::type Native;
    enum { width = N, sign = S };
    Native v;

    ap_int_base() {}
    template <class T, ap_if_native<T> = 0>
    ap_int_base(T value) : v(static_cast<Native>(value)) {}
    template <int M, bool R>
    ap_int_base(const ap_int_base<M, R>& value) : v(static_cast<Native>(value.v)) {}
    template <int M, bool R>
    ap_int_base(const ap_slice<M, R>& value) : v(static_cast<Native>(value.bits())) {}

    template <class T, ap_if_native<T> = 0>
    explicit operator T() const {
        return static_cast<T>(v);
    }
    long long to_int64() const { return static_cast<long long>(v); }
    unsigned long long to_uint64() const { return static_cast<unsigned long long>(v); }
    long to_long() const { return static_cast<long>(v); }
    int to_int() const { return static_cast<int>(v); }
    unsigned to_uint() const { return static_cast<unsigned>(v); }
    bool to_bool() const { return v != 0; }
    int length() const { return N; }

    ap_slice<N, S> range(int high, int low) { return ap_slice<N, S>{*this, high, low}; }
    ap_slice<N, S> range(int high, int low) const {
        return ap_slice<N, S>{const_cast<ap_int_base&>(*this), high, low};
    }
    ap_slice<N, S> operator()(int high, int low) { return range(high, low); }
    ap_slice<N, S> operator()(int high, int low) const { return range(high, low); }
    ap_bit<N, S> operator[](int bit) { return ap_bit<N, S>{*this, bit}; }
    bool operator[](int bit) const { return ((v >> bit) & 1) != 0; }
    bool test(int bit) const { return ((v >> bit) & 1) != 0; }
    ap_int_base& set_bit(int bit, bool value) {
        range(bit, bit) = value;
        return *this;
    }

    ap_int_base operator~() const { return made<N, S>(~v); }
    ap_int_base<N + 1, true> operator-() const {
        return made<N + 1, true>(-static_cast<typename ap_native<N + 1, true>::type>(v));
    }
    bool operator!() const { return v == 0; }
    ap_int_base operator<<(int by) const { return made<N, S>(v << by); }
    ap_int_base operator>>(int by) const { return made<N, S>(v >> by); }
    ap_int_base& operator<<=(int by) { return *this = *this << by; }
    ap_int_base& operator>>=(int by) { return *this = *this >> by; }
    ap_int_base& operator++() { return *this = ap_int_base(*this + 1); }
    ap_int_base& operator--() { return *this = ap_int_base(*this - 1); }
    template <class T>
    ap_int_base& operator+=(const T& other) {
        return *this = ap_int_base(*this + other);
    }
    template <class T>
    ap_int_base& operator-=(const T& other) {
        return *this = ap_int_base(*this - other);
    }
    template <class T>
    ap_int_base& operator*=(const T& other) {
        return *this = ap_int_base(*this * other);
    }
    template <class T>
    ap_int_base& operator|=(const T& other) {
        return *this = ap_int_base(*this | other);
    }
    template <class T>
    ap_int_base& operator&=(const T& other) {
        return *this = ap_int_base(*this & other);
    }
    template <class T>
    ap_int_base& operator^=(const T& other) {
        return *this = ap_int_base(*this ^ other);
    }

    template <int M, bool R>
    static ap_int_base<M, R> made(typename ap_native<M, R>::type value) {
        ap_int_base<M, R> result;
        result.v = value;
        return result;
    }
};

template <int N>
struct ap_int : ap_int_base<N, true> {
    using ap_int_base<N, true>::ap_int_base;
    ap_int() {}
    template <int M, bool R>
    ap_int(const ap_int_base<M, R>& value) : ap_int_base<N, true>(value) {}
};

template <int N>
struct ap_uint : ap_int_base<N, false> {
    using ap_int_base<N, false>::ap_int_base;
    ap_uint() {}
    template <int M, bool R>
    ap_uint(const ap_int_base<M, R>& value) : ap_int_base<N, false>(value) {}
};

// Widths of results, as the vendor defines them: nothing is lost.
template <int N, bool S, int M, bool R>
struct ap_result {
    enum {
        either = S || R,
        left = N + (either && !S ? 1 : 0),
        right = M + (either && !R ? 1 : 0),
        wide = ap_larger(left, right)
    };
    typedef ap_int_base<wide + 1, either || false> sum;
    typedef ap_int_base<wide + 1, true> difference;
    typedef ap_int_base<N + M, either> product;
    typedef ap_int_base<wide, either> logic;
    typedef ap_int_base<N + (R ? 1 : 0), either> quotient;
    typedef ap_int_base<N, S> remainder;
};

#define E2TRAIN_AP_BINARY(OP, KIND)                                                           \
    template <int N, bool S, int M, bool R>                                                   \
    typename ap_result<N, S, M, R>::KIND operator OP(const ap_int_base<N, S>& a,              \
                                                     const ap_int_base<M, R>& b) {            \
        typedef typename ap_result<N, S, M, R>::KIND Result;                                  \
        typedef typename Result::Native Native;                                               \
        Result result;                                                                        \
        result.v = static_cast<Native>(static_cast<Native>(a.v) OP static_cast<Native>(b.v)); \
        return result;                                                                        \
    }                                                                                         \
    template <int N, bool S, class T, ap_if_native<T> = 0>                                    \
    auto operator OP(const ap_int_base<N, S>& a, T b) {                                       \
        return a OP typename ap_of<T>::type(b);                                               \
    }                                                                                         \
    template <int N, bool S, class T, ap_if_native<T> = 0>                                    \
    auto operator OP(T a, const ap_int_base<N, S>& b) {                                       \
        return typename ap_of<T>::type(a) OP b;                                               \
    }
E2TRAIN_AP_BINARY(+, sum)
E2TRAIN_AP_BINARY(-, difference)
E2TRAIN_AP_BINARY(*, product)
E2TRAIN_AP_BINARY(/, quotient)
E2TRAIN_AP_BINARY(%, remainder)
E2TRAIN_AP_BINARY(&, logic)
E2TRAIN_AP_BINARY(|, logic)
E2TRAIN_AP_BINARY(^, logic)
#undef E2TRAIN_AP_BINARY

#define E2TRAIN_AP_COMPARE(OP)                                                 \
    template <int N, bool S, int M, bool R>                                    \
    bool operator OP(const ap_int_base<N, S>& a, const ap_int_base<M, R>& b) { \
        typedef typename ap_result<N, S, M, R>::logic::Native Native;          \
        return static_cast<Native>(a.v) OP static_cast<Native>(b.v);           \
    }                                                                          \
    template <int N, bool S, class T, ap_if_native<T> = 0>                     \
    bool operator OP(const ap_int_base<N, S>& a, T b) {                        \
        return a OP typename ap_of<T>::type(b);                                \
    }                                                                          \
    template <int N, bool S, class T, ap_if_native<T> = 0>                     \
    bool operator OP(T a, const ap_int_base<N, S>& b) {                        \
        return typename ap_of<T>::type(a) OP b;                                \
    }
E2TRAIN_AP_COMPARE(==)
E2TRAIN_AP_COMPARE(!=)
E2TRAIN_AP_COMPARE(<)
E2TRAIN_AP_COMPARE(>)
E2TRAIN_AP_COMPARE(<=)
E2TRAIN_AP_COMPARE(>=)
#undef E2TRAIN_AP_COMPARE

#endif
