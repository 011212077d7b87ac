"""What a user's data, folders and experiments are called stays text in every page: nothing in it runs or is fetched."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from factories import search_directory, series_directory
from mien.experiment import DimensionsConfig, Experiment
from mien.results.report import compare, report, report_search
from mien.results.run import Series
from mien.results.search_folder import SearchFolder

pytestmark = pytest.mark.slow

# No slash in the first: it names folders and features too. The dollars are formulas to who draws text.
NAME = """<script>alert(1)<!--"'><img src=x onerror=alert(1)>$\\bad{$ {{ 7 * 7 }}"""
TEXT = f"{NAME}</script></style></title></svg>]]><svg onload=alert(1)>"

VOID = {"meta", "link", "br", "img", "input", "hr"}
FOREIGN = {
    "script",
    "img",
    "iframe",
    "object",
    "embed",
    "form",
    "base",
    "video",
    "audio",
    "template",
}  # not in our pages


class Page(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_inert(path: str | Path, *shown: str) -> None:
    """Nothing in it runs or fetches, its elements are closed as ours are, and what was planted is shown as it is."""
    page = Page(Path(path).read_text())
    assert page.open == []
    assert not page.tags & FOREIGN
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    urls = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert all(url.startswith(("#", "data:", "../")) for url in urls), urls
    for text in shown:
        assert text in page.text, text


def spoil(series: Series) -> None:
    """Reasons, settings and fold names of a finished series, as data or a hand may have put them there."""
    data = series.folder.read_json("data.json")
    data["left_out"] = {f"left out: {TEXT}": 8}
    for spec in data["features"].values():
        spec["settings"] = {f"setting: {TEXT}": f"value: {TEXT}"}
    series.folder.write_json("data.json", data)
    for run in series.runs():
        folder = run.folder
        folder.write_json("environment.json", folder.read_json("environment.json") | {"machine": f"machine: {TEXT}"})
        folder.write_json("split.json", folder.read_json("split.json") | {"name": f"fold: {TEXT}"})
        folder.write_json("metrics.json", folder.read_json("metrics.json") | {"stopped": f"stopped: {TEXT}"})
        run.finish()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is called so, too."""
    return tmp_path_factory.mktemp("pages") / NAME


@pytest.fixture(scope="module")
def series(place: Path) -> list[Series]:
    """Two series, of classes and of dimensions, with such names wherever there may be one."""
    asked = Experiment(name="trial", question=f"question: {TEXT}")
    data: dict[str, Any] = {"corpora": (f"corpus: {NAME}",), "features": (f"feature: {NAME}",)}
    target = DimensionsConfig(names=(f"dimension: {TEXT}", "arousal"), source=f"source: {TEXT}")
    small = {"n_subjects": 4, "folds": 2, "epochs": 2, "clips_per_class": 1}
    made = [
        series_directory(place, name="one", experiment=asked, baseline_skill=1.0, **small, **data),
        series_directory(place, name="two", experiment=asked, target=target, **small, **data),
    ]
    for one in made:
        spoil(one)
        report(one)
    return made


def test_reports_are_inert(series: list[Series]) -> None:
    for one in series:
        path = one.folder.path("report.html")
        planted = ("question", "left out", "setting", "value", "machine", "stopped")
        assert_inert(path, *(f"{what}: {TEXT}" for what in planted), f"corpus: {NAME}", f"feature: {NAME}")
    assert_inert(path, f"dimension: {TEXT}", f"source: {TEXT}")


def test_pages_of_runs_are_inert(series: list[Series]) -> None:
    for one in series:
        path = one.run(0, 0).folder.path("report.html")
        assert_inert(path, f"fold: {TEXT}", f"corpus: {NAME}/01")


def test_comparisons_are_inert(series: list[Series], place: Path) -> None:
    compare(series, place / "out")
    assert_inert(place / "out" / "compare.html", f"source: {TEXT}", series[0].folder.uri)


def test_searches_are_inert(place: Path) -> None:
    search: SearchFolder = search_directory(
        place, folds=2, n_subjects=4, n_trials=15, epochs=3, seeds=(0,), clips_per_class=1, questions={}
    )
    folder = search.folder
    written = folder.read_json("search.json")
    written["experiment"]["question"] = f"question: {TEXT}"
    folder.write_json("search.json", written)
    data = folder.read_json("data.json")
    folder.write_json("data.json", data | {"folds": {"0": f"fold: {TEXT}", "1": "fold 1"}})
    for trial in search.trials(0):
        if trial.state == "failed":
            search.write_trial(replace(trial, reason=f"reason: {TEXT}"))
    report_search(SearchFolder.open(folder.uri), n_refits=2)
    assert_inert(folder.path("report.html"), f"question: {TEXT}", f"fold: {TEXT}", f"reason: {TEXT}")
