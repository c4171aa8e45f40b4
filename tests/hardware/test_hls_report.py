# SPDX-License-Identifier: Apache-2.0
"""`make hls-report` on small kernels whose recurrences, strides and operators are known."""

import subprocess
import sys
from pathlib import Path

import pytest

HLS = Path(__file__).resolve().parents[2] / "hls"
sys.path.insert(0, str(HLS / "checks"))

for extra in ("ziglang", "llvmlite"):
    pytest.importorskip(
        extra, reason=f"{extra} is not installed: pip install 'e2train[hls-report]'"
    )

from synthesis import delays  # noqa: E402
from synthesis.analysis import Analysis, analyse  # noqa: E402
from synthesis.findings import Judge, Rules, load_rules  # noqa: E402
from synthesis.memories import Memory  # noqa: E402
from synthesis.pragmas import scan  # noqa: E402
from synthesis.verilog import counted_cells  # noqa: E402

HEAD = """
#include <cstdint>
#include "ap_int.h"
#include "hls_stream.h"
typedef std::uint64_t Beat;
"""

KERNELS = {
    # An accumulator of 32 bits: one addition around.
    "accumulate": """
std::uint32_t accumulate(const std::uint32_t from[64], int n) {
    std::uint32_t sum = 0;
accumulate_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        sum += from[i];
    }
    return sum;
}""",
    # Sixteen updates that each need the one before: far beyond one cycle.
    "chained": """
int chained(const int from[64][16], int n) {
    int most = 0;
chained_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        for (int lane = 0; lane < 16; ++lane) {
#pragma HLS UNROLL
            const int value = from[i][lane];
            most = value > most ? value : most * 3 + 1;
        }
    }
    return most;
}""",
    # One such update, in cycles enough.
    "patient": """
int patient(const int from[64], int n) {
    int most = 0;
patient_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 8
        most = from[i] > most ? from[i] : most * 3 + 1;
    }
    return most;
}""",
    # A table that is read, added to and written: two cycles through a block RAM.
    "histogram": """
void histogram(const std::uint16_t from[64], std::uint32_t table[65536], int n) {
histogram_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        table[from[i]] += 1;
    }
}""",
    "waived": """
void waived(const std::uint16_t from[64], std::uint32_t table[65536], int n) {
waived_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
#pragma HLS DEPENDENCE variable = table inter false
        table[from[i]] += 1;
    }
}""",
    # The loop ends on what the stream brings: FIFO, comparison.
    "until": """
int until(hls::stream<int>& from, int n) {
    int count = 0;
until_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        if (from.read() == 7) {
            break;
        }
        ++count;
    }
    return count;
}""",
    "copy": """
void copy(const Beat* in, Beat* out, int begin, int n) {
    const Beat* from = in + begin;
    Beat* to = out + begin;
copy_beats:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        to[i] = from[i];
    }
}""",
    "unsigned_index": """
Beat unsigned_index(const Beat* in, std::uint32_t begin, int n) {
    Beat sum = 0;
unsigned_beats:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        sum ^= in[begin + static_cast<std::uint32_t>(i)];
    }
    return sum;
}""",
    "words_of_four": """
Beat words_of_four(const Beat* in, int n) {
    Beat sum = 0;
four_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 4
        for (int b = 0; b < 4; ++b) {
            sum ^= in[4 * i + b];
        }
    }
    return sum;
}""",
    "gaps": """
Beat gaps(const Beat* in, int n) {
    Beat sum = 0;
gap_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 2
        sum ^= in[4 * i] ^ in[4 * i + 1];
    }
    return sum;
}""",
    "sometimes": """
void sometimes(const Beat* in, Beat* out, int n) {
sometimes_beats:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        if (in[i] != 0) {
            out[i] = in[i];
        }
    }
}""",
    "either": """
Beat either(const Beat* first, const Beat* second, bool which, int n) {
    const Beat* in = which ? first : second;
    Beat sum = 0;
either_beats:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        sum ^= in[i];
    }
    return sum;
}""",
    "products": """
void products(const int a[64], const short b[64], std::int64_t out[64], int n) {
products_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        out[i] = static_cast<std::int64_t>(a[i]) * a[i] + b[i] * b[n - i];
    }
}""",
    "exact": """
void exact(const ap_int<25> a[64], const ap_int<18> b[64], ap_int<43> out[64], int n) {
exact_words:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        out[i] = a[i] * b[i];
    }
}""",
    "divides": "int divides(int a, int b) { return a / b + a / 8; }",
    "dataflow": """
static void read_words(const int from[64], hls::stream<int>& to, int n) {
read_loop:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        to.write(from[i]);
    }
}
static void write_words(const int from[64], hls::stream<int>& words, int to[64], int n) {
write_loop:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        to[i] = words.read() + from[0];
    }
}
void dataflow(const int from[64], int to[64], int n) {
#pragma HLS DATAFLOW
    hls::stream<int> words("words");
#pragma HLS STREAM variable = words depth = 64
    read_words(from, words, n);
    write_words(from, words, to, n);
}""",
    "buffers": """
struct Word { std::int16_t lane[16]; };
static void fill(int value, Word to[600]) {
fill_loop:
    for (int i = 0; i < 600; ++i) {
#pragma HLS PIPELINE II = 1
        for (int lane = 0; lane < 16; ++lane) {
            to[i].lane[lane] = static_cast<std::int16_t>(value * i + lane);
        }
    }
}
static void drain(const Word from[600], int n, int* to) {
    int sum = 0;
drain_loop:
    for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
        sum += from[(i * i) % 512].lane[i % 16];
    }
    *to = sum;
}
void buffers(int value, int n, int* to) {
#pragma HLS DATAFLOW
    Word words[600];
#pragma HLS AGGREGATE variable = words
    fill(value, words);
    drain(words, n, to);
}""",
}


