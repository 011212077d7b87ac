"""What a person sees while waiting: tables, bars, and plain lines where the output is a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from mien.corpora import Verification
    from mien.launch import Progress as TrainingProgress
    from mien.runs import Series

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)
LOG_EVERY_S = 10.0  # between two lines of progress where there is no terminal to draw a bar on


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table on stdout."""
    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*map(str, row))
    OUT.print(drawn)


@contextmanager
def bar(what: str, *, enabled: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields a function of (done, total). Lines every ten seconds where there is no terminal."""
    if not enabled:
        yield lambda done, total: None
        return
    if not ERR.is_terminal:
        last_s = time.monotonic()

        def log(done: int, total: int) -> None:
            nonlocal last_s
            if time.monotonic() - last_s > LOG_EVERY_S:
                last_s = time.monotonic()
                ERR.print(f"{what}: {done}/{total}")

        yield log
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
