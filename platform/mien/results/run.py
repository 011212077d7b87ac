"""Run and Series: directories of artefacts that outlive the code, the cluster and the framework that made them.

    <storage>/<experiment>/<signature>/    a Series: all runs of one experiment
        experiment.json  data.json         every setting; what was read
        baseline.json                      which Series is the baseline on the same clips
        metrics.json  report.html  *.png   mien report
        seed-0/fold-0/                     a Run: one model, trained once
            experiment.json  environment.json  split.json
            history.jsonl                  a record per epoch (mien.results.history)
            checkpoints/epoch-0007/        the newest two and the best
            predictions.parquet            mien.results.predictions
            metrics.json                   mien.results.metrics.evaluate per side
            model/                         all that is needed to use it: recipe.json, normaliser.npz, weights
            DONE                           written last
            report.html  *.png             mien report

Every file appears whole or not at all; DONE is a run's last. No ray, no framework: results stay readable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mien.errors import DamagedError, MienError
from mien.experiment import Experiment
from mien.experiment.target import TargetSpec
from mien.folder import Folder, undamaged

DONE = "DONE"
MANIFEST = "MANIFEST.json"
MODEL = "model"  # folder of what a finished run can be used by
KEPT_CHECKPOINTS = 2  # the newest, and the one before it in case the newest turns out to be torn


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model after an epoch. files: name to content; state: what the loop needs besides the model."""

    epoch: int
    files: Mapping[str, bytes]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One model, trained once: one seed, one fold."""

    folder: Folder
    seed: int
    fold: int

    @property
    def label(self) -> str:
        """What it is called below its experiment: <signature>/seed-<n>/fold-<k>; a trial: fold-<k>/<signature>."""
        parts = self.folder.uri.split("/")
        return "/".join(parts[-3:] if parts[-1] == f"fold-{self.fold}" else parts[-2:])

    @property
    def is_done(self) -> bool:
        return self.folder.exists(DONE)

    def finish(self) -> None:
        """Declare it complete. Nothing may be written to it afterwards but pictures and reports."""
        self.folder.write_text(DONE, "")

    # ------------------------------------------------------------------ history

    def history(self) -> list[dict[str, Any]]:
        """One record per epoch, in order (`mien.results.history`); empty before the first."""
        if not self.folder.exists("history.jsonl"):
            return []
        with undamaged(self.folder.path("history.jsonl")):
            return [json.loads(line) for line in self.folder.read_text("history.jsonl").splitlines()]

    def write_history(self, records: list[dict[str, Any]]) -> None:
        """Replace the whole history: an epoch repeated after a crash must not stand in it twice."""
        self.folder.write_text("history.jsonl", "".join(json.dumps(r, allow_nan=False) + "\n" for r in records))

    # ------------------------------------------------------------------ checkpoints

    def save_checkpoint(self, checkpoint: Checkpoint, *, best_epoch: int) -> None:
        """Write one, its manifest of hashes last; then let go of all but the newest two and the best."""
        folder = self._checkpoint_folder(checkpoint.epoch)
        folder.remove(MANIFEST)
        for name, content in checkpoint.files.items():
            folder.write_bytes(name, content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in checkpoint.files.items()}
        folder.write_json(MANIFEST, {"epoch": checkpoint.epoch, "files": hashes, "state": dict(checkpoint.state)})
        epochs = self._checkpoint_epochs()
        for epoch in set(epochs) - {*epochs[-KEPT_CHECKPOINTS:], best_epoch}:
            self._checkpoint_folder(epoch).remove()

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest that is whole; torn ones are passed over. None where there is none."""
        found = (self.checkpoint(epoch) for epoch in reversed(self._checkpoint_epochs()))
        return next((checkpoint for checkpoint in found if checkpoint is not None), None)

    def checkpoint(self, epoch: int) -> Checkpoint | None:
        """The one of an epoch; None where it is missing, half-written or damaged."""
        folder = self._checkpoint_folder(epoch)
        if not folder.exists(MANIFEST):
            return None
        try:
            manifest = folder.read_json(MANIFEST)
        except DamagedError:
            return None
        files = {name: folder.read_bytes(name) for name in manifest["files"] if folder.exists(name)}
        whole = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == manifest["files"]
        return Checkpoint(epoch=epoch, files=files, state=manifest["state"]) if whole else None

    def _checkpoint_folder(self, epoch: int) -> Folder:
        return self.folder / "checkpoints" / f"epoch-{epoch:04d}"

    def _checkpoint_epochs(self) -> list[int]:
        names = (self.folder / "checkpoints").names()
        return [int(name.removeprefix("epoch-")) for name in names]

    # ------------------------------------------------------------------ results

    def write_predictions(self, table: pa.Table) -> None:
        self.folder.write_table("predictions.parquet", table)

    def predictions(self) -> pa.Table:
        """The whole table; `mien.results.predictions` knows its columns."""
        return self.folder.read_table("predictions.parquet")

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        self.folder.write_json("metrics.json", metrics)

    def metrics(self) -> dict[str, Any]:
        return self.folder.read_json("metrics.json")