def made(folder: Path, *texts: str) -> Analysis:
    """The analysis of a source of these kernels."""
    (folder / "src").mkdir(parents=True)
    (folder / "include").mkdir()
    path = folder / "src/kernels.cpp"
    path.write_text("\n".join([HEAD, *texts]), encoding="utf-8")
    return analyse(folder, [path], core=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return made(tmp_path_factory.mktemp("hls"), *KERNELS.values())


def loop(found: Analysis, label: str):
    return next(one for one in found.recurrences if one.label == label)


def port(found: Analysis, label: str, name: str):
    return next(one for one in found.ports if (one.label, one.port) == (label, name))


def test_an_accumulator_takes_one_addition_around(found: Analysis) -> None:
    one = loop(found, "accumulate_words")
    assert one.nanoseconds == pytest.approx(delays.add(32), abs=0.1)
    assert not one.breaks


@pytest.mark.parametrize("label", ["chained_words", "histogram_words"])
def test_a_recurrence_beyond_its_interval_breaks_it(found: Analysis, label: str) -> None:
    one = loop(found, label)
    assert one.breaks
    assert one.reached > one.interval == 1
    assert one.path


def test_the_slowest_way_names_its_operators(found: Analysis) -> None:
    one = loop(found, "chained_words")
    assert one.nanoseconds > 16 * (2 * delays.add(32) + delays.select())
    assert sum(step.startswith("select") for step in one.path) == 16


@pytest.mark.parametrize("label", ["patient_words", "waived_words", "exact_words", "copy_beats"])
def test_a_loop_that_keeps_its_interval_holds(found: Analysis, label: str) -> None:
    assert not loop(found, label).breaks


def test_a_read_modify_write_of_a_block_ram_takes_two_cycles(found: Analysis) -> None:
    one = loop(found, "histogram_words")
    assert one.nanoseconds == pytest.approx(delays.memory(False) + delays.add(32), abs=0.1)
    assert one.reached == 2


def test_the_way_to_the_end_of_a_loop_counts(found: Analysis) -> None:
    one = loop(found, "until_words")
    assert one.exit >= delays.compare(32)
    assert found.recurrences  # and every pipelined loop of the source is there:
    assert not [
        other.label for other in found.recurrences if "not found in the IR" in other.remarks
    ]


def test_unit_strides_are_bursts(found: Analysis) -> None:
    assert port(found, "copy_beats", "in").faults == []
    assert port(found, "copy_beats", "out").faults == []
    assert port(found, "four_words", "in").faults == []
    assert port(found, "four_words", "in").count == 4


@pytest.mark.parametrize(
    ("label", "name", "fault"),
    [
        ("unsigned_beats", "in", "not affine"),
        ("gap_words", "in", "takes 2 of 4 beats of a step"),
        ("sometimes_beats", "out", "conditional"),
        ("either_beats", "first", "chosen among ports"),
        ("either_beats", "second", "chosen among ports"),
    ],
)
def test_what_is_no_burst_is_listed(found: Analysis, label: str, name: str, fault: str) -> None:
    assert fault in port(found, label, name).faults


def test_products_beyond_a_dsp_and_dividers_are_found(found: Analysis) -> None:
    wide = [one for one in found.operators if one.kind == "multiplication"]
    assert [(one.where, one.text) for one in wide] == [("products_words", "32 x 32 bits")]
    dividers = [one for one in found.operators if one.kind == "divider"]
    assert [(one.where, one.text) for one in dividers] == [("divides", "sdiv i32")]


def test_two_readers_of_a_variable_are_found(found: Analysis) -> None:
    region = next(one for one in found.regions if one.label == "dataflow")
    faults = {one.name: one.fault for one in region.channels}
    assert faults == {"from": "read by 2 processes", "words": None, "to": None}


def test_a_buffer_between_processes_counts_twice(found: Analysis) -> None:
    words = next(one for one in found.memories if one.name == "words" and one.depth == 600)
    # 256 bits wide: eight RAMB18 of 36 bits, twice as deep as one, in two copies.
    assert (words.width, words.copies, words.blocks) == (256, 2, 15.0)


def test_shapes_of_block_rams() -> None:
    assert Memory("a", 512, 36, 1, 1).blocks == 0.5
    assert Memory("a", 513, 36, 1, 1).blocks == 1.0
    assert Memory("a", 2048, 72, 1, 2).blocks == 8.0
    assert Memory("a", 64, 16, 4, 1).blocks == 0.0
    assert Memory("a", 64, 16, 4, 1).luts == 64


def test_a_product_of_two_counts_its_dsp(tmp_path: Path) -> None:
    found = made(tmp_path, KERNELS["exact"])
    assert found.total.dsps == 1
    assert found.total.luts > 0
    assert found.total.ffs >= 32  # the loop's counter


def test_an_exception_excepts_by_name_and_a_stale_one_is_told(capsys) -> None:
    bounds = {"dsps": 1, "luts": 1, "ffs": 1, "blocks": 1, "core_luts": 1}
    judge = Judge(Rules(bounds, {("port", "a b"): "why", ("divider", "c"): "no more"}))
    assert judge("port", "a b", True) == "excepted"
    assert judge("port", "a c", True) == "BROKEN"
    assert judge("divider", "c", False) == ""
    assert judge.conclude() == 1
    assert "divider c: no more STALE" in capsys.readouterr().out


def test_exceptions_need_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "report.toml"
    text = (HLS / "checks/report.toml").read_text(encoding="utf-8")
    path.write_text(text + '\n[[exception]]\ntopic = "port"\nname = "x"\nreason = " "\n')
    with pytest.raises(Exception, match="needs topic, name and reason"):
        load_rules(path)


def test_yosys_cells_are_counted() -> None:
    cells = {"LUT2": 3, "LUT6": 4, "SRL16E": 2, "FDRE": 5, "DSP48E1": 6, "RAMB18E1": 3, "CARRY4": 9}
    counted = counted_cells(cells)
    assert (counted.luts, counted.ffs, counted.dsps, counted.blocks) == (9, 5, 6, 1.5)


def test_every_pipelined_loop_of_the_kernels_has_a_label() -> None:
    scopes = [scope for path in sorted((HLS / "src").glob("*.cpp")) for scope in scan(path).scopes]
    pipelined = [one for one in scopes if one.loop and one.interval() is not None]
    assert len(pipelined) > 20
    assert not [one for one in pipelined if one.label.startswith("line ")]


def test_a_source_that_does_not_compile_is_one_line(tmp_path: Path) -> None:
    for name in ("src", "include", "checks"):
        (tmp_path / name).mkdir()
    (tmp_path / "src/generated").mkdir()
    (tmp_path / "src/generated/e2train_accelerator.cpp").write_text("int f( { return 1; }\n")
    (tmp_path / "checks/report.toml").write_text((HLS / "checks/report.toml").read_text())
    command = [sys.executable, str(HLS / "checks/hls_report.py"), "--hls", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "does not compile" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
