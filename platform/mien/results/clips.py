"""clips.parquet of a Series: what the corpora tell of its clips besides their labels. Its columns are known here alone.

    clip_id, subject, corpus            string
    start_s                             float: where the clip begins in its recording, in seconds; 0 where it is one
    sex, age, intensity, statement      string: the corpus's own words, null where it does not tell
    group_<name>                        string: the meeting, the stimulus, ... that it is of, null where it is of none

data.json holds its SHA-256, so that no number comes from a file that is not what was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mien.folder import Folder, damaged, sha256, table_of, to_parquet, undamaged
from mien.results.predictions import Texts
from mien.results.run import Series
from mien.results.scoring import Floats

CLIPS = "clips.parquet"
ATTRIBUTES = ("sex", "age", "intensity", "statement")
_GROUP = "group_"


class Clips(NamedTuple):
    """N clips. starts_s: (N,) seconds. attributes: each of `ATTRIBUTES` to N words, "" where it is not told. groups:
    name to the group of each clip, "" where it is in none."""

    clip_ids: Texts
    subjects: Texts
    corpora: Texts
    starts_s: Floats
    attributes: Mapping[str, Texts]
    groups: Mapping[str, Texts]

    def of(self, clip_ids: Sequence[str] | Texts) -> Clips:
        """The same of these clips only, in their order. Raises KeyError for one that is not here."""
        row_of = {clip_id: row for row, clip_id in enumerate(self.clip_ids.tolist())}
        rows = np.array([row_of[str(clip_id)] for clip_id in clip_ids], np.int64)
        return Clips(
            self.clip_ids[rows],
            self.subjects[rows],
            self.corpora[rows],
            self.starts_s[rows],
            {name: words[rows] for name, words in self.attributes.items()},
            {name: words[rows] for name, words in self.groups.items()},
        )


def write_clips(folder: Folder, clips: Clips) -> str:
    """Write them to the folder of a Series; returns the SHA-256 of the file."""
    columns = {"clip_id": clips.clip_ids, "subject": clips.subjects, "corpus": clips.corpora}
    columns |= {**clips.attributes, **{_GROUP + name: words for name, words in clips.groups.items()}}
    told = {name: pa.array([word or None for word in words.tolist()], pa.string()) for name, words in columns.items()}
    data = to_parquet(pa.table({**told, "start_s": pa.array(clips.starts_s.tolist(), pa.float64())}))
    folder.write_bytes(CLIPS, data)
    return sha256(data)


def read_clips(series: Series) -> Clips | None:
    """Those of a Series; None where an older mien wrote it without. Raises DamagedError where they are not what was
    written."""
    expected = series.data.get("clips_sha256")
    if expected is None:
        return None
    path = series.folder.path(CLIPS)
    with undamaged(path):
        data = series.folder.read_bytes(CLIPS)
    if sha256(data) != expected:
        raise damaged(path, "not as it was when data.json was written")
    with undamaged(path):
        table = table_of(data)
        told = {name: np.array([word or "" for word in table.column(name).to_pylist()], str) for name in _texts(table)}
        starts_s = np.array(table.column("start_s").to_pylist(), np.float64)
        return Clips(
            told["clip_id"],
            told["subject"],
            told["corpus"],
            starts_s,
            {name: told[name] for name in ATTRIBUTES},
            {name.removeprefix(_GROUP): told[name] for name in told if name.startswith(_GROUP)},
        )


def _texts(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name != "start_s"]
