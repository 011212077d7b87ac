"""Extracted: the features of what is predicted, as `prepare` left them in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mien.corpora.clip import Reject
from mien.data.columns import Column, InMemory, Mapped
from mien.data.mapped_table import source_of
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore
from mien.predict.recordings import Part

IN_MEMORY_BYTES = 2**28  # of a feature; what is larger is memory-mapped


class Extracted:
    """The features of the parts as they lie in the store.

    columns: feature to its column. rejects: feature to the rejects of its parts, by id.
    """

    def __init__(
        self, store: FeatureStore, corpus: str, specs: Mapping[str, FeatureSpec], parts: Sequence[Part]
    ) -> None:
        self.specs = specs
        self.columns: dict[str, Column] = {}
        self.rejects: dict[str, dict[str, Reject]] = {}
        self._mapped: list[Path] = []
        ids = [part.clip.id for part in parts]
        for name, spec in specs.items():
            manifest = store.feature_folder(corpus, spec).manifest()
            n_bytes = 4 * spec.dim * manifest["n_frames"] if manifest else 0
            if n_bytes <= IN_MEMORY_BYTES:
                self.columns[name] = InMemory.of_tables(spec, [store.load(corpus, spec)], ids)
            else:
                source = source_of(store, corpus, spec)
                self._mapped.append(source.path)
                self.columns[name] = Mapped(spec, [source], ids)
            self.rejects[name] = {reject.id: reject for reject in store.rejects(corpus, spec)}

    def close(self) -> None:
        """Removes what was only made to be read."""
        for path in self._mapped:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)

    @property
    def longest_s(self) -> float:
        """Of a clip, as far as its frames tell."""
        ends = [float(column.lengths.max(initial=0)) * (column.spec.hop_s or 0.0) for column in self.columns.values()]
        return max(ends, default=0.0)
