"""Clip, Medium, Label, Rating, Reject: what a corpus importer yields, and their Arrow schemas.

A clip is one performance by one person: whatever media recorded it (a wav, an mp4, both) belong to the same clip,
because counting them apart would put one performance on both sides of a split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

# Who says that the clip shows this emotion. A score always states which of them it was measured against.
LABEL_SOURCES = (
    "intended",  # what the actor was asked to show
    "perceived-voice",  # majority of raters who heard it
    "perceived-face",  # majority of raters who saw it, without sound
    "perceived-both",  # majority of raters who heard and saw it
    "self-report",  # by the person in the clip
    "annotated",  # by observers after the fact
    "proxy",  # derived from something else than emotion, such as laughter or dialogue acts
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """A stretch of one file, and its place on the clip's clock.

    path: a path or URI; "<table>#<row>" for a row of a table. start_s, end_s: the stretch on the file's own clock in
    seconds, end_s None to its end. offset_s: when start_s is on the clip's clock, so that media whose recorders were
    started at different times can be laid on one clock. track: channel of a sound or stream of a container, None for
    the usual one (the mean of the channels, the first stream).
    """

    path: str
    start_s: float = 0.0
    end_s: float | None = None
    offset_s: float = 0.0
    track: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < (math.inf if self.end_s is None else self.end_s):
            raise ValueError(
                f"{self.path}: stretch {self.start_s}..{self.end_s} s: must start at 0 or later and end after it starts"
            )

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its file."""
        return self.start_s == 0 and self.end_s is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rating:
    """One dimension of a clip (valence, arousal, ...) as it was rated.

    value: raw, on the scale from low to high; the mean over raters. n_raters: how many. agreement: among them, in
    [-1, 1], None where it is not known or there is one. trace: "<table>" of time_s and value where the rating is
    continuous in time, of which value is the mean.
    """

    value: float
    low: float
    high: float
    n_raters: int = 1
    agreement: float | None = None
    trace: str | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.low <= self.value <= self.high:
            raise ValueError(f"rating {self.value} on a scale from {self.low} to {self.high}: must lie on its scale")

    @property
    def normalised(self) -> float:
        """The value in [-1, 1]: -1 at the low end of its scale.

        >>> Rating(value=7, low=1, high=9).normalised
        0.5
        """
        return 2 * (self.value - self.low) / (self.high - self.low) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """One statement about the emotion of a clip.

    own: the corpus's own word ("fearful", "FEA"), empty where it has none. emotion: the field's word for it (see
    `mien.corpora.emotions`), None where the raters reached no majority or only dimensions were rated. votes: share of
    raters per emotion, sums to 1; empty where there was no vote. ratings: dimension to rating.
    """

    source: str
    own: str = ""
    emotion: str | None = None
    votes: Mapping[str, float] = field(default_factory=dict)
    ratings: Mapping[str, Rating] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source not in LABEL_SOURCES:
            raise ValueError(f"label source {self.source!r}: expected one of {', '.join(LABEL_SOURCES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One performance by one person, with the media that recorded it.

    id: "<corpus>/<name>", unique and stable. subject: "<corpus>/<person>", or "<corpus>/unknown"
    (`mien.experiment.protocol.UNKNOWN`). media: name of a medium ("audio", "video",
    "eeg", "openface", ...) to its file and stretch; one file may serve several. groups: what else must not be torn
    apart by some protocols, name to group, such as {"meeting": "ami/ES2002a"}; the subject is not repeated. A "meeting"
    is of people who were recorded together (`mien.experiment.MEETING`), of nothing else. attributes:
    what else the corpus says (channel, intensity, statement, sex), as text.
    """

    id: str
    corpus: str
    subject: str
    media: Mapping[str, Medium]
    labels: tuple[Label, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False

    def label(self, source: str) -> Label | None:
        """The label from one source, None where this clip has none."""
        return next((label for label in self.labels if label.source == source), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """A file or clip that could not be used, and why.

    id: the clip's id, or the path where no id could be read. reason: a short stable code for counting
    ("no-audio-stream", "bad-name"). detail: the sentence for a person, with the tail of a traceback where
    the cause was unexpected.
    """

    id: str
    path: str
    stage: str
    reason: str
    detail: str


MEDIUM_TYPE = pa.struct(
    [
        ("path", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("offset_s", pa.float64()),
        ("track", pa.int32()),
    ]
)

RATING_TYPE = pa.struct(
    [
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n_raters", pa.int32()),
        ("agreement", pa.float64()),
        ("trace", pa.string()),
    ]
)

LABEL_TYPE = pa.struct(
    [
        ("source", pa.string()),
        ("own", pa.string()),
        ("emotion", pa.string()),
        ("votes", pa.map_(pa.string(), pa.float32())),
        ("ratings", pa.map_(pa.string(), RATING_TYPE)),
    ]
)

CLIP_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("corpus", pa.string()),
        ("subject", pa.string()),
        ("media", pa.map_(pa.string(), MEDIUM_TYPE)),
        ("labels", pa.list_(LABEL_TYPE)),
        ("groups", pa.map_(pa.string(), pa.string())),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("synthetic", pa.bool_()),
    ]
)

REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "path", "stage", "reason", "detail")])


_ROWS_AT_A_TIME = 65536  # as Python objects; a clip takes some 1.5 kB as such, and 0.3 kB in the table


def clips_to_table(clips: Iterable[Clip]) -> pa.Table:
    """Arrow table with one row per clip, in the order given."""
    rows = map(_row, clips)
    batches = []
    while some := list(islice(rows, _ROWS_AT_A_TIME)):
        batches.append(pa.RecordBatch.from_pylist(some, schema=CLIP_SCHEMA))
    return pa.Table.from_batches(batches, schema=CLIP_SCHEMA)


def _row(clip: Clip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "corpus": clip.corpus,
        "subject": clip.subject,
        "media": [(name, fields(medium)) for name, medium in clip.media.items()],
        "labels": [
            {
                "source": label.source,
                "own": label.own,
                "emotion": label.emotion,
                "votes": list(label.votes.items()),
                "ratings": [(name, fields(rating)) for name, rating in label.ratings.items()],
            }
            for label in clip.labels
        ],
        "groups": list(clip.groups.items()),
        "attributes": list(clip.attributes.items()),
        "synthetic": clip.synthetic,
    }


def fields(value: Medium | Rating) -> dict[str, Any]:
    """The fields of a medium or rating by name (dataclasses.asdict copies deeply, which takes ten times as long)."""
    return {name: getattr(value, name) for name in value.__slots__}


def clips_from_table(table: pa.Table) -> Iterator[Clip]:
    """The clips of a table that `clips_to_table` wrote."""
    for row in table.to_pylist():
        yield Clip(
            id=row["id"],
            corpus=row["corpus"],
            subject=row["subject"],
            media={name: Medium(**medium) for name, medium in row["media"]},
            labels=tuple(
                Label(
                    source=label["source"],
                    own=label["own"],
                    emotion=label["emotion"],
                    votes=dict(label["votes"]),
                    ratings={name: Rating(**rating) for name, rating in label["ratings"]},
                )
                for label in row["labels"]
            ),
            groups=dict(row["groups"]),
            attributes=dict(row["attributes"]),
            synthetic=row["synthetic"],
        )


def rejects_to_table(rejects: Iterable[Reject]) -> pa.Table:
    """Arrow table with one row per reject."""
    names = REJECT_SCHEMA.names
    return pa.Table.from_pylist([{n: getattr(r, n) for n in names} for r in rejects], schema=REJECT_SCHEMA)
