"""Ratings by observers: a table with one line per clip and rater becomes the mean per clip, and how well they agree.

    clip_id,rater,source,low,high,valence,arousal
    ravdess/01-05-02-01-01-12,r1,annotated,1,9,3,7
    ravdess/01-05-02-01-01-12,r2,,,,2,8

`clip_id` (or `file`) names the clip. `rater` may be absent where there is one line per clip. `source` is one of
`mien.corpora.clip.LABEL_SOURCES`, stated once where it is the same for all, "annotated" where it is not stated. `low`
and `high` are the ends of the scale, stated once or in all lines; `valence_low` and `valence_high` where a dimension
has a scale of its own. Every other column is a dimension, an empty cell a rating that was not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from mien.corpora.clip import LABEL_SOURCES, Clip, Label, Rating
from mien.corpora.clip_names import name_column
from mien.corpora.csv_table import CsvTable, read_csv
from mien.errors import CorpusError, nearest

USUAL_SOURCE = "annotated"


@dataclass(frozen=True, slots=True)
class Scale:
    """Both ends of a rating scale."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RatingTable:
    """Ratings as a table states them. given: name of a clip to source to dimension to rater to value."""

    path: str
    scales: Mapping[str, Scale]
    given: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]

    @property
    def names(self) -> Iterable[str]:
        """What the table calls its clips."""
        return self.given

    def rated(self, clip: Clip, names: Sequence[str]) -> Clip:
        """The clip with the ratings under these names: in the label of their source, or in one of its own.

        Raises CorpusError where two names of the clip hold a rating of one rater, or the label is rated already.
        """
        labels = {label.source: label for label in clip.labels}
        for source, values in self._merged(clip.id, names).items():
            ratings = {dimension: self._rating(dimension, list(by.values())) for dimension, by in values.items()}
            label = labels.get(source, Label(source=source))
            if twice := label.ratings.keys() & ratings.keys():
                raise CorpusError(f"{self.path}: {clip.id} has a rating of {min(twice)} ({source}) already: attach one")
            labels[source] = replace(label, ratings={**label.ratings, **ratings})
        return replace(clip, labels=tuple(labels.values()))

    def _merged(self, clip_id: str, names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        merged: dict[str, dict[str, dict[str, float]]] = {}
        for name in names:
            for source, by_dimension in self.given[name].items():
                for dimension, by_rater in by_dimension.items():
                    place = merged.setdefault(source, {}).setdefault(dimension, {})
                    if twice := place.keys() & by_rater.keys():
                        who = f"rater {min(twice)!r} " if min(twice) else ""
                        detail = f"{who}rates {dimension} of {clip_id} under two names ({', '.join(names)})"
                        raise CorpusError(f"{self.path}: {detail}: keep one of them")
                    place.update(by_rater)
        return merged

    def _rating(self, dimension: str, values: Sequence[float]) -> Rating:
        scale = self.scales[dimension]
        return Rating(
            value=min(max(fmean(values), scale.low), scale.high),  # the mean of equal numbers may round beyond them
            low=scale.low,
            high=scale.high,
            n_raters=len(values),
            agreement=agreement(values, scale.low, scale.high),
        )


def agreement(values: Sequence[float], low: float, high: float) -> float | None:
    """a_wg of the ratings of one clip, in [-1, 1]: 1 where all are equal, -1 where they are as far apart as can be.

    1 - 2 s² / s²_max, with s² the sample variance and s²_max = ((high + low) m - m² - high low) k / (k - 1) the largest
    that k ratings with mean m can have: all of them at the ends of the scale. 0 is half of that. Brown & Hauenstein
    2005, Organizational Research Methods 8(2): 165-184, equation for one item. None for one rating.

    >>> agreement([1, 9], 1, 9), agreement([4, 4, 4], 1, 9), agreement([5], 1, 9)
    (-1.0, 1.0, None)
    """
    n = len(values)
    if n < 2:
        return None
    mean = fmean(values)
    largest = ((high + low) * mean - mean**2 - high * low) * n / (n - 1)
    if min(values) == max(values):
        return 1.0
    return max(-1.0, 1 - 2 * variance(values) / largest)


def read_ratings(path: str) -> RatingTable:
    """A table of ratings, laid out as this module says.

    Raises CorpusError, with file, line, column and remedy: no dimension, no scale or two, an unknown source, text where
    a number belongs, a rating off its scale, two ratings of one clip by one rater.
    """
    table = read_csv(path)
    column = name_column(table)
    dimensions = _dimensions(table, column)
    sources = _sources(table)
    scales = {dimension: scale_of(table, dimension) for dimension in dimensions}
    given: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    lines: dict[tuple[str, str, str, str], int] = {}
    for row in table.rows:
        name, rater = table.text(row, column), row.cells.get("rater", "")
        source = row.cells.get("source") or sources[0]
        if not row.cells.get("source") and len(sources) > 1:
            raise table.fault(row, "source", f"is empty, and the table has {' and '.join(sources)}: fill it in")
        by_dimension = given.setdefault(name, {})
        for dimension in dimensions:
            if (value := table.number(row, dimension)) is None:
                continue
            scale = scales[dimension]
            if not scale.low <= value <= scale.high:
                remedy = "correct it, or the scale"
                raise table.fault(
                    row, dimension, f"{value:g} is off its scale of {scale.low:g} to {scale.high:g}: {remedy}"
                )
            key = (name, source, dimension, rater)
            if key in lines:
                who = f"rater {rater!r} rates" if rater else "without a column rater there is one line per clip, and"
                raise table.fault(row, dimension, f"{who} {name} on line {lines[key]} as well: remove one of the lines")
            lines[key] = row.line
            by_dimension.setdefault(source, {}).setdefault(dimension, {})[rater] = value
    return RatingTable(path, scales, given)


def _dimensions(table: CsvTable, column: str) -> list[str]:
    others = {column, "rater", "source", "low", "high"}
    candidates = [name for name in table.columns if name not in others]
    ends = {f"{name}_{end}" for name in candidates for end in ("low", "high")}
    dimensions = [name for name in candidates if name not in ends]
    if not dimensions:
        raise CorpusError(f"{table.path}, line 1: no column of ratings: add one per dimension, such as valence")
    return dimensions


def scale_of(table: CsvTable, dimension: str) -> Scale:
    """The ends of a dimension's scale, by columns of its own or by low and high. Raises CorpusError where one is not
    stated, or two are."""
    ends = []
    for end in ("low", "high"):
        own = f"{dimension}_{end}"
        column = own if own in table.columns else end
        stated = {value: row for row in reversed(table.rows) if (value := table.number(row, column)) is not None}
        if not stated:
            remedy = f"add a column {end} (or {own}) and state it once"
            raise CorpusError(f"{table.path}, column {dimension}: its scale has no {end} end: {remedy}")
        if len(stated) > 1:
            *_, (value, row), (first, _) = sorted(stated.items(), key=lambda item: -item[1].line)
            raise table.fault(
                row, column, f"{value:g} after {first:g}: a scale is the same in all lines; split the table"
            )
        ends.append(next(iter(stated)))
    if not ends[0] < ends[1]:
        raise CorpusError(f"{table.path}, column {dimension}: scale from {ends[0]:g} to {ends[1]:g}: low must be less")
    return Scale(*ends)


def _sources(table: CsvTable) -> list[str]:
    """The label sources that the table states; the usual one where it states none."""
    sources: list[str] = []
    for row in table.rows:
        source = row.cells.get("source")
        if source and source not in LABEL_SOURCES:
            raise table.fault(row, "source", f"unknown label source {source!r}: {nearest(source, LABEL_SOURCES)}")
        if source and source not in sources:
            sources.append(source)
    return sources or [USUAL_SOURCE]
