"""Who is trained on, who is validated on, who is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProtocolKind = Literal["by-subject", "loso", "by-group", "leave-one-corpus-out", "random-leaky"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolConfig:
    """A split of clips as a pure function of (clips, this config)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: ProtocolKind = "by-subject"
    """by-subject: k folds of whole subjects. loso: one subject per fold. by-group: k folds of whole groups, see group;
    groups that share a subject stay together. leave-one-corpus-out: one corpus per fold. random-leaky: clips at random,
    one subject on both sides; only to compare with papers that split so."""
    group: str = ""
    """by-group: which groups are never torn apart, as the clips name them: meeting, dyad, ..."""
    folds: int = 5
    """Folds of by-subject, by-group and random-leaky; the others have one per subject or corpus."""
    validation: float = 0.2
    """Share of the training subjects (random-leaky: clips) held out to stop and to keep the best epoch."""
    seed: int = 0
    """Draws the assignment of subjects to folds."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"protocol.folds is {self.folds}: at least 2")
        if (self.kind == "by-group") != bool(self.group):
            raise ValueError(
                f"protocol.kind is {self.kind} and protocol.group is {self.group!r}: by-group needs a group"
            )
        if not 0 < self.validation < 1:
            raise ValueError(f"protocol.validation is {self.validation}: a share between 0 and 1")
