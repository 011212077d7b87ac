"""The terminal: tables and JSON on stdout, bars on stderr, and lines where the output is a log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)
BAR_WIDTH = 12  # so that a line with all that is said beside the bar fits 80 columns
LOG_EVERY_S = 10.0  # between two lines of progress where there is no terminal to draw a bar on


def print_json(value: Any) -> None:
    """A value as JSON on stdout."""
    print(json.dumps(value, indent=2, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table on stdout."""
    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*map(str, row))
    OUT.print(drawn)


class Bars:
    """Bars on stderr, one per name; where there is no terminal a line at once, every ten seconds and at the end."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._is_drawn = enabled and ERR.is_terminal
        self._is_logged = enabled and not ERR.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(BAR_WIDTH), MofNCompleteColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[rest]}"), console=ERR, disable=not self._is_drawn)
        self._tasks: dict[str, Any] = {}
        self._logged_s: dict[str, float] = {}
        self._logged: dict[str, str] = {}  # the last line of each

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, name: str, n_done: int, n_all: int, rest: str = "") -> None:
        """How far one thing is. rest: what is counted, and what else there is to say of it."""
        if self._is_drawn:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=n_all, rest="")
            self._progress.update(self._tasks[name], completed=n_done, total=n_all, rest=rest)
        now_s = time.monotonic()
        is_due = n_done == n_all or now_s - self._logged_s.get(name, -LOG_EVERY_S) >= LOG_EVERY_S
        text = f"{name}: {n_done}/{n_all} {rest}".rstrip()
        if self._is_logged and is_due and text != self._logged.get(name):
            self._logged_s[name], self._logged[name] = now_s, text
            self.line(text)

    def remove(self, name: str) -> None:
        """Takes a bar away: of one thing among many that is done."""
        if (task := self._tasks.pop(name, None)) is not None:
            self._progress.remove_task(task)

    def line(self, text: str) -> None:
        """A line above the bars."""
        ERR.print(text, soft_wrap=True, markup=False)


def left(seconds: float) -> str:
    """A time that is left.

    >>> left(100_000.4)
    '1 day, 3:46:40 left'
    """
    return f"{timedelta(seconds=round(seconds))} left"


@contextmanager
def bar(what: str, *, enabled: bool = True) -> Iterator[Callable[[int, int], None]]:
    """One bar on stderr; yields a function of (done, total)."""
    start_s = time.monotonic()

    def rest(n_done: int, n_all: int) -> str:
        return left((time.monotonic() - start_s) / n_done * (n_all - n_done)) if n_done else ""

    with Bars(enabled=enabled) as bars:
        yield lambda n_done, n_all: bars.update(what, n_done, n_all, rest(n_done, n_all))
