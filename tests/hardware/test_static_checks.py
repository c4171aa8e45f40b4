# SPDX-License-Identifier: Apache-2.0
"""The accelerator's sources as a synthesis tool sees them; and that each rule finds its case."""

import subprocess
import sys
from pathlib import Path

import pytest

HLS = Path(__file__).resolve().parents[2] / "hls"
sys.path.insert(0, str(HLS / "checks"))

pytest.importorskip("clang.cindex", reason="libclang is not installed: pip install libclang")
pytest.importorskip("hls4ml", reason="hls4ml is not installed: its wheel carries ap_int.h")

import parsing  # noqa: E402
import synthesisable  # noqa: E402
from sources import ap_types, bench, synthesised  # noqa: E402

# Labels name loops in the vendor's reports, pragmas are the vendor's, and some constants stand in
# pragmas only: no compiler here knows them.
QUIET = ("-Wno-unknown-pragmas", "-Wno-unused-label", "-Wno-unused-const-variable")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow")

CAUGHT = {
    "direct recursion": ("recursion", "int f(int n) { return n < 2 ? n : f(n - 1); }"),
    "mutual recursion": (
        "recursion",
        "int odd(int n); int even(int n) { return n ? odd(n - 1) : 1; }"
        "int odd(int n) { return n ? even(n - 1) : 0; }",
    ),
    "recursion in a template": (
        "recursion",
        "template <class T> T f(T n) { return n ? f(n) : n; } int g() { return f(3); }",
    ),
    "recursion through a template": (
        "recursion",
        "int g(int n); template <class T> T f(T n) { return n + T(g(1)); }"
        "int g(int n) { return f(n); }",
    ),
    "recursive method": ("recursion", "struct S { int f(int n) { return n ? f(n - 1) : 0; } };"),
    "new": ("heap", "int *f() { return new int(3); }"),
    "new array": ("heap", "int *f(int n) { return new int[n]; }"),
    "delete": ("heap", "void f(int *p) { delete p; }"),
    "malloc": ("heap", "#include <cstdlib>\nvoid *f() { return malloc(8); }"),
    "std::malloc": ("heap", "#include <cstdlib>\nvoid f() { std::free(std::malloc(8)); }"),
    "virtual function": ("virtual", "struct S { virtual int f() { return 1; } };"),
    "pure virtual function": ("virtual", "struct S { virtual int f() = 0; };"),
    "virtual destructor": ("virtual", "struct S { virtual ~S() {} };"),
    "override": ("virtual", "struct A { virtual void f(); }; struct B : A { void f() override; };"),
    "while true": ("unbounded loop", "void f() { while (true) {} }"),
    "for ever": ("unbounded loop", "void f() { for (;;) {} }"),
    "for without a comparison": ("unbounded loop", "void f(bool b) { for (int i = 0; b; ++i) {} }"),
    "for without a step": ("unbounded loop", "void f() { for (int i = 0; i < 8;) {} }"),
    "for on another variable": (
        "unbounded loop",
        "void f(int k) { for (int i = 0; k < 8; ++i) {} }",
    ),
    "for that counts nothing": (
        "unbounded loop",
        "int g(); void f() { for (int i = 0; i < 8; g()) {} }",
    ),
    "while on data": ("unbounded loop", "void f(int n) { while (n != 0) { n >>= 1; } }"),
    "do": ("unbounded loop", "int g(); void f() { do {} while (g() > 0); }"),
    "stream until empty": (
        "unbounded loop",
        '#include "hls_stream.h"\nvoid f(hls::stream<int> &s) { while (!s.empty()) s.read(); }',
    ),
    "variable bound": ("loop extent", "void f(int n) { for (int i = 0; i < n; ++i) {} }"),
    "tripcount of an inner loop": (
        "loop extent",
        "void f(int n) { for (int i = 0; i < n; ++i) {\n for (int k = 0; k < n; ++k) {\n"
        "#pragma HLS LOOP_TRIPCOUNT max = 8\n } } }",
    ),
    "pointer to pointer": ("pointer to pointer", "int f(int **p) { return **p; }"),
    "pointer to pointer, hidden": (
        "pointer to pointer",
        "typedef int *Row; int f(Row *p) { return **p; }",
    ),
    "pointer to pointer, local": (
        "pointer to pointer",
        "int f(int *p) { auto q = &p; return **q; }",
    ),
    "pointer to pointer, returned": ("pointer to pointer", "int **f();"),
    "pointer to pointer, member": ("pointer to pointer", "struct S { const char **names; };"),
    "function pointer": ("function pointer", "int f(int (*g)(int)) { return g(1); }"),
    "vector": ("standard class", "#include <vector>\nint f(std::vector<int> &v) { return v[0]; }"),
    "array": ("standard class", "#include <array>\nstruct S { std::array<int, 3> a; };"),
    "map in a typedef": ("standard class", "#include <map>\ntypedef std::map<int, int> M;"),
    "string behind auto": (
        "standard class",
        "#include <string>\nstd::string g(); void f() { auto s = g(); }",
    ),
    "standard base": ("standard class", "#include <vector>\nstruct S : std::vector<int> {};"),
    "standard algorithm": (
        "library call",
        "#include <algorithm>\nvoid f(int *p) { std::sort(p, p + 8); }",
    ),
    "printing": ("library call", '#include <cstdio>\nvoid f() { printf("x"); }'),
    "double": ("floating point", "int f(double x) { return int(x); }"),
    "float member": ("floating point", "struct S { float scale[4]; };"),
    "float result": ("floating point", "float f();"),
    "floating literal": ("floating point", "int f(int n) { return int(n * 0.5); }"),
    "pointer to float": ("floating point", "void f(const float *p);"),
    "throw": ("exception", "void f() { throw 1; }"),
    "try": ("exception", "void g(); void f() { try { g(); } catch (...) {} }"),
    "dynamic_cast": (
        "run-time type",
        "struct A { virtual void f(); }; struct B : A {};"
        "B *g(A *a) { return dynamic_cast<B *>(a); }",
    ),
    "reinterpret_cast": (
        "pointer cast",
        "char *f(int *p) { return reinterpret_cast<char *>(p); }",
    ),
    "goto": ("jump", "void f() { again: goto again; }"),
    "array of variable size": ("array size", "int f(int n) { int a[n]; a[0] = 1; return a[0]; }"),
}

