"""Journal: what a batch was doing, in a file that outlives the process.

A codec may take its process with it; Ray then starts another one and repeats the batch. The first attempt only notes
that it began. From the second on each clip and feature is named before it is touched, which costs a write each, so that
the one that kills process after process is known and left out. One that takes more time or memory than it may is left
out as soon as it is known (`mien.features.prepare.watch`). `FeatureFolder.reopen` removes the journals when a job
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
        self.name = f"{hash_ids(clip_ids)[:16]}.json"
        self.is_careful = folder.exists(self.name)
        self._killed: Counter[str] = Counter()
        self._beyond: dict[str, str] = {}
        if self.is_careful:
            before = folder.read_json(self.name)
            self._killed, self._beyond = Counter(before["killed"]), before["beyond"]
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
        self._folder.remove(self.name)

    def verdict(self, what: str) -> str:
        """The reason why it is not tried again; "" where it is."""
        return self._beyond.get(what) or ("worker-crashed" if self._killed[what] >= DEADLY else "")

    def _note(self, running: str) -> None:
        with writing(self._folder):
            self._folder.write_json(self.name, {"running": running, "killed": self._killed, "beyond": self._beyond})


def accuse(folder: Folder, name: str, what: str, reason: str) -> None:
    """Note in a journal that what is running goes beyond its limits; done for the process that is ended for it.

    what "": several features at once, of which the next attempt will know which it is.
    """
    if what:
        noted = folder.read_json(name)
        folder.write_json(name, noted | {"running": what, "beyond": noted["beyond"] | {what: reason}})
