"""Task: what a worker must know of a clip, and how a corpus is cut into batches of them.

Tasks of a whole corpus are one Arrow table, which Ray Data carries: as Python objects ten million of them would take
gigabytes. It has the column `clip_id`, "medium:<name>" for each medium that is read (a struct, null where the clip
lacks it), and "todo:<i>" for feature i of the job (whether it is missing).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mien.corpora.clip import Medium

_MEDIUM, _TO_DO = "medium:", "todo:"

# Clips of one part: what is lost when a process is killed, and how often progress is seen. Sound takes about 50 ms per
# clip, a face track seconds.
_LARGEST_PART, _LARGEST_HEAVY_PART = 64, 8
# More of a corpus that would have more parts than this, up to 16 times: the driver hands out each of them, and reads it
# again at the end; a killed process loses a minute or two.
_MANY_PARTS, _LARGER_AT_MOST = 10_000, 16
_SMALLEST_PART = 4  # the last parts are small, so that no worker waits long for another


class ClipTask(NamedTuple):
    """What a worker must know of a clip. media: those that it has of those that are read. todo: the numbers of the
    features that it has neither row nor reject of, in the order of the job."""

    clip_id: str
    media: Mapping[str, Medium]
    todo: tuple[int, ...]


def tasks_left(clips: pa.Table, media: Collection[str], done: Sequence[Collection[str] | None]) -> pa.Table:
    """The table of tasks of those clips that lack a feature, in the order of the clip table.

    done: ids of the clips that are done, by feature; None where all are.
    """
    columns: dict[str, Any] = {"clip_id": clips["id"]}
    for name in dict.fromkeys(media):
        columns[f"{_MEDIUM}{name}"] = pc.map_lookup(clips["media"], pa.scalar(name), "first")
    is_left: Any = pa.repeat(False, len(clips))
    for number, ids in enumerate(done):
        is_done = (
            pa.repeat(True, len(clips)) if ids is None else pc.is_in(clips["id"], pa.array(list(ids), pa.string()))
        )
        columns[f"{_TO_DO}{number}"] = pc.invert(is_done)
        is_left = pc.or_(is_left, columns[f"{_TO_DO}{number}"])
    return pa.table(columns).filter(is_left)


def tasks_from_table(table: pa.Table) -> list[ClipTask]:
    """The tasks of such a table, or of a slice of it."""
    media = [name for name in table.column_names if name.startswith(_MEDIUM)]
    todo = [name for name in table.column_names if name.startswith(_TO_DO)]
    return [
        ClipTask(
            row["clip_id"],
            {name.removeprefix(_MEDIUM): Medium(**row[name]) for name in media if row[name] is not None},
            tuple(int(name.removeprefix(_TO_DO)) for name in todo if row[name]),
        )
        for row in table.to_pylist()
    ]


def n_left(tasks: pa.Table, number: int) -> int:
    """How many clips lack this feature."""
    return pc.sum(tasks[f"{_TO_DO}{number}"]).as_py() or 0


def have_medium(clips: pa.Table, medium: str) -> pa.Array:
    """Ids of the clips that have this medium."""
    found = pc.map_lookup(clips["media"], pa.scalar(medium), "first")
    return clips["id"].filter(pc.is_valid(found)).combine_chunks()


def largest_part(is_heavy: bool, n_clips: int) -> int:
    """Clips of one part of a feature that is heavy to extract or not, when so many are to be extracted."""
    usual = _LARGEST_HEAVY_PART if is_heavy else _LARGEST_PART
    return min(_LARGER_AT_MOST * usual, max(usual, -(-n_clips // _MANY_PARTS)))


def batches(tasks: Any, workers: int, largest: int) -> Iterator[Any]:
    """Cut a table of tasks into batches that shrink towards the end, so that all workers end at about the same time."""
    start = 0
    while start < len(tasks):
        fair = -(-(len(tasks) - start) // (4 * workers))
        size = min(largest, max(fair, _SMALLEST_PART))
        yield tasks[start : start + size]
        start += size
