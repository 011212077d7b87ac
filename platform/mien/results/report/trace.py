"""Trace: what was predicted and what was rated of one person, clip after clip, through a meeting or a row of trials.

Whose is a rule and no choice: of all stretches the one of the median CCC, so that what is shown is neither the best nor
the worst.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.experiment import MEETING
from mien.results.clips import Clips
from mien.results.metrics import METRICS, score
from mien.results.report.figures import BLUE, INK, figure_of_rows
from mien.results.report.page import digits
from mien.results.report.tested import Tested
from mien.results.scoring import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_CLIPS = 8  # of a stretch; of fewer a CCC says nothing


class Stretch(NamedTuple):
    """Clips of one person in order, N of them, as rows of a Tested. meeting: "" where they are of none. places: (N,)
    minutes from the start of the recording; of trials 1, 2, 3, ... ccc: the mean over dimensions."""

    subject: str
    meeting: str
    rows: Ints
    places: Floats
    ccc: float

    @property
    def name(self) -> str:
        """As "ami/FEE005 in ami/ES2002a"."""
        return f"{self.subject} in {self.meeting}" if self.meeting else self.subject


class Trace(NamedTuple):
    """The stretches that have a CCC, the worst first, and what was tested."""

    stretches: Sequence[Stretch]
    tested: Tested

    @property
    def shown(self) -> Stretch:
        """The median; of an even number the lower of the two in the middle."""
        return self.stretches[(len(self.stretches) - 1) // 2]


def read_trace(tested: Tested, clips: Clips | None) -> Trace | None:
    """Of a test of dimensions: each subject of each meeting, or of clips of no meeting each subject. None where none
    has eight clips and a CCC. clips: None where an older mien wrote none."""
    if clips is None or tested.target.kind != "dimensions":
        return None
    here = clips.of(tested.clip_ids)
    meetings = here.groups.get(MEETING, np.full(len(here.clip_ids), "", str))
    members: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(tested.subjects.tolist(), meetings.tolist(), strict=True)):
        members.setdefault(key, []).append(row)
    truth, prediction, _ = map(np.asarray, tested.ensemble())
    found = []
    for (subject, meeting), rows in members.items():
        if len(rows) < FEWEST_CLIPS:
            continue
        place = {row: (here.starts_s[row] if meeting else 0.0, _counted(here.clip_ids[row])) for row in rows}
        ordered = np.array(sorted(rows, key=place.__getitem__), np.int64)
        places = here.starts_s[ordered] / 60 if meeting else np.arange(1.0, len(rows) + 1)
        ccc = score(METRICS["dimensions"]["ccc"], truth[ordered], prediction[ordered])
        if not math.isnan(ccc):
            found.append(Stretch(subject, meeting, ordered, places, ccc))
    found.sort(key=lambda one: (one.ccc, one.name))
    return Trace(found, tested) if found else None


def draw_trace(trace: Trace) -> Figure:
    """A panel per dimension: rated and predicted, clip after clip."""
    stretch, names = trace.shown, trace.tested.target.names
    truth, prediction, _ = map(np.asarray, trace.tested.ensemble())
    with figure_of_rows(0.7 + 1.35 * len(names), rows=len(names)) as (figure, panels):
        for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
            for values, colour, words, dashes in ((truth, INK, "rated", "--"), (prediction, BLUE, "predicted", "-")):
                of_stretch = values[stretch.rows, k]
                axes.plot(stretch.places, of_stretch, dashes, color=colour, linewidth=1.2, label=words)
                axes.scatter(stretch.places, of_stretch, 9, color=colour, linewidths=0)
            axes.set(title=name, ylim=(-1.05, 1.05))
            axes.grid(axis="y")
            axes.margins(x=0.01)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        panels[-1].set(xlabel="Minutes into the meeting" if stretch.meeting else "Trial, in the corpus's order")
        return figure


def words_of_trace(trace: Trace) -> Mapping[str, str]:
    """caption and alt of the figure."""
    shown, worst, best = trace.shown, trace.stretches[0], trace.stretches[-1]
    truth, prediction, _ = map(np.asarray, trace.tested.ensemble())
    of_each = "; ".join(
        f"{name}: rated {_span(truth[shown.rows, k])}, predicted {_span(prediction[shown.rows, k])}, CCC "
        f"{digits(score(METRICS['dimensions']['ccc'], truth[shown.rows][:, [k]], prediction[shown.rows][:, [k]]))}"
        for k, name in enumerate(trace.tested.target.names)
    )
    kind = "person and meeting" if shown.meeting else "person"
    others = (
        f"Of {len(trace.stretches)} such stretches it is the one of the median CCC, {digits(shown.ccc)}; the worst is "
        f"{worst.name}, {digits(worst.ccc)}, the best {best.name}, {digits(best.ccc)}."
        if len(trace.stretches) > 1
        else f"It is the only one of {FEWEST_CLIPS} clips or more; its CCC is {digits(shown.ccc)}."
    )
    return {
        "caption": f"{shown.name}, {len(shown.rows)} test clips in order. {others} A {kind} counts from "
        f"{FEWEST_CLIPS} clips on.",
        "alt": f"Rated and predicted of {shown.name} through {len(shown.rows)} clips. {of_each}.",
    }


def _span(values: Floats) -> str:
    known = values[~np.isnan(values)]
    return f"from {digits(known.min())} to {digits(known.max())}" if known.size else "never"


def _counted(clip_id: str) -> tuple[str | int, ...]:
    """An id as words and numbers, so that trial 10 comes after trial 2."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(clip_id)))
