"""Clip, Label, Span, Reject: what a corpus importer yields, and their Arrow schemas.

A clip is one performance by one person: whatever media recorded it (a wav, an mp4, both) belong to the
same clip, because counting them apart would put one performance on both sides of a split.
"""

from __future__ import annotations

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
    "self-report",
    "annotated",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of a medium in seconds; end_s None means to its end."""

    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise ValueError(f"span {self.start_s}..{self.end_s} s: must start at 0 or later and end after it starts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """One statement about the emotion of a clip.

    own: the corpus's own word ("fearful", "FEA"). emotion: the field's word for it (see `mien.corpora.emotions`),
    None where the raters reached no majority. votes: share of raters per emotion, sums to 1; empty where
    nobody voted.
    """

    source: str
    own: str
    emotion: str | None
    votes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source not in LABEL_SOURCES:
            raise ValueError(f"label source {self.source!r}: expected one of {', '.join(LABEL_SOURCES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One performance by one person, with the media that recorded it.

    id: "<corpus>/<name>", unique and stable. subject: "<corpus>/<person>". media: modality ("audio", "video")
    to a path or URI; one file may serve both. attributes: what else the corpus says (channel, intensity,
    statement, sex), as text.
    """

    id: str
    corpus: str
    subject: str
    media: Mapping[str, str]
    labels: tuple[Label, ...]
    span: Span = Span()
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


LABEL_TYPE = pa.struct(
    [
        ("source", pa.string()),
        ("own", pa.string()),
        ("emotion", pa.string()),
        ("votes", pa.map_(pa.string(), pa.float32())),
    ]
)

CLIP_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("corpus", pa.string()),
        ("subject", pa.string()),
        ("media", pa.map_(pa.string(), pa.string())),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("labels", pa.list_(LABEL_TYPE)),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("synthetic", pa.bool_()),
    ]
)

REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "path", "stage", "reason", "detail")])


_ROWS_AT_A_TIME = 65536  # as Python objects; a clip takes some 1.5 kB as such, and 0.3 kB in the table


def clips_to_table(clips: Iterable[Clip]) -> pa.Table:
    """Arrow table with one row a clip, in the order given."""
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
        "media": list(clip.media.items()),
        "start_s": clip.span.start_s,
        "end_s": clip.span.end_s,
        "labels": [
            {
                "source": label.source,
                "own": label.own,
                "emotion": label.emotion,
                "votes": list(label.votes.items()),
            }
            for label in clip.labels
        ],
        "attributes": list(clip.attributes.items()),
        "synthetic": clip.synthetic,
    }


def clips_from_table(table: pa.Table) -> Iterator[Clip]:
    """The clips of a table that `clips_to_table` wrote."""
    for row in table.to_pylist():
        yield Clip(
            id=row["id"],
            corpus=row["corpus"],
            subject=row["subject"],
            media=dict(row["media"]),
            span=Span(start_s=row["start_s"], end_s=row["end_s"]),
            labels=tuple(
                Label(
                    source=label["source"],
                    own=label["own"],
                    emotion=label["emotion"],
                    votes=dict(label["votes"] or ()),
                )
                for label in row["labels"]
            ),
            attributes=dict(row["attributes"]),
            synthetic=row["synthetic"],
        )


def rejects_to_table(rejects: Iterable[Reject]) -> pa.Table:
    """Arrow table with one row a reject."""
    names = REJECT_SCHEMA.names
    return pa.Table.from_pylist([{n: getattr(r, n) for n in names} for r in rejects], schema=REJECT_SCHEMA)
