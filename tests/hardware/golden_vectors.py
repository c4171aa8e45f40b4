# SPDX-License-Identifier: Apache-2.0
"""Writes golden vectors of the accelerator: `python tests/hardware/golden_vectors.py FOLDER`.

    FOLDER/small/      every operation on drawn shapes and tiles, and launches that are refused
    FOLDER/networks/   every convolution of the ResNets and of MobileNetV2 (CIFAR), all passes
    FOLDER/*.list      paths of all, and of those for co-simulation

The integers come from the int64 reference, the registers from the host's own driver.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import golden_cases as cases  # noqa: E402
from device_cases import Values  # noqa: E402
from e2train.device import Geometry  # noqa: E402
from e2train.device.accelerator import generated as hw  # noqa: E402
from e2train.network.models import network_spec  # noqa: E402
from golden_device import GoldenDevice, refused  # noqa: E402
from test_kernel_errors import BAD, GOOD, MEMORY  # noqa: E402

NETWORKS = ("resnet-20", "resnet-38", "resnet-74", "resnet-110", "mobilenet-v2")
NETWORK_BATCH = 2
COSIMULATED = 2  # files of each kind
LARGE = 48 << 20  # bytes of memory for a layer of a network

# Reductions that take several launches; 600 channels are too many for PSG's queues.
LONG = (
    (Geometry(600, 2, 3, 20, (3, 3), 1, 1, 1), 17),
    (Geometry(20, 2, 3, 600, (3, 3), 1, 1, 1), 17),
)
# Other shapes that drawn ones miss, such as more than one tile of weights.
SPECIAL = (
    (Geometry(160, 4, 4, 80, (1, 1), 1, 0, 1), 16),
    (Geometry(40, 5, 9, 40, (3, 3), 2, 1, 40), 18),
    (Geometry(1, 5, 5, 1, (3, 3), 1, 1, 1), 5),
    (Geometry(5, 4, 6, 17, (1, 1), 1, 0, 1), 3),
    (Geometry(1, 7, 7, 33, (1, 5), 1, 0, 1), 1),
    (Geometry(3, 10, 9, 33, (7, 7), 2, 3, 1), 3),
)
EXTREME = (Geometry(17, 5, 4, 18, (3, 3), 1, 1, 1), 17)  # at the limits of their types throughout
# beta_q, x_msb, g_msb: packed products at and just past what a lane holds, and plain ones.
PREDICTORS = (
    (3277, 4, 10),
    (0, 4, 10),
    (65536, 4, 10),
    (6554, 4, 11),
    (6554, 5, 10),
    (655, 2, 13),
    (20000, 7, 15),
    (9830, 2, 2),
)


def passes(
    geometry: Geometry,
    batch: int,
    seed: int,
    kind: type[Values] = Values,
    **device: object,
) -> Iterator[bytes]:
    """One file for each pass of a convolution, PSG with two predictors."""
    random = np.random.default_rng(seed)
    predictors = random.permutation(len(PREDICTORS))[:2]
    runs = [
        lambda dev, values: cases.convolve(dev, values, geometry, batch),
        lambda dev, values: cases.convolve_exactly(dev, values, geometry, batch),
        lambda dev, values: cases.gradient_to_input(dev, values, geometry, batch),
        lambda dev, values: cases.gradient_to_input_exactly(dev, values, geometry, batch),
        lambda dev, values: cases.gradient_to_weights(dev, values, geometry, batch),
    ]
    if (geometry, batch) not in LONG:
        runs += [
            lambda dev, values, at=at: cases.psg(dev, values, geometry, batch, PREDICTORS[at])
            for at in predictors
        ]
    for number, run in enumerate(runs):
        dev = GoldenDevice(change=cases.smaller_tiles(random), **device)
        run(dev, kind(1000 * seed + number))
        yield dev.golden()


def small(drawn: int = 24) -> Iterator[tuple[str, bytes]]:
    """Names and contents: `drawn` geometries and as many of each layer around them."""
    yield "refused", refused(_refusals(), MEMORY)
    for number, (geometry, batch) in enumerate(LONG + SPECIAL):
        for part, content in enumerate(passes(geometry, batch, number)):
            yield f"special-{number}-{part}", content
    for number, predictor in enumerate(PREDICTORS):
        dev = GoldenDevice()
        cases.psg(dev, cases.Lowest(0), *EXTREME, predictor)
        yield f"lowest-psg-{number}", dev.golden()
    for part, content in enumerate(passes(*EXTREME, 99, cases.Lowest)):
        yield f"lowest-{part}", content
    for seed in range(100, 100 + drawn):
        random = np.random.default_rng(seed)
        geometry, batch = cases.any_geometry(random), int(random.choice(cases.BATCHES))
        gap = int(random.choice((0, 64)))
        for part, content in enumerate(passes(geometry, batch, seed, gap=gap)):
            yield f"pass-{seed}-{part}", content
        for name, layer in cases.LAYERS.items():
            dev = GoldenDevice(gap=gap)
            layer(dev, Values(seed))
            yield f"{name}-{seed}", dev.golden()


def _refusals() -> Iterator[tuple[dict[str, int], int]]:
    for operation, changes, error in BAD:
        registers = {"operation": hw.OPERATIONS[operation], **GOOD[operation], **changes}
        yield registers, hw.ERRORS[error]


def network_geometries() -> list[Geometry]:
    """Every different convolution of NETWORKS, classifiers included."""
    found: dict[Geometry, None] = {}
    for name in NETWORKS:
        spec = network_spec(name, (3, 32, 32), 10)
        for unit in spec.units():
            found.setdefault(unit.geometry)
        found.setdefault(spec.classifier)
    return list(found)


def networks() -> Iterator[tuple[str, bytes]]:
    """A file for each geometry: forward, to the input, to the weights, PSG."""
    for number, geometry in enumerate(network_geometries()):
        dev, values = GoldenDevice(LARGE), Values(number)
        cases.convolve(dev, values, geometry, NETWORK_BATCH)
        cases.gradient_to_input(dev, values, geometry, NETWORK_BATCH)
        cases.gradient_to_weights(dev, values, geometry, NETWORK_BATCH)
        cases.psg(dev, values, geometry, NETWORK_BATCH, PREDICTORS[number % 2 * 3])
        yield f"layer-{number}", dev.golden()


def write(folder: Path, files: Iterator[tuple[str, bytes]]) -> list[Path]:
    """Write NAME.e2gv for each of `files`, and remove others that lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in files:
        path = folder / f"{name}.e2gv"
        path.write_bytes(content)
        written.append(path)
    for path in set(folder.glob("*.e2gv")) - set(written):
        path.unlink()
    return written


def _memory(path: Path) -> int:
    """Bytes of memory that a file's launches see."""
    with open(path, "rb") as stream:
        launches = int.from_bytes(stream.read(12)[8:], "little")
        stream.seek(launches * 4 * (hw.REGISTERS_WORDS + 2), 1)
        return int.from_bytes(stream.read(4), "little")


def for_cosimulation(paths: list[Path]) -> list[Path]:
    """A few small files of every kind: RTL runs a thousand cycles where C++ runs a million."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_size):
        if _memory(path) <= hw.COSIMULATION_BEATS * hw.BANDWIDTH_BYTES_PER_BEAT:
            name = path.stem.split("-")
            kinds.setdefault(name[0] + "".join(name[2:]), []).append(path)
    return [path for kind in kinds.values() for path in kind[:COSIMULATED]]


def _list(path: Path, files: list[Path]) -> None:
    path.write_text("".join(f"{file.resolve()}\n" for file in files), encoding="utf-8")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: golden_vectors.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    some = write(folder / "small", small())
    layers = write(folder / "networks", networks())
    _list(folder / "all.list", some + layers)
    _list(folder / "cosimulation.list", for_cosimulation(some))
    print(f"golden vectors: {len(some + layers)} files in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
