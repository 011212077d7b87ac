"""Contents: what each clip was extracted from, so that copies and overlapping stretches of one file are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """M stretches of files that N clips were extracted from; a clip may have several, or none.

    n_clips: N. row: (M,) int64, the clip of each stretch. file: (M,) int64, equal for files of the same bytes. start_s,
    end_s: (M,) float64, on the file's clock; inf for its end.
    """

    n_clips: int
    row: NDArray[np.int64]
    file: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        n_clips: int,
        row: Sequence[int] | NDArray[np.int64],
        hashes: Sequence[str],
        start_s: Sequence[float] | NDArray[np.float64],
        end_s: Sequence[float | None] | NDArray[np.float64],
    ) -> Contents:
        """From columns (M,) in any order. hashes: of the files' bytes. end_s: None, NaN or inf for the file's end."""
        ends = np.array(end_s, np.float64)  # None becomes NaN
        return cls(
            n_clips,
            np.asarray(row, np.int64),
            # A text of numpy would be as wide as a hash, 256 bytes.
            pa.array(hashes, pa.large_string()).dictionary_encode().indices.to_numpy().astype(np.int64),
            np.asarray(start_s, np.float64),
            np.where(np.isnan(ends), np.inf, ends),
        )

    def copies(self) -> NDArray[np.int64]:
        """(N,) equal for clips that share an identical stretch, directly or through other clips; numbered by the first
        of them."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        stretch, n_stretches = self._stretches()
        n_nodes = self.n_clips + n_stretches
        links = coo_array((np.ones(len(stretch), bool), (self.row, self.n_clips + stretch)), shape=(n_nodes, n_nodes))
        component = connected_components(links, directed=False)[1][: self.n_clips]
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        return np.unique(first[inverse], return_inverse=True)[1].astype(np.int64)

    def overlaps(self) -> NDArray[np.int64]:
        """(P, 2) pairs of clips, P < M, whose stretches of one file overlap by more than 0 s and are not the same.

        Not all pairs, of which there may be M², but enough: wherever two clips that overlap stand on two sides of a
        split, so does one of these pairs, or two copies.
        """
        # Stretch by stretch in the order of their starts: what it overlaps of those before it, it overlaps of the one
        # of them that ends last, or is linked to it through that one.
        stretch, n_stretches = self._stretches()
        _, one = np.unique(stretch, return_index=True)  # copies are linked already, one of them stands for all
        one = one[np.lexsort((self.end_s[one], self.start_s[one], self.file[one]))]
        row, file, start_s, end_s = self.row[one], self.file[one], self.start_s[one], self.end_s[one]
        by_end = np.empty(n_stretches, np.int64)
        by_end[np.lexsort((end_s, file))] = np.arange(n_stretches)
        place = np.empty(n_stretches, np.int64)
        place[by_end] = np.arange(n_stretches)
        latest = place[np.maximum.accumulate(by_end)[:-1]]
        found = np.flatnonzero((file[latest] == file[1:]) & (start_s[1:] < end_s[latest]) & (row[latest] != row[1:]))
        return np.stack([row[latest[found]], row[found + 1]], axis=1)

    def shared_s(self, row: int, other: int) -> tuple[float, float]:
        """Start and end of the longest stretch of one file that two clips both hold, inf for the file's end; NaN where
        there is none."""
        ones, others = (np.flatnonzero(self.row == one)[:, None] for one in (row, other))
        start_s = np.maximum(self.start_s[ones], self.start_s[others.T])
        end_s = np.minimum(self.end_s[ones], self.end_s[others.T])
        length_s = np.where(self.file[ones] == self.file[others.T], end_s - start_s, 0.0)
        if not (length_s > 0).any():
            return np.nan, np.nan
        longest = np.unravel_index(length_s.argmax(), length_s.shape)
        return float(start_s[longest]), float(end_s[longest])

    def identical(self, clip_ids: Sequence[str]) -> list[list[str]]:
        """Groups of two clips or more that `copies` puts together, by their ids."""
        copies = self.copies()
        order = np.argsort(copies, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(copies[order])) + 1)
        return [[clip_ids[row] for row in group] for group in groups if len(group) > 1]

    def _stretches(self) -> tuple[NDArray[np.int64], int]:
        """(M,) number of each among the different stretches, and how many these are."""
        columns: list[NDArray[Any]] = [np.unique(c, return_inverse=True)[1] for c in (self.start_s, self.end_s)]
        different, number = np.unique(np.stack([self.file, *columns]), axis=1, return_inverse=True)
        return number.astype(np.int64).ravel(), different.shape[1]
