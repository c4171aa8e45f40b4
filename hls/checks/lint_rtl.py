# SPDX-License-Identifier: Apache-2.0
"""Verilator's lint of the MAC core's Verilog, with every warning on.

    python lint_rtl.py

Prints what it finds and ends with 1 if there is anything.
"""

from __future__ import annotations

import subprocess
import sys

from sources import HLS

from e2train.device.accelerator.verilator import (
    RTL,
    TOP,
    RtlUnavailable,
    environment,
    sources,
    verilator,
)


def main() -> int:
    root = HLS.parent
    try:
        binary, _ = verilator()
        files = [str(path.relative_to(root)) for path in sources(root)]
    except RtlUnavailable as error:
        print(f"lint: {error}", file=sys.stderr)
        return 2
    includes = [f"-I{RTL}", f"-I{RTL}/generated"]
    command = [binary, "--lint-only", "--quiet", "-Wall", *includes, "--top-module", TOP, *files]
    return subprocess.run(command, cwd=root, env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
