#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vitis.sh STEP BUILD_FOLDER: runs STEP.tcl in Vitis HLS, or says in one line what is missing.
# vitis.sh STEP: only says what is missing.
step=$1
build=$2
scripts=$(cd "$(dirname "$0")" && pwd) || exit 1
oldest=2023.2
expected="AMD Vitis $oldest or newer with Zynq-7000 devices"

if ! command -v vitis-run >/dev/null; then
    echo "$step: vitis-run is not on PATH; install $expected and source its settings64.sh" >&2
    exit 1
fi
found=$(vitis-run --version 2>/dev/null | grep -o '20[0-9][0-9]\.[0-9]*' | head -n 1)
if [ "$(printf '%s\n' "$oldest" "${found:-0}" | sort -V | head -n 1)" != "$oldest" ]; then
    echo "$step: vitis-run is version ${found:-unknown}; $expected is expected" >&2
    exit 1
fi
test -n "$build" || exit 0
case $scripts$build in *[[:space:]]*)
    echo "$step: $scripts: Vitis HLS takes no path with a space: move the checkout" >&2
    exit 1 ;;
esac
mkdir -p "$build" && cd "$build" && exec vitis-run --mode hls --tcl "$scripts/$step.tcl"
