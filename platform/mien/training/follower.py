"""Follower: the epochs of a run that is trained in other processes, as they land in its history."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any

from mien.connection import SAY_EVERY_S
from mien.results.run import Run

FOLLOW_S = 1.0  # between two looks at the history of a run that is trained elsewhere

OnEpoch = Callable[[Run, Mapping[str, Any]], None]


class Follower:
    """Passes on each epoch of a run once. What workers print stays in Ray's logs; the history is in the storage that
    driver and workers share. As a context it follows by a thread.

    on_wait: called every ten seconds until the first epoch, with what `waits_for` answers.
    """

    def __init__(
        self,
        run: Run,
        on_epoch: OnEpoch,
        on_wait: Callable[[str], None] = lambda text: None,
        waits_for: Callable[[], str] = str,
    ) -> None:
        self.run = run
        self._on_epoch, self._on_wait, self._waits_for = on_epoch, on_wait, waits_for
        self._n_seen = len(run.history())  # those of an earlier attempt were passed on then
        self._has_begun = False
        self._said_s = time.monotonic()
        self._left = Event()

    def look(self) -> None:
        """Passes on what is new."""
        history = self.run.history()
        for record in history[self._n_seen :]:
            self._on_epoch(self.run, record)
            self._has_begun = True
        self._n_seen = max(self._n_seen, len(history))
        if not self._has_begun and time.monotonic() - self._said_s >= SAY_EVERY_S:
            self._said_s = time.monotonic()
            self._on_wait(self._waits_for())

    def __enter__(self) -> None:
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._left.wait(FOLLOW_S):
            self.look()
        self.look()