FINE = """\
#include "ap_int.h"
#include "hls_stream.h"
namespace e2 {
constexpr int SIZE = 8;
struct Word { ap_int<16> lane[SIZE]; };
template <int N> ap_int<48> total(const ap_int<16> values[N]) {
    ap_int<48> sum = 0;
sums:
    for (int i = 0; i < N; ++i) {
#pragma HLS UNROLL
        sum += values[i];
    }
    return sum;
}
void pass(const Word *words, hls::stream<Word> &out, int count) {
    hls::stream<Word> inner("inner");
words_loop:
    for (int i = 0; i < count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
#pragma HLS PIPELINE II = 1
        Word word = words[i];
        word.lane[0] = total<SIZE>(word.lane) > 3 ? 1 : 0;
        inner.write(word);
        if (i == SIZE) break;
        out.write(inner.read());
    }
}
}
"""


def rules_found(folder: Path, code: str) -> set[str]:
    source = folder / "sample.cpp"
    source.write_text(code, encoding="utf-8")
    return {found.rule for found in synthesisable.findings([source], folder)}


@pytest.mark.parametrize("name", CAUGHT)
def test_each_construct_is_caught(tmp_path, name):
    rule, code = CAUGHT[name]
    assert rule in rules_found(tmp_path, code + "\n")


def test_what_hls_takes_is_let_through(tmp_path):
    assert rules_found(tmp_path, FINE) == set()


