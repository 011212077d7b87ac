"""Pages in a real browser, and reports where ray and the frameworks are missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from factories import search_directory, series_directory
from mien.experiment import DimensionsConfig
from mien.results.report import compare, report, report_search

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE_PX, DESKTOP_PX = 390, 1280
SMALLEST_TEXT_PX = 8  # height of a line of the smallest figures' text, on a phone

# A page frames the report as wide as a phone, measures it from outside (its own policy allows no script), and
# leaves what it found in its own text.
FRAME = """<!doctype html><iframe src="{url}" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="found"></pre><script>
document.querySelector("iframe").onload = (event) => {{
  const view = event.target.contentWindow, page = view.document;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const svg_text = [...page.querySelectorAll("svg text")].map((t) => t.getBoundingClientRect());
  document.getElementById("found").textContent = JSON.stringify({{
    overflow_px: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    fetched: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    smallest_text_px: Math.min(...svg_text.map((box) => box.height)),
    paper: view.getComputedStyle(page.body).backgroundColor,
    ink: view.getComputedStyle(page.body).color,
    n_figures: page.querySelectorAll("figure svg").length,
    effects: [...page.querySelectorAll(".beside, .stacked")].map((cell) => cell.getClientRects().length),
    scrolled_px: [...page.querySelectorAll(".scroll:has(.beside)")].map((box) => box.scrollWidth - box.clientWidth),
  }});
}};
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A report with every part, of a run, of a comparison, and of a search."""
    storage = tmp_path_factory.mktemp("runs")
    series = series_directory(
        storage,
        name="a-name-of-some-length",
        n_subjects=6,
        folds=2,
        seeds=(0, 1),
        baseline_skill=2.0,
        synthetic=True,
        random_weights=True,
        normalise="speaker",
    )
    other = series_directory(storage, name="other", n_subjects=6, folds=2, protocol="random-leaky")
    target = DimensionsConfig(names=("valence", "arousal", "dominance"))
    rated = series_directory(storage, name="rated", n_subjects=6, folds=2, baseline_skill=0.5, target=target)
    for one in (series, rated):
        for run in one.runs():
            if (run.seed, run.fold) != (0, 0):
                run.folder.write_text("report.html", "")  # one run's page will do
        report(one)
    compare([series, other], storage / "out")
    search = search_directory(storage, folds=2, n_trials=10, questions={"augment.kind": "none | audio | sync"})
    report_search(search, n_refits=2)
    return {
        "report": Path(series.folder.path("report.html")),
        "dimensions": Path(rated.folder.path("report.html")),
        "run": Path(series.run(0, 0).folder.path("report.html")),
        "compare": storage / "out" / "compare.html",
        "search": Path(search.folder.path("report.html")),
    }


def browse(page: Path, width_px: int, folder: Path, *, dark: bool = False) -> dict:
    """What a browser of that width makes of a page."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(url=page.as_uri(), width=width_px))
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--window-size=1400,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(found[1])


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium to look at the pages with")
@pytest.mark.parametrize("name", ["report", "dimensions", "run", "compare", "search"])
def test_pages_fit_a_phone_and_fetch_nothing(pages, tmp_path, name):
    on_phone = browse(pages[name], PHONE_PX, tmp_path)
    assert on_phone["overflow_px"] == 0
    assert on_phone["fetched"] == []
    assert on_phone["n_figures"] > 0
    assert on_phone["smallest_text_px"] >= SMALLEST_TEXT_PX
    if name == "report":
        assert browse(pages[name], DESKTOP_PX, tmp_path)["overflow_px"] == 0
    if name == "search":  # effect sizes: below p on a phone, else in a column of their own
        on_desktop = browse(pages[name], DESKTOP_PX, tmp_path)
        assert not any(on_phone["scrolled_px"] + on_desktop["scrolled_px"])
        assert on_phone["effects"] == [0, 1, 0, 1, 0, 1, 0]
        assert on_desktop["effects"] == [1, 0, 1, 0, 1, 0, 1]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium to look at the pages with")
def test_pages_turn_dark_with_the_reader(pages, tmp_path):
    light, dark = (browse(pages["report"], PHONE_PX, tmp_path, dark=dark) for dark in (False, True))
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["paper"]) < 40 < 200 < brightness(dark["ink"])


def brightness(rgb: str) -> float:
    """Mean of the channels of "rgb(r, g, b)", 0 to 255."""
    channels = [int(channel) for channel in re.findall(r"\d+", rgb)[:3]]
    return sum(channels) / 3


# ------------------------------------------------------------------ without ray and the frameworks

BLOCKED = ("ray", "torch", "tensorflow", "keras", "sklearn", "scipy", "pandas")
WITHOUT = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Blocked())
for name in {BLOCKED!r}:
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " could be imported: the test blocks nothing")

from mien.results.report import compare, report, summary_rows
from mien.results.run import Series
found = [Series.open(uri) for uri in sys.argv[1:3]]
for series in found:
    report(series)
    print(summary_rows(series)[1][1])
compare(found, sys.argv[3])
"""


def test_results_are_readable_without_ray_and_the_frameworks(tmp_path):
    series = [series_directory(tmp_path, name=name, n_subjects=4, folds=2, epochs=2) for name in ("one", "two")]
    uris = [one.folder.uri for one in series]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *uris, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]\n){2}", done.stdout)
    assert (tmp_path / "out" / "compare.html").is_file()
    assert (Path(uris[1]) / "report.html").is_file()