@dataclass(frozen=True)
class Series:
    """All runs of one experiment: every seed, every fold, and their summary."""

    folder: Folder
    experiment: Experiment

    @classmethod
    def create(cls, experiment: Experiment, signature: str) -> Series:
        """The series of an experiment in its storage; an existing one is taken up again."""
        folder = Folder(experiment.execution.storage) / experiment.name / signature
        folder.make().write_json("experiment.json", experiment.to_json())
        return cls(folder, experiment)

    @classmethod
    def open(cls, uri: str) -> Series:
        """The series at a path; also of any Run, or of an experiment with a single signature."""
        folder = Folder(uri)
        found = [one for one in (folder, *_series_above(folder)) if _is_series(one)][:1] or _series_below(folder)
        if len(found) == 1:
            path = found[0].path("experiment.json")
            return cls(found[0], Experiment.from_json(found[0].read_json("experiment.json"), path))
        if found:
            signatures = ", ".join(one.uri.rsplit("/", 1)[-1] for one in found)
            raise MienError(f"{folder}: {len(found)} series are here; add one of their signatures: {signatures}")
        raise MienError(
            f"{folder}: no runs here; give the folder that `mien train` printed (<storage>/<experiment>/<signature>)"
        )

    @property
    def signature(self) -> str:
        return self.folder.uri.rsplit("/", 1)[-1]

    @property
    def storage(self) -> Folder:
        """Where it lies now; the experiment says where it was trained."""
        return Folder(self.folder.uri.rsplit("/", 2)[0])

    @property
    def data(self) -> dict[str, Any]:
        """What was read: store, corpora (clips, subjects, synthetic or not), features (their specs), fingerprints,
        target, clips by class or ratings by dimension, clips left out by reason, groups of copies."""
        return self.folder.read_json("data.json")

    @property
    def target(self) -> TargetSpec:
        """What its models predict."""
        return target_in(self.folder)

    @property
    def baseline_named(self) -> str | None:
        """<experiment>/<signature> of the support vector machine on the same clips and folds, where one was trained."""
        if not self.folder.exists("baseline.json"):
            return None
        named = self.folder.read_json("baseline.json")
        return f"{named['experiment']}/{named['signature']}"

    @property
    def baseline(self) -> Series | None:
        """The support vector machine beside this series; None as well where this series alone was copied here."""
        if (named := self.baseline_named) is None:
            return None
        folder = self.storage / named
        return Series.open(folder.uri) if folder.exists("data.json") else None

    def run(self, seed: int, fold: int) -> Run:
        return Run(self.folder / f"seed-{seed}" / f"fold-{fold}", seed, fold)

    def runs(self) -> Iterator[Run]:
        """Those on disk, finished or not, by seed and fold."""
        for seed in _numbers(self.folder, "seed-"):
            for fold in _numbers(self.folder / f"seed-{seed}", "fold-"):
                yield self.run(seed, fold)


def target_in(folder: Folder) -> TargetSpec:
    """The target that the data.json of a Series or search names. MienError where an older mien wrote it without."""
    target = folder.read_json("data.json").get("target")
    if target is None:
        raise MienError(
            f"{folder.path('data.json')}: names no target, so an older mien wrote it, and this one cannot read its "
            "runs; train them again"
        )
    return TargetSpec(target["kind"], tuple(target["names"]), target["primary"])


def _numbers(folder: Folder, prefix: str) -> list[int]:
    return sorted(int(name.removeprefix(prefix)) for name in folder.names() if name.startswith(prefix))


def _series_above(folder: Folder) -> list[Folder]:
    """Where a Run stands in a series: two levels up."""
    parts = folder.uri.rsplit("/", 2)
    return [Folder(parts[0])] if len(parts) == 3 and parts[2].startswith("fold-") else []


def _series_below(folder: Folder) -> list[Folder]:
    """The signatures of an experiment; with several the user has to say which."""
    return [folder / name for name in folder.names() if _is_series(folder / name)]


def _is_series(folder: Folder) -> bool:
    return folder.exists("experiment.json") and folder.exists("data.json")
