# SPDX-License-Identifier: Apache-2.0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet --quiet
STAMP := $(VENV)/.installed
TORCH := 2.13.0
# PyPI's Linux builds of torch bring several GB of CUDA; this index has the CPU builds. For a
# machine with an NVIDIA GPU give PyTorch's index of your CUDA version and an empty TORCH_BUILD.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_BUILD ?= +cpu
DEMO := sgd-fp32 fixed8 psg smd slu e2train
# Tests run in two processes, and the demo's network is too small for more than one thread.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup check lint test demo results notebooks csim csynth cosim ip bitstream mutate faults hls-report fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z -]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## create .venv with everything that training, tests and reports need

check:
	@need() { echo "setup: $$1 is missing; on Debian: apt-get install $$2" >&2; exit 1; }; \
	command -v "$(PYTHON)" >/dev/null || need "$(PYTHON)" python3; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || need "Python 3.10 or newer" python3; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv with ensurepip" python3-venv; \
	command -v g++ >/dev/null || need "the C++ compiler g++" g++

$(STAMP): setup.py requirements/constraints.txt | check
	@echo "setup: installing into $(VENV) (minutes on the first run)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(PIP) install 'torch==$(TORCH)$(TORCH_BUILD)' 2>/dev/null || \
	    $(PIP) install --extra-index-url $(TORCH_INDEX) 'torch==$(TORCH)'
	@$(PIP) install -e '.[emulator,hls,board,link,images,models,notebooks,modbus,scpi,cluster,report,rtl,test,lint]' -c requirements/constraints.txt
	@$(BIN)/e2train device list >/dev/null  # compiles the emulator's kernels
	@touch $@

lint: setup ## style, types and layers: ruff, mypy, import-linter, clang-format, verilator
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || \
	    { echo "lint: the files above need '$(BIN)/ruff format .'" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@found=$$($(BIN)/lint-imports --no-logo --no-cache 2>&1) || { echo "$$found" >&2; exit 1; }
	@find hls host -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' \) \
	    -exec $(BIN)/clang-format --dry-run -Werror {} +
	@$(BIN)/python hls/checks/lint_rtl.py

test: setup lint ## lint, then every test
	@$(BIN)/pytest -n 2 --no-header --durations=20 -m 'not alone'
	@$(BIN)/pytest --no-header -m alone

demo: setup ## train six methods on the embedded data and write runs/demo/report.html
	@rm -rf runs/demo
	@for name in $(DEMO); do \
	    $(BIN)/e2train train experiments/demo/$$name.toml --out runs/demo/$$name || exit; \
	done
	@$(BIN)/e2train report $(DEMO:%=runs/demo/%) --out runs/demo

results: setup ## rebuild docs/results, docs/emulator and docs/one-pass.md: pages and figures from their data
	@$(BIN)/e2train results build docs/results
	@$(BIN)/e2train bench page docs/emulator
	@$(BIN)/e2train results one-pass

notebooks: setup ## build notebooks/*.ipynb and open them in JupyterLab
	@$(PIP) install jupyterlab -c requirements/constraints.txt
	@$(BIN)/jupytext --quiet --to ipynb notebooks/*.py
	@$(BIN)/jupyter-lab --ServerApp.root_dir='$(CURDIR)' notebooks/1-quick-start.ipynb

csim: setup ## the HLS kernels under g++ against golden vectors, plain and sanitized
	@$(MAKE) --no-print-directory -C hls csim PYTHON=../$(BIN)/python

csynth cosim ip: setup ## Vitis HLS: synthesis, cosimulation, packaging (needs vitis-run)
	@$(MAKE) --no-print-directory -C hls $@ PYTHON=../$(BIN)/python

BOARD ?= zedboard
bitstream: setup ## a bitstream for BOARD (needs Vitis HLS and Vivado; e2train board list)
	@$(MAKE) --no-print-directory -C bitstreams BOARD=$(BOARD) PYTHON=../$(BIN)/python

mutate: setup ## small faults seeded into the kernels: does a golden vector catch each?
	@$(MAKE) --no-print-directory -C hls mutate PYTHON=../$(BIN)/python

hls-report: setup ## what a synthesis tool would find in the kernels: loops, bursts, resources
	@$(PIP) install -e '.[hls-report]' -c requirements/constraints.txt
	@$(MAKE) --no-print-directory -C hls report PYTHON=../$(BIN)/python

faults: setup ## faults seeded into driver, shell and bus: does a test on the simulated board see each?
	@$(BIN)/python hls/checks/faults.py

FUZZ_SECONDS ?= 60
fuzz: setup ## atheris on the meters' parsers for FUZZ_SECONDS
	@$(PIP) install -e '.[fuzz]' -c requirements/constraints.txt
	@$(BIN)/python tests/fuzz/fuzz_meters.py -max_total_time=$(FUZZ_SECONDS) -max_len=600

clean: ## remove .venv, caches and build outputs; runs/ and data/ stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .git -prune -o \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
