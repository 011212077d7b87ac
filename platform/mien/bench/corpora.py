"""What each feature of each full corpus costs at the rates that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mien.cluster.cost.corpora import OF_MEDIUM, WHOLE
from mien.cluster.cost.rates import Rates


@dataclass(frozen=True, slots=True)
class CorpusCost:
    """core_hours: of the core that the rate was measured on. n_gb: of the store."""

    corpus: str
    feature: str
    core_hours: float
    n_gb: float


def costs(rates: Rates) -> Iterator[CorpusCost]:
    """Of each corpus and each feature that it has the medium for and that has a rate."""
    for corpus, size in WHOLE.items():
        for feature in (feature for medium in size.media for feature in OF_MEDIUM[medium]):
            if feature in rates.prepare:
                rate = rates.prepare[feature]
                yield CorpusCost(
                    corpus,
                    feature,
                    size.n_clips * rate.core_s(size.clip_s) / 3600,
                    size.n_clips * rate.n_bytes(size.clip_s) / 1e9,
                )
