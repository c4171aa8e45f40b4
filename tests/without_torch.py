# SPDX-License-Identifier: Apache-2.0
"""Runs scripts as on a board, where none of the large extras can be installed."""

from __future__ import annotations

import subprocess
import sys

# The finders of sys.path skip the blocked packages, as where they are not installed.
BOARD = """
import sys
BLOCKED = {
    "PIL", "hls4ml", "matplotlib", "onnx", "onnxruntime", "qonnx", "safetensors", "scipy",
    "sklearn", "torch",
}

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from importlib.util import find_spec

if find_spec("torch") is not None:
    raise SystemExit("torch is not blocked")
"""


def board(*arguments: object, script: str, besides: tuple[str, ...] = ()) -> None:
    """Run the script; `besides`: what is to be found all the same."""
    allowed = f"\nBLOCKED -= {set(besides)!r}\n" if besides else ""
    command = [sys.executable, "-c", BOARD + allowed + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
