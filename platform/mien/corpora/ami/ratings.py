"""Ratings of AMI by stretches of time: the user's own table, as AMI publishes no valence or arousal.

    meeting,participant,start_s,end_s,valence,arousal,annotator,low,high
    ES2002a,MEE006,77.4,81.0,4,6,r1,1,9
    ES2002a,MEE006,77.4,81.0,5,6,r2,,

or, where a rating is continuous in time, `time_s` in place of `start_s` and `end_s`. Times are on the meeting's clock.
`annotator` may be absent where there is one. The scale is stated as in `mien.corpora.ratings`: `low` and `high`, or
`valence_low` and `valence_high`, once or in all lines.

A line counts for a clip of the same person where the two overlap by half of the shorter one or more; of several lines
of one annotator the mean is taken, weighed by the time that they share with the clip. Of a continuous rating it is the
mean of what lies within the clip. The rating is then the mean over annotators, with their agreement.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from mien.corpora.ami.seats import Meeting
from mien.corpora.clip import Label, Rating, Reject
from mien.corpora.csv_table import CsvRow, CsvTable, read_csv
from mien.corpora.ratings import USUAL_SOURCE, Scale, agreement, scale_of
from mien.errors import CorpusError, nearest

DIMENSIONS = ("valence", "arousal")
LEAST_SHARE = 0.5  # of the shorter of a rated stretch and a clip
_SEGMENT, _TRACE = ("start_s", "end_s"), ("time_s",)
_SCALES = ("low", "high", *(f"{name}_{end}" for name in DIMENSIONS for end in ("low", "high")))

Person = tuple[str, str]  # meeting, participant


@dataclass(slots=True)
class _Rated:
    """What one annotator said of one dimension of one person in one meeting, in the order of time.

    end_s: equal to start_s in a continuous rating.
    """

    start_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    longest_s: float = 0.0

    def sort(self) -> None:
        rows = sorted(zip(self.start_s, self.end_s, self.value, self.line))
        self.start_s, self.end_s, self.value, self.line = (list(column) for column in zip(*rows))
        self.longest_s = max(end_s - start_s for start_s, end_s in zip(self.start_s, self.end_s))

    def mean(self, start_s: float, end_s: float, used: set[int]) -> float | None:
        """The value for a clip, None where nothing counts for it. used: gets the lines that do."""
        low = bisect_left(self.start_s, start_s - self.longest_s)
        high = bisect_left(self.start_s, end_s)
        weights, values = [], []
        for number in range(low, high):
            weight = self._weight(number, start_s, end_s)
            if weight:
                weights.append(weight)
                values.append(self.value[number])
                used.add(self.line[number])
        # By rounding, the mean of equal numbers may be another one.
        return min(max(fmean(values, weights), min(values)), max(values)) if values else None

    def _weight(self, number: int, start_s: float, end_s: float) -> float:
        from_s, to_s = self.start_s[number], self.end_s[number]
        if from_s == to_s:
            return float(start_s <= from_s)  # a moment; that it lies before the end is known
        shared_s = min(end_s, to_s) - max(start_s, from_s)
        return shared_s if shared_s >= LEAST_SHARE * min(end_s - start_s, to_s - from_s) else 0.0


@dataclass(slots=True)
class StretchRatings:
    """A table of ratings. given: person to dimension to annotator to what was said; used: lines that counted."""

    path: str
    is_continuous: bool
    scales: dict[str, Scale]
    given: dict[Person, dict[str, dict[str, _Rated]]]
    people: dict[Person, list[int]]
    used: set[int] = field(default_factory=set)

    def label(self, meeting: str, participant: str, start_s: float, end_s: float) -> Label | None:
        """The ratings of a clip, None where there are none."""
        ratings = {}
        for dimension, by_annotator in self.given.get((meeting, participant), {}).items():
            means = (rated.mean(start_s, end_s, self.used) for rated in by_annotator.values())
            if values := [value for value in means if value is not None]:
                scale = self.scales[dimension]
                ratings[dimension] = Rating(
                    value=min(max(fmean(values), scale.low), scale.high),  # a mean of equal numbers may round past them
                    low=scale.low,
                    high=scale.high,
                    n_raters=len(values),
                    agreement=agreement(values, scale.low, scale.high),
                    trace=f"{self.path}#{meeting}/{participant}" if self.is_continuous else None,
                )
        return Label(source=USUAL_SOURCE, ratings=ratings) if ratings else None

    def rejects(self, meetings: Mapping[str, Meeting]) -> Iterator[Reject]:
        """One for each reason why lines counted for no clip, with their number and the first of them.

        To be asked when all clips were. Raises CorpusError where no line counted.
        """
        reasons: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for (meeting, participant), lines in self.people.items():
            unused = [line for line in lines if line not in self.used]
            reason = "unmatched-rating"
            if meeting not in meetings:
                reason = "unknown-meeting"
            elif participant not in {seat.participant for seat in meetings[meeting].seats.values()}:
                reason = "unknown-participant"
            reasons[reason] += [(line, f"{participant} in {meeting}") for line in unused]
        why = {
            "unknown-meeting": "name meetings that meetings.xml does not",
            "unknown-participant": "name people who, by meetings.xml, were not in that meeting",
            "unmatched-rating": "overlap no clip by half of the shorter one",
        }
        found = {reason: sorted(rows) for reason, rows in reasons.items() if rows}
        if not self.used:
            reason, rows = next(iter(found.items()))
            raise CorpusError(
                f"{self.path}, line {rows[0][0]}: none of its lines counts for a clip; {len(rows)} {why[reason]}, the "
                f"first is of {rows[0][1]}: name meetings such as ES2002a and people such as MEE006, and seconds of "
                "the meeting"
            )
        for reason, rows in sorted(found.items()):
            line, who = rows[0]
            detail = f"{self.path}, line {line}: {len(rows)} lines {why[reason]}, the first is of {who}"
            yield Reject(id=self.path, path=self.path, stage="import", reason=reason, detail=detail)


def read_stretch_ratings(path: str) -> StretchRatings:
    """A table of ratings, laid out as this module says.

    Raises CorpusError, with file, line, column and remedy: a column that is missing or not known, a scale that is not
    stated, a time or rating that is no number or out of range, two ratings of one stretch by one annotator.
    """
    table = read_csv(path)
    is_continuous = _is_continuous(table)
    dimensions = [name for name in DIMENSIONS if name in table.columns]
    scales = {name: scale_of(table, name) for name in dimensions}
    found = StretchRatings(path, is_continuous, scales, {}, {})
    seen: dict[tuple[str, str, str, str, float, float], int] = {}
    for row in table.rows:
        person = table.text(row, "meeting"), table.text(row, "participant")
        start_s, end_s = _stretch(table, row, is_continuous)
        annotator = row.cells.get("annotator", "")
        found.people.setdefault(person, []).append(row.line)
        for name in dimensions:
            if (value := table.number(row, name)) is None:
                continue
            scale = scales[name]
            if not scale.low <= value <= scale.high:
                off = f"{value:g} is off its scale of {scale.low:g} to {scale.high:g}: correct it, or the scale"
                raise table.fault(row, name, off)
            key = (*person, name, annotator, start_s, end_s)
            if key in seen:
                who = f"annotator {annotator!r}" if annotator else "one annotator, as there is no column annotator,"
                raise table.fault(
                    row, name, f"{who} rates the same stretch on line {seen[key]} as well: remove one of the lines"
                )
            seen[key] = row.line
            rated = found.given.setdefault(person, {}).setdefault(name, {}).setdefault(annotator, _Rated())
            for column, number in ((rated.start_s, start_s), (rated.end_s, end_s), (rated.value, value)):
                column.append(number)
            rated.line.append(row.line)
    for by_dimension in found.given.values():
        for by_annotator in by_dimension.values():
            for rated in by_annotator.values():
                rated.sort()
    return found


def _is_continuous(table: CsvTable) -> bool:
    """Whether its lines are moments. Raises CorpusError where its columns are not those of such a table."""

    def fault(what: str) -> CorpusError:
        return CorpusError(f"{table.path}, line 1: {what}")

    has = set(table.columns)
    if has.isdisjoint(_TRACE) == has.isdisjoint(_SEGMENT):
        raise fault("its lines need start_s and end_s, or time_s where ratings are continuous in time: add the columns")
    times = _SEGMENT if has.isdisjoint(_TRACE) else _TRACE
    known = ("meeting", "participant", *times, *DIMENSIONS, "annotator", *_SCALES)
    for name in table.columns:
        if name not in known:
            raise fault(f"unknown column {name!r}: {nearest(name, known)}, or remove it")
    if missing := [name for name in ("meeting", "participant", *times) if name not in has]:
        raise fault(f"no column {' and '.join(missing)}: add it")
    if has.isdisjoint(DIMENSIONS):
        raise fault(f"no column of ratings: add {' or '.join(DIMENSIONS)}")
    return times == _TRACE


def _stretch(table: CsvTable, row: CsvRow, is_continuous: bool) -> tuple[float, float]:
    times = []
    for column in _TRACE if is_continuous else _SEGMENT:
        table.text(row, column)
        at_s = table.number(row, column)
        if at_s is None or at_s < 0:
            raise table.fault(row, column, f"{at_s:g} s is before the meeting: correct it")
        times.append(at_s)
    if not is_continuous and not times[0] < times[1]:
        raise table.fault(row, "end_s", f"{times[1]:g} s is not after start_s, {times[0]:g} s: correct one of them")
    return times[0], times[-1]
