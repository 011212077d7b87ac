"""Who is trained on, who is validated on, who is tested on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mien.experiment.official import FoldOf

# Name of the group (`mien.corpora.clip.Clip.groups`) of people who were recorded together: what is recorded of one of
# them may hold another, so reports warn where a protocol tears it apart.
MEETING = "meeting"
# Name of the group of clips of one stimulus, such as a film: where others saw it too, it can tell what a person felt.
STIMULUS = "stimulus"

ProtocolKind = Literal["by-subject", "loso", "by-group", "crossed", "leave-one-corpus-out", "official", "random-leaky"]

# Kinds that take protocol.group, and that keep each group on one side.
OF_GROUPS = ("by-group", "crossed")

# The person of all clips of a corpus that does not say who is in them. They count as one, so that no split by subject
# parts what may be one person.
UNKNOWN = "unknown"


def is_unknown(subject: str) -> bool:
    """Whether a subject is nobody in particular.

    >>> is_unknown("own/unknown"), is_unknown("own/07")
    (True, False)
    """
    return subject.rpartition("/")[2] == UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolConfig:
    """A split of clips as a pure function of (clips, this config)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: ProtocolKind = "by-subject"
    """by-subject: k folds of whole subjects. loso: one subject per fold. by-group: k folds of whole groups, see
    group; groups that share a subject stay together. crossed: new people at new groups, see group; k parts of the
    people times k of the groups are k * k folds, and a fold learns from no clip of its test people or its test groups.
    leave-one-corpus-out: one corpus per fold. official: the folds that protocol.official names, or those of the clips
    themselves. random-leaky: clips at random, one subject on both sides; only to compare with papers that split so."""
    group: str = ""
    """by-group: which groups are never torn apart, as the clips name them: meeting, dyad, ... crossed: which groups the
    people are crossed with: stimulus, statement."""
    official: FoldOf = field(default_factory=dict)
    """official: published lists (hicmae-ravdess, hicmae-cremad, emobox-ravdess), or CSV files of your own with the
    columns subject (ravdess/07) and fold (0, 1, ...). An experiment keeps what they say: each subject and its fold.
    Empty: what the clips say, in the column split of a table of one's own: train, dev and test, or numbers of folds."""
    folds: int = 5
    """Folds of by-subject, by-group and random-leaky; crossed has its square, the others one per subject or corpus."""
    validation: float = 0.2
    """Share of the training subjects (random-leaky: clips) held out to stop and to keep the best epoch. crossed: of the
    subjects and of the groups, so about its square of the clips."""
    seed: int = 0
    """Draws the assignment of subjects to folds."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"protocol.folds is {self.folds}: at least 2")
        if (self.kind in OF_GROUPS) != bool(self.group):
            raise ValueError(
                f"protocol.kind is {self.kind} and protocol.group is {self.group!r}: {' and '.join(OF_GROUPS)} need a "
                "group, the others take none"
            )
        if self.kind != "official" and self.official:
            raise ValueError(
                f"protocol.kind is {self.kind} and protocol.official holds {len(self.official)} subjects: only "
                "official takes a list"
            )
        numbers = sorted(set(self.official.values()))
        if self.official and (numbers != list(range(len(numbers))) or len(numbers) < 2):
            raise ValueError(f"protocol.official has the folds {numbers}: number them 0, 1, ... and have two at least")
        if not 0 < self.validation < 1:
            raise ValueError(f"protocol.validation is {self.validation}: a share between 0 and 1")

    @property
    def n_folds(self) -> int | None:
        """How many folds there are; None where the clips decide it."""
        if self.kind == "official" and self.official:
            return len(set(self.official.values()))
        if self.kind in ("loso", "leave-one-corpus-out", "official"):
            return None
        return self.folds**2 if self.kind == "crossed" else self.folds
