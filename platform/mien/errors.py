"""What can go wrong by a user's hand: each message names the offender and the remedy; the CLI exits 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class MienError(Exception):
    """A mistake that the user can mend. The message is one or two plain sentences."""


class CorpusError(MienError):
    """A corpus root that is not one: missing, empty, unreadable."""


class MediaError(MienError):
    """A medium that cannot be decoded. `reason` is the short stable code of the reject that it becomes."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StoreError(MienError):
    """A feature store that lacks what was asked, or that another version wrote."""


class FolderError(MienError):
    """A place that is no folder, or that cannot be made one."""


class DamagedError(MienError):
    """A file that is not what was written: cut, empty, overwritten."""


class BucketError(MienError):
    """An S3 bucket that is not there, does not answer, or does not let this user in."""


class LeakError(MienError):
    """A split that would put one subject, group or recording on two sides, or a parent with another split."""


class ExperimentError(MienError):
    """An experiment whose parts do not fit each other or the store."""


class TrainingError(MienError):
    """A run that would stop at the same place again. where: the run. reason: one clause. remedy: what to try."""

    def __init__(self, where: str, reason: str, remedy: str) -> None:
        super().__init__(where, reason, remedy)  # all of them, so that it can be pickled
        self.reason = reason

    def __str__(self) -> str:
        where, reason, remedy = self.args
        return f"{where}: {reason}; {remedy}"


class DivergedError(TrainingError):
    """A loss, or its gradient, that is not finite. All workers of a run raise it at the same batch."""


class MemoryShortError(TrainingError):
    """A run that asked for more memory than there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that `verify` noticed in a corpus, a store or runs.

    severity: "error" (it is not what was published or written), "warning" (worth knowing) or "info".
    """

    severity: str
    what: str
    path: str
    detail: str


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is none of those known: the ones that are like it, or all of them.

    >>> nearest("egemap", ["egemaps", "facenet"])
    'the nearest is egemaps'
    >>> nearest("x", ["egemaps", "facenet"])
    'choose from egemaps, facenet'
    """
    names = list(known)
    like = difflib.get_close_matches(name, names)
    if not like:
        return f"choose from {', '.join(names)}"
    return f"the nearest {'is' if len(like) == 1 else 'are'} {', '.join(like)}"


def above_0(argument: str, *values: float) -> None:
    """Raises MienError, which names the argument, where there is no value or one is not above 0."""
    if not values:
        raise MienError(f"{argument}: give at least one number")
    for value in values:
        if not value > 0:
            raise MienError(f"{argument} {value:g}: give more than 0")
