"""Progress of a preparation, and how a person sees it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

LOG_EVERY_S = 10.0  # between two lines where there is no terminal


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far one feature is. n_done: with the clips that were done before. left_s: None before the first clip."""

    feature: str
    n_done: int
    n_clips: int
    n_rejects: int
    clips_per_s: float
    left_s: float | None


Report = Callable[[Progress], None]


@contextmanager
def drawn() -> Iterator[Report]:
    """Progress for a person: a bar in a terminal, a line every ten seconds elsewhere; on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        last: dict[str, float] = {}

        def log(progress: Progress) -> None:
            is_end = progress.n_done == progress.n_clips
            if is_end or time.monotonic() - last.get(progress.feature, -LOG_EVERY_S) >= LOG_EVERY_S:
                last[progress.feature] = time.monotonic()
                line = f"{progress.feature}: {progress.n_done}/{progress.n_clips} clips, {_rest(progress)}"
                print(line, file=sys.stderr, flush=True)

        yield log
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rest]}"),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def draw(progress: Progress) -> None:
            if progress.feature not in tasks:
                tasks[progress.feature] = bars.add_task(progress.feature, total=progress.n_clips, rest="")
            bars.update(tasks[progress.feature], completed=progress.n_done, rest=_rest(progress))

        yield draw


def _rest(progress: Progress) -> str:
    """
    >>> _rest(Progress(feature="f", n_done=1, n_clips=9, n_rejects=0, clips_per_s=0.5, left_s=100_000.4))
    '0 rejects, 0.5 clips/s, 1 day, 3:46:40 left'
    """
    if progress.left_s is None:
        return "starting workers"
    left = timedelta(seconds=round(progress.left_s))
    return f"{progress.n_rejects} rejects, {progress.clips_per_s:.1f} clips/s, {left} left"
