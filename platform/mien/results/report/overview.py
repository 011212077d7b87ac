"""Overview: one page of all that a storage holds, or that it holds of one experiment, with a link to each report."""

from __future__ import annotations

from urllib.parse import quote

import mien
from mien.errors import MienError
from mien.folder import Folder, absolute
from mien.results.json_values import Json
from mien.results.metrics import metric_named
from mien.results.pull import held
from mien.results.report.page import render
from mien.results.report.search import report_search
from mien.results.report.series import report
from mien.results.run import Series
from mien.results.search_folder import SearchFolder

PAGE = "overview.html"


def is_above(place: Folder) -> bool:
    """Whether a folder holds several series, and is none itself: a storage, or an experiment's folder in it."""
    if place.exists("experiment.json") or place.exists("search.json"):
        return False
    return sum((place / name).exists("experiment.json") for name in place.folders()) > 1 or any(held(place))


def overview(place: Folder) -> str:
    """Write overview.html; returns its path. What was not reported yet is reported first; what has no finished run or
    trial is listed as it stands.

    place: a storage, or an experiment's folder in it. Raises MienError where there is neither.
    """
    storage, prefix = place, ""
    records = list(held(place))
    if not records:
        storage, prefix = Folder(absolute(place.uri).rsplit("/", 1)[0]), f"{place.name}/"
        records = [one for one in held(storage) if one["experiment"] == place.name]
    if not records:
        raise MienError(
            f"{place}: no runs here; give what `mien train` or `mien search` printed, or a storage of theirs"
        )
    rows = [_row(record, storage, prefix) for record in records]
    place.write_text(PAGE, render(PAGE, {"place": place.name, "rows": rows, "mien_version": mien.__version__}, {}))
    return place.path(PAGE)


def _row(record: Json, storage: Folder, prefix: str) -> Json:
    record = {"score": None, "baseline": None, "date": "", "apart": "", **record}  # a search has fewer
    name = "/".join(filter(None, (record["experiment"], record["signature"])))
    folder = storage / name
    if not folder.exists("report.html"):
        try:
            if record["kind"] == "search":
                report_search(SearchFolder.open(folder.uri))
            else:
                report(Series.open(folder.uri))
                record = next(one for one in held(storage) if (one["experiment"], one["signature"]) == _key(record))
        except MienError:  # nothing is finished yet, or something is damaged: `mien report` of it says what
            return {**record, "name": name, "href": "", "label": ""}
    scored = record.get("score_name")
    href = quote(f"{name}/report.html".removeprefix(prefix))
    return {**record, "name": name, "href": href, "label": metric_named(scored).label if scored else ""}


def _key(record: Json) -> tuple[str, str]:
    return record["experiment"], record["signature"]
