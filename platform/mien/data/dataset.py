"""Dataset: the clips that an experiment reads, joined with their features and their target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import Column
from mien.data.contents import Contents
from mien.data.splits import Split, inner_splits, make_splits
from mien.data.targets import Target
from mien.experiment import ProtocolConfig
from mien.features.spec import FeatureSpec


@dataclass(frozen=True, slots=True)
class Dataset:
    """N clips, sorted by corpus and id.

    groups: name to the group of each clip, "" where it is in none. contents: what each was extracted from. columns:
    feature name to its column, in the order of the experiment's features. left_out: reason to number of the store's
    clips that are not among the N. fingerprints: "<corpus>/<feature>" to that of its rows. synthetic: corpus to
    whether any of its clips is. recipes: feature name to how it was asked for (extractor, settings, medium), None
    where that is not known.
    """

    clip_ids: list[str]
    subjects: list[str]
    corpora: list[str]
    groups: dict[str, list[str]]
    contents: Contents
    target: Target
    columns: dict[str, Column]
    left_out: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    synthetic: dict[str, bool] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Feature name to spec."""
        return {name: column.spec for name, column in self.columns.items()}

    def lengths(self) -> NDArray[np.int64]:
        """(N,) frames of each clip's longest feature, at least 1."""
        return np.max([np.ones(len(self), np.int64), *(column.lengths for column in self.columns.values())], axis=0)

    def splits(self, protocol: ProtocolConfig) -> list[Split]:
        """The folds of a protocol over these clips."""
        return make_splits(**self._for_splits(), protocol=protocol)

    def inner_splits(self, split: Split, protocol: ProtocolConfig) -> list[Split]:
        """Cross-validation within one of those folds, its own validation first."""
        return inner_splits(split, **self._for_splits(), protocol=protocol)

    def _for_splits(self) -> dict[str, Any]:
        return {
            "clip_ids": self.clip_ids,
            "subjects": self.subjects,
            "corpora": self.corpora,
            "groups": self.groups,
            "copies": self.contents.copies(),
            "overlaps": self.contents.overlaps(),
            "strata": self.target.strata,
        }
