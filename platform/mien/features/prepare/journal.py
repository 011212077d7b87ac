"""Journal: what a batch was doing, in a file that outlives the process.

A codec may take its process with it; Ray then starts another one and repeats the batch. The first attempt only notes
that it began. From the second on each clip and feature is named before it is touched, which costs a write each, so that
the one that kills process after process is known and left out. `FeatureFolder.reopen` removes the journals when a job
starts: a job that was killed from outside accuses no clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mien.errors import MienError
from mien.features.store.manifest import hash_ids, writing
from mien.folder import Folder

DEADLY = 2  # processes that one clip may kill before it is left out


class Journal:
    """The journal of one batch, given by its clip ids. folder: where it and those of other batches lie."""

    def __init__(self, folder: Folder, clip_ids: Iterable[str]) -> None:
        self._folder = folder
        self._name = f"{hash_ids(clip_ids)[:16]}.json"
        self.is_careful = folder.exists(self._name)
        self._killed: Counter[str] = Counter()
        if self.is_careful:
            before = folder.read_json(self._name)
            self._killed = Counter(before["killed"])
            self._killed[before["running"]] += 1
            if self._killed[""] > DEADLY:
                raise MienError(
                    f"{folder}: processes of a worker were killed {self._killed['']} times between clips; most likely "
                    "memory ran out: use fewer workers"
                )
        self._note("")

    def begin(self, what: str) -> None:
        """Name what is about to be tried, "" for nothing that can be blamed."""
        if self.is_careful:
            self._note(what)

    def end(self) -> None:
        """The batch is written."""
        self._folder.remove(self._name)

    def is_deadly(self, what: str) -> bool:
        """Whether it has killed too many processes to be tried again."""
        return self._killed[what] >= DEADLY

    def _note(self, running: str) -> None:
        with writing(self._folder):
            self._folder.write_json(self._name, {"running": running, "killed": self._killed})
