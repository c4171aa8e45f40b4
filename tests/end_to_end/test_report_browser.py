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
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from campaign_results import finish
from report_folders import CELLS, make_run, make_runs

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
from e2train.campaign.plan import load_campaign
from e2train.campaign.report import write_report as write_campaign_report
from e2train.campaign.store import Store
from e2train.report import write_report
from e2train.report.html import POLICY

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH"
)
CAMPAIGNS = Path(__file__).resolve().parents[2] / "experiments" / "campaigns"
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
    tables: [...document.querySelectorAll(".wide")].map((box) => {
      const edge = box.getBoundingClientRect(), first = box.querySelector("tbody th");
      const hidden = box.scrollWidth - box.clientWidth;
      const bar = box.offsetHeight - box.clientHeight - 2;  // less the borders
      box.scrollLeft = hidden;
      const last = box.querySelector("thead th:last-child").getBoundingClientRect();
      return {
        hidden, bar, sticks_out: Math.max(0, edge.right - page.clientWidth),
        first_moved: first.getBoundingClientRect().left - edge.left,
        last_in_sight: last.right <= edge.right + 1,
      };
    }),
  });
});
</script>
</body>"""


def browse(
    page: Path, scratch: Path, *options: str, without: str = ""
) -> subprocess.CompletedProcess[str]:
    """Open `page` in a browser that has never run before."""
    assert BROWSER is not None
    profile = scratch / f"profile-{len(list(scratch.iterdir()))}"
    quiet = [option for option in QUIET if option != without]
    command = [BROWSER, *quiet, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of the page's console."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def probe(
    text: str, scratch: Path, width: int = 1280, without: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """What the page looks like from inside, and what its console says.

    `without` is an option of the browser that is left out this time.
    """
    assert POLICY in text and text.count("</body>") == 1
    copy = scratch / "probe.html"
    allowing = text.replace(POLICY, POLICY + "; script-src 'unsafe-inline'")
    copy.write_text(allowing.replace("</body>", PROBE), encoding="utf-8")
    done = browse(copy, scratch, "--dump-dom", f"--window-size={width},1000", without=without)
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


@pytest.fixture(scope="module")
def campaign_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the campaign that repeats table 2, with made-up numbers of a usual length."""
    folder = tmp_path_factory.mktemp("campaign")
    campaign = load_campaign(CAMPAIGNS / "table2.toml")
    store = Store.create(folder)
    store.enter(campaign, "simulated")
    cost = {"sgd-fp32": 10_000.0, "fixed8": 3000.0, "signsgd": 9900.0, "psg": 3500.0}
    for place, cell in enumerate(campaign.cells):
        joules = cost[cell.method] * (1 + 0.01 * (place % 3))
        finish(store, cell.id, joules, "simulated", 90.0 + 0.1 * (place % 4))
    return write_campaign_report(store, folder).page.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1024, 1280])
def test_tables_of_a_campaign_fit_or_scroll_in_their_box(
    campaign_page: str, tmp_path: Path, width: int
) -> None:
    """Nothing is cut off: the first table fits; the wide one has a bar, and its names stay put."""
    seen, console = probe(campaign_page, tmp_path, width, without="--hide-scrollbars")
    assert seen["overflow"] == 0 and console == []
    results, details = seen["tables"]
    assert results["hidden"] == 0
    assert details["hidden"] > 0 and details["bar"] >= 8
    for table in (results, details):
        assert table["sticks_out"] == 0 and table["last_in_sight"]
        assert 0 <= table["first_moved"] <= 1


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
