# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: every image is decoded, nothing is complained about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from report_folders import CELLS, make_run, make_runs

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
from e2train.report import write_report
from e2train.report.page import POLICY

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH"
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-domain-reliability", "--disable-extensions", "--disable-sync", "--no-pings",
    "--metrics-recording-only", "--safebrowsing-disable-auto-update", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
# What the page itself forbids: a script, here only in a copy, that reports what was rendered.
PROBE = """
<script>
addEventListener("load", () => {
  const widths = [...document.images].map((image) => image.naturalWidth);
  const page = document.documentElement;
  document.body.dataset.probe = JSON.stringify({
    widths, overflow: page.scrollWidth - page.clientWidth, sources: performance
      .getEntriesByType("resource").map((entry) => entry.name.slice(0, 60)),
  });
});
</script>
</body>"""


def browse(page: Path, scratch: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open `page` in a browser that has never run before."""
    assert BROWSER is not None
    profile = scratch / f"profile-{len(list(scratch.iterdir()))}"
    command = [BROWSER, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of the page's console."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def probe(text: str, scratch: Path, width: int = 1280) -> tuple[dict[str, object], list[str]]:
    """What the page looks like from inside, and what its console says."""
    assert POLICY in text and text.count("</body>") == 1
    copy = scratch / "probe.html"
    allowing = text.replace(POLICY, POLICY + "; script-src 'unsafe-inline'")
    copy.write_text(allowing.replace("</body>", PROBE), encoding="utf-8")
    done = browse(copy, scratch, "--dump-dom", f"--window-size={width},1000")
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr
    return json.loads(unescape(found[1])), complaints(done)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    make_runs(folder, CELLS[:5])
    make_run(folder / "e2train", CELLS[5], until=400)
    return write_report([folder]).page


@pytest.mark.parametrize("width", [500, 1280])
def test_all_images_load_and_nothing_sticks_out(report: Path, tmp_path: Path, width: int) -> None:
    seen, console = probe(report.read_text(encoding="utf-8"), tmp_path, width)
    widths = seen["widths"]
    assert isinstance(widths, list) and len(widths) == 7
    assert min(widths) >= 1000
    assert seen["overflow"] == 0
    assert console == []


def test_page_as_written_is_drawn_without_a_complaint(report: Path, tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "page.png"
    done = browse(report, tmp_path, f"--screenshot={picture}", "--window-size=1280,1400")
    assert complaints(done) == []
    with Image.open(picture) as image:
        assert image.size == (1280, 1400)
        colors = image.convert("RGB").getcolors(maxcolors=1 << 24)
        assert colors is not None and len(colors) > 100


def test_probe_sees_a_broken_image_and_an_error(report: Path, tmp_path: Path) -> None:
    """The checks above can fail: the same page, damaged, does not pass them."""
    text = report.read_text(encoding="utf-8")
    damaged = text.replace("base64,iVBOR", "base64,AAAAA").replace(
        "</main>", '</main><img src="https://example.org/x.png" alt="">'
    )
    seen, console = probe(damaged, tmp_path)
    widths = seen["widths"]
    assert isinstance(widths, list) and max(widths) == 0
    assert any("Content Security Policy" in line for line in console)
