"""Ctrl-C during a search, which Ray must not swallow."""

from __future__ import annotations

import signal
import threading


class CtrlC:
    """Ctrl-C that cannot get lost, while entered: Ray drops the KeyboardInterrupt that reaches it in some of its calls.

    `again` raises it once more, as leaving does. Without effect outside the main thread, where no signal comes.
    """

    _came = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
        if kind is None:
            self.again()

    def _take(self, *_: object) -> None:
        self._came = True
        raise KeyboardInterrupt

    def again(self) -> None:
        if self._came:
            raise KeyboardInterrupt