def test_recursion_across_sources_is_caught(tmp_path):
    one, two = tmp_path / "one.cpp", tmp_path / "two.cpp"
    one.write_text("int g(int); int f(int n) { return g(n); }\n", encoding="utf-8")
    two.write_text("int f(int); int g(int n) { return n ? f(n - 1) : 0; }\n", encoding="utf-8")
    assert not synthesisable.findings([one], tmp_path)
    assert {found.rule for found in synthesisable.findings([one, two], tmp_path)} == {"recursion"}


def test_several_sources_are_checked_as_one_is(tmp_path):
    """With several, the vendor's headers are read once and for all."""
    rules = {}
    for number, (rule, code) in enumerate(CAUGHT.values()):
        path = tmp_path / f"{number}.cpp"
        path.write_text(code + "\n", encoding="utf-8")
        rules[str(path)] = rule
    found = synthesisable.findings([Path(name) for name in rules], tmp_path)
    missed = set(rules.items()) - {(one.file, one.rule) for one in found}
    # One name for several functions: which of them recurses is told once.
    assert {rule for _, rule in missed} <= {"recursion"}


def test_a_finding_says_where(tmp_path, capsys):
    source = tmp_path / "sample.cpp"
    source.write_text("\nfloat f();\n", encoding="utf-8")
    (found,) = synthesisable.findings([source], tmp_path)
    assert str(found) == f"{source}:2: floating point: f is float"


def test_a_source_that_does_not_compile_is_an_error(tmp_path, capsys):
    source = tmp_path / "sample.cpp"
    source.write_text("int f() { return nothing; }\n", encoding="utf-8")
    assert synthesisable.main([str(source)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{source}:1: use of undeclared identifier" in line


def test_the_accelerator_is_synthesisable():
    assert [str(found) for found in synthesisable.findings(synthesised())] == []


SOURCES = pytest.mark.parametrize("source", [*synthesised(), *bench()], ids=lambda path: path.name)


@pytest.fixture(scope="module")
def gcc(tmp_path_factory):
    """g++ as a command that checks a source, with the vendor's headers read once."""
    include = [f"-I{HLS / 'include'}", "-isystem", str(ap_types())]
    command = ["g++", "-std=c++14", *WARNINGS, "-Werror", *QUIET, *include]
    header = tmp_path_factory.mktemp("gcc") / "vendor.hpp"
    header.write_text("".join(f'#include "{name}"\n' for name in parsing.VENDOR), encoding="utf-8")
    subprocess.run([*command, "-x", "c++-header", str(header)], check=True)
    return [*command, "-Winvalid-pch", "-include", str(header), "-fsyntax-only"]


@pytest.fixture(scope="module")
def clang(tmp_path_factory):
    """Flags for libclang, likewise."""
    flags = [*parsing.arguments(), *WARNINGS, *QUIET]
    return [*flags, *parsing.precompiled(tmp_path_factory.mktemp("clang"), flags)]


@SOURCES
def test_gcc_has_no_warnings(gcc, source):
    done = subprocess.run([*gcc, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@SOURCES
def test_clang_has_no_warnings(clang, source):
    assert parsing.warnings(source, clang) == []


@pytest.mark.parametrize(
    ("gcc_option", "clang_option", "code"),
    [
        ("unused-variable", "unused-variable", "void f() { int n; }"),
        ("unused-parameter", "unused-parameter", "void f(int n) {}"),
        ("conversion", "implicit-int-conversion", "signed char f(int n) { return n; }"),
        ("shadow", "shadow", "int f(int n) { if (n) { int n = 2; return n; } return 0; }"),
    ],
)
def test_both_compilers_warn(gcc, clang, tmp_path, gcc_option, clang_option, code):
    source = tmp_path / "sample.cpp"
    source.write_text(code + "\n", encoding="utf-8")
    done = subprocess.run([*gcc, str(source)], capture_output=True, text=True)
    assert done.returncode == 1 and f"[-Werror={gcc_option}]" in done.stderr
    assert any(f"[-W{clang_option}]" in one for one in parsing.warnings(source, clang))
