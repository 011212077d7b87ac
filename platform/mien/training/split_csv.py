"""split.csv of a run: the side of each clip, as a table for other programs. split.json holds the same as hashes."""

from __future__ import annotations

import csv
import io

from mien.data.dataset import Dataset
from mien.data.splits import Split
from mien.data.units import SIDES
from mien.results.run import Run

SPLIT_CSV = "split.csv"


def write_split_csv(run: Run, dataset: Dataset, split: Split) -> None:
    """A row per clip, sorted by id: clip_id, subject, corpus, the class as label or a column of ratings in [-1, 1] per
    dimension (empty where it was not rated), and side: train, validation or test."""
    target = dataset.target
    of_classes = target.spec.kind == "classes"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("clip_id", "subject", "corpus", *(("label",) if of_classes else target.spec.names), "side"))
    sides = [(row, side) for side in SIDES for row in getattr(split, side).tolist()]
    for row, side in sorted(sides, key=lambda one: dataset.clip_ids[one[0]]):
        truth = target.truth[row]
        label = [target.spec.names[int(truth)]] if of_classes else ["" if t != t else f"{t:.6g}" for t in truth]
        rows.writerow((dataset.clip_ids[row], dataset.subjects[row], dataset.corpora[row], *label, side))
    run.folder.write_text(SPLIT_CSV, text.getvalue())
