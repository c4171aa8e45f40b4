# SPDX-License-Identifier: Apache-2.0
"""LLVM IR of the kernels: ziglang's Clang compiles, llvmlite's LLVM inlines and unrolls.

Three things are made as a synthesis tool takes them. Integers have their exact widths (the headers
in include/ replace the vendor's). Every pointer parameter is a port or a memory of its own, so none
aliases another. A stream access is a call that touches no memory."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sources import HLS, Missing, synthesised, system_includes

from synthesis.module import plain_name
from synthesis.pragmas import Source, called_when_pipelined, for_clang, kept_apart, scan

HEADERS = Path(__file__).resolve().parent / "include"
FLAGS = (
    "-D__SYNTHESIS__",
    *("-x", "c++", "-std=c++14", "-w", "-O2", "-g", "-S", "-emit-llvm", "-o", "-"),
    *("-D__SYNTHESIS__", "-fno-discard-value-names", "-nostdinc", "-nostdinc++"),
    *("-fno-builtin", "-fno-exceptions", "-fno-rtti", "-fno-vectorize", "-fno-slp-vectorize"),
    *("-Xclang", "-disable-llvm-passes"),
)
INLINING = 1_000_000
NO_ALIAS = r"\bptr (?!noalias|[^,]*sret\()"
TRIPLE = "x86_64-unknown-linux-gnu"
ROUNDS = 3  # what unrolling opens, the second round simplifies


def llvm() -> Any:
    """llvmlite's LLVM, an extra of its own."""
    return importlib.import_module("llvmlite.binding")


def available() -> None:
    """Raises Missing without ziglang or llvmlite."""
    for name in ("ziglang", "llvmlite"):
        if importlib.util.find_spec(name) is None:
            raise Missing(f"{name} is not installed: pip install 'e2train[hls-report]'")


def _compiled(path: Path, includes: list[str]) -> str:
    command = [sys.executable, "-m", "ziglang", "clang", *FLAGS, *includes, str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        first = next((line for line in made.stderr.splitlines() if "error:" in line), made.stderr)
        raise Missing(f"{path.name} does not compile: {first}")
    return made.stdout


def _own_memories(signature: re.Match[str]) -> str:
    """A definition whose pointers alias nothing."""
    head, parameters, rest = signature.groups()
    return f"{head}{re.sub(NO_ALIAS, 'ptr noalias ', parameters)}) {rest}"


def _inlined(text: str, called: set[str], apart: set[str]) -> str:
    """Everything inlined where it is called, but functions of other sources, and those that a
    pragma keeps apart, which become modules of their own. What a pipelined loop calls is inlined
    in any case. `called`, `apart`: names as written in the sources."""

    def mark(signature: re.Match[str]) -> str:
        head, name, parameters, rest = signature.groups()
        outside = "internal" not in head and "linkonce" not in head
        own = (outside or plain_name(name) in apart) and plain_name(name) not in called
        how = "noinline" if own else "alwaysinline"
        unnamed = "".join(re.findall(r"^(?:local_)?unnamed_addr ", rest))
        return f"{head}@{name}({parameters}) {unnamed}{how} {rest[len(unnamed) :]}"

    return re.sub(r"^(define .*?)@([^(]+)\((.*)\) (.*\{)$", mark, text, flags=re.M)


def as_hardware(text: str, called: set[str], apart: set[str]) -> str:
    """Clang's IR, told what holds in hardware."""
    text = re.sub(r"^(define .*?@[^(]+\()(.*)\) (.*\{)$", _own_memories, text, flags=re.M)
    effects = "nounwind willreturn memory(inaccessiblemem: readwrite)"
    text = re.sub(r"^(declare .*@e2_fifo_.*\))( .*)?$", rf"\1 {effects}", text, flags=re.M)
    return _inlined(text, called, apart)


def _optimise(module: Any) -> None:
    """Inlines, unrolls as told, and keeps values in registers."""
    machine = llvm().Target.from_triple(TRIPLE).create_target_machine()
    options = llvm().create_pipeline_tuning_options(1)
    options.inlining_threshold = INLINING
    options.loop_unrolling = False
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    builder = llvm().create_pass_builder(machine, options)
    for _ in range(ROUNDS):
        builder.getModulePassManager().run(module, builder)
    names = llvm().create_new_module_pass_manager()
    names.add_instruction_namer_pass()
    names.add_loop_simplify_pass()
    names.run(module, builder)


def linked(texts: list[str]) -> str:
    """Optimised IR of all modules together."""
    llvm().initialize_all_targets()
    llvm().initialize_all_asmprinters()
    modules = [llvm().parse_assembly(text) for text in texts]
    for module in modules[1:]:
        modules[0].link_in(module)
    _optimise(modules[0])
    return str(modules[0])


def _copied(hls: Path, folder: Path) -> list[Source]:
    """The sources under `folder` as Clang is to see them; returns the originals."""
    found = [
        scan(path)
        for name in ("src", "include")
        for path in sorted((hls / name).rglob("*"))
        if path.suffix in (".cpp", ".hpp", ".h")
    ]
    called = called_when_pipelined(found)
    for source in found:
        path = folder / source.path.relative_to(hls)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(for_clang(source, called), encoding="utf-8")
    return found


def emit(hls: Path = HLS, paths: list[Path] | None = None) -> tuple[str, list[Source]]:
    """Optimised IR of all sources that become hardware, and every source's scopes.

    Raises Missing without a compiler, or for a source that does not compile."""
    available()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        found = _copied(hls, folder)
        called, apart = called_when_pipelined(found), kept_apart(found)
        includes = [f"-I{folder / 'include'}", "-isystem", str(HEADERS)]
        for system in system_includes():
            includes += ["-isystem", system]
        compiled = [
            _compiled(folder / path.relative_to(hls), includes)
            for path in paths or synthesised(hls)
        ]
        text = linked([as_hardware(one, called, apart) for one in compiled])
        return text.replace(f"{folder}/", "").replace(f"{folder.name}/", ""), found
