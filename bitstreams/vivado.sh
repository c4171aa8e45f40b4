#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vivado.sh BOARD BUILD_FOLDER IP.zip: runs build.tcl in Vivado, or says in one line what is missing.
# vivado.sh BOARD: only says what is missing.
board=$1
build=$2
ip=$3
here=$(cd "$(dirname "$0")" && pwd) || exit 1
oldest=2023.2
expected="AMD Vivado $oldest or newer with Zynq-7000 devices"

if [ ! -f "$here/generated/$board.tcl" ]; then
    boards=$(cd "$here/generated" && ls -- *.tcl | sed 's/\.tcl$//' | paste -s -d ' ' -)
    echo "bitstream: BOARD=$board: expected one of $boards" >&2
    exit 2
fi
if ! command -v vivado >/dev/null; then
    echo "bitstream: vivado is not on PATH; install $expected (and Vitis of the same version," \
        "for the accelerator) and source its settings64.sh" >&2
    exit 1
fi
found=$(vivado -version 2>/dev/null | grep -o '20[0-9][0-9]\.[0-9]*' | head -n 1)
if [ "$(printf '%s\n' "$oldest" "${found:-0}" | sort -V | head -n 1)" != "$oldest" ]; then
    echo "bitstream: vivado is version ${found:-unknown}; $expected is expected" >&2
    exit 1
fi
test -n "$build" || exit 0
if [ ! -f "$ip" ]; then
    echo "bitstream: $ip: there is no packaged accelerator; make ip writes it" >&2
    exit 1
fi
case $here$build$ip in *[[:space:]]*)
    echo "bitstream: $here: Vivado takes no path with a space: move the checkout" >&2
    exit 1 ;;
esac
mkdir -p "$build" && cd "$build" && exec vivado -mode batch -nojournal -notrace -log vivado.log \
    -source "$here/build.tcl" -tclargs "$board" "$ip"
