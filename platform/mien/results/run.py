"""Run and Series: directories of artefacts that outlive the code, the cluster and the framework that made them.

    <storage>/<experiment>/<signature>/    a Series: all runs of one experiment
        experiment.json  data.json         every setting; what was read
        clips.parquet                      what the corpora tell of each clip (mien.results.clips)
        baseline.json                      which Series is the baseline on the same clips
        metrics.json  report.html  *.png   mien report
        seed-0/fold-0/                     a Run: one model, trained once
            experiment.json  environment.json  split.json  split.csv
            history.jsonl                  a record per epoch (mien.results.history)
            checkpoints/epoch-0007/        the newest two and the best
            predictions.parquet            mien.results.predictions
            conditions.parquet             mien.results.conditions
            metrics.json                   mien.results.metrics.evaluate per side
            model/                         all that is needed to use it: recipe.json, normaliser.npz, weights, card.md
            DONE                           written last: the hashes of all that is above (mien.results.done)
            report.html  *.png             mien report

Every file appears whole or not at all; DONE is a run's last. No ray, no framework: results stay readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from mien.errors import DamagedError, ExperimentError, MienError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.target import TargetSpec
from mien.folder import Folder, damaged, sha256, shaped, table_of, undamaged
from mien.results import done
from mien.results.shapes import CheckpointManifest, Data, Epoch, Named, SplitRecord, TargetRecord

Declared = TypeVar("Declared", Experiment, Search)

MANIFEST = "MANIFEST.json"
HISTORY = "history.jsonl"
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
        return self.folder.exists(done.DONE)

    def finish(self) -> None:
        """Declare it complete. Nothing may be written to it afterwards but pictures and reports."""
        done.write_done(self.folder)

    def read_json(self, name: str, shape: Any = dict[str, Any]) -> Any:
        """A file of JSON. shape: the type that it must be of. Raises DamagedError where it is not what was written."""
        data = done.read(self.folder, name)
        with undamaged(self.folder.path(name)):
            return shaped(json.loads(data), shape)

    @property
    def split(self) -> dict[str, Any]:
        """Its split.json: of each side the clips, by number and hash, and the subjects."""
        record: dict[str, Any] = self.read_json("split.json", SplitRecord)
        return record

    # ------------------------------------------------------------------ history

    def history(self) -> list[dict[str, Any]]:
        """One record per epoch, in order (`mien.results.history`); empty before the first."""
        if not self.folder.exists(HISTORY) and not self.is_done:
            return []
        data = done.read(self.folder, HISTORY)
        with undamaged(self.folder.path(HISTORY)):
            records: list[dict[str, Any]] = shaped([json.loads(line) for line in data.splitlines()], list[Epoch])
            if [record["epoch"] for record in records] != list(range(1, len(records) + 1)):
                raise ValueError("its epochs are not 1, 2, 3, ...")
        return records

    def write_history(self, records: list[dict[str, Any]]) -> None:
        """Replace the whole history: an epoch repeated after a crash must not stand in it twice."""
        self.folder.write_text(HISTORY, "".join(json.dumps(r, allow_nan=False) + "\n" for r in records))

    # ------------------------------------------------------------------ checkpoints

    def save_checkpoint(self, checkpoint: Checkpoint, *, best_epoch: int) -> None:
        """Write one, its manifest of hashes last; then let go of all but the newest two and the best. Later ones are of
        epochs that count as never begun, since they were passed over."""
        folder = self.checkpoint_folder(checkpoint.epoch)
        folder.remove(MANIFEST)
        for name, content in checkpoint.files.items():
            folder.write_bytes(name, content)
        hashes = {name: sha256(content) for name, content in checkpoint.files.items()}
        state = dict(checkpoint.state)
        manifest = {"epoch": checkpoint.epoch, "files": hashes, "state": state, "state_sha256": _hash_state(state)}
        folder.write_json(MANIFEST, manifest)
        epochs = self.checkpoint_epochs()
        newest = [epoch for epoch in epochs if epoch <= checkpoint.epoch][-KEPT_CHECKPOINTS:]
        for epoch in set(epochs) - {*newest, best_epoch}:
            self.checkpoint_folder(epoch).remove()

    def whole_checkpoints(self) -> Iterator[Checkpoint]:
        """Those that are as they were written, the newest first; torn ones are passed over."""
        found = (self.checkpoint(epoch) for epoch in reversed(self.checkpoint_epochs()))
        return (checkpoint for checkpoint in found if checkpoint is not None)

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest that is whole. None where there is none."""
        return next(self.whole_checkpoints(), None)

    def checkpoint(self, epoch: int) -> Checkpoint | None:
        """The one of an epoch; None where it is missing, half-written or damaged."""
        folder = self.checkpoint_folder(epoch)
        try:
            manifest: CheckpointManifest = folder.read_json(MANIFEST, CheckpointManifest)
            files = {name: folder.read_bytes(name) for name in manifest["files"]}
        except (DamagedError, OSError):
            return None
        state = manifest["state"]
        hash_state = _hash_state(state)
        is_whole = (
            manifest["epoch"] == epoch
            and {name: sha256(content) for name, content in files.items()} == manifest["files"]
            and manifest.get("state_sha256", hash_state) == hash_state
        )
        return Checkpoint(epoch=epoch, files=files, state=state) if is_whole else None

    def checkpoint_folder(self, epoch: int) -> Folder:
        return self.folder / "checkpoints" / f"epoch-{epoch:04d}"

    def checkpoint_epochs(self) -> list[int]:
        """Of those that are there, whole or torn."""
        return numbers(self.folder / "checkpoints", "epoch-")

    # ------------------------------------------------------------------ results

    def write_predictions(self, table: pa.Table) -> None:
        self.folder.write_table("predictions.parquet", table)

    def predictions(self) -> pa.Table:
        """The whole table; `mien.results.predictions` knows its columns."""
        return self.table("predictions.parquet")

    def table(self, name: str) -> pa.Table:
        """A Parquet file of it. Raises DamagedError where it is not what was written."""
        data = done.read(self.folder, name)
        with undamaged(self.folder.path(name)):
            return table_of(data)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        self.folder.write_json("metrics.json", metrics)

    def metrics(self) -> dict[str, Any]:
        metrics: dict[str, Any] = self.read_json("metrics.json")
        return metrics


@dataclass(frozen=True)
class Series:
    """All runs of one experiment: every seed, every fold, and their summary."""

    folder: Folder
    experiment: Experiment

    @classmethod
    def create(cls, experiment: Experiment, signature: str) -> Series:
        """The series of an experiment in its storage; an existing one is taken up again."""
        folder = Folder(experiment.execution.storage) / experiment.name / signature
        folder.make().sweep()
        folder.write_json("experiment.json", experiment.to_json(), sealed=True)
        return cls(folder, experiment)

    @classmethod
    def open(cls, uri: str) -> Series:
        """The series at a path; also of any Run, or of an experiment with a single signature."""
        folder = Folder(uri)
        found = [one for one in (folder, *_series_above(folder)) if _is_series(one)][:1] or _series_below(folder)
        if len(found) == 1:
            return cls(found[0], declared(Experiment, found[0].read_json("experiment.json"), found[0]))
        if found:
            signatures = ", ".join(one.name for one in found)
            raise MienError(f"{folder}: {len(found)} series are here; add one of their signatures: {signatures}")
        raise MienError(
            f"{folder}: no runs here; give the folder that `mien train` printed (<storage>/<experiment>/<signature>)"
        )

    @property
    def signature(self) -> str:
        return self.folder.name

    @property
    def storage(self) -> Folder:
        """Where it lies now; the experiment says where it was trained."""
        return Folder(self.folder.uri.rsplit("/", 2)[0])

    @property
    def data(self) -> dict[str, Any]:
        """What was read: store, corpora (clips, subjects, synthetic or not), features (their specs), fingerprints,
        target, clips by class or ratings by dimension, clips left out by reason, groups of copies."""
        data: dict[str, Any] = self.folder.read_json("data.json", Data)
        return data

    @property
    def target(self) -> TargetSpec:
        """What its models predict."""
        return target_in(self.folder)

    @property
    def baseline_named(self) -> str | None:
        """<experiment>/<signature> of the support vector machine on the same clips and folds, where one was trained."""
        if not self.folder.exists("baseline.json"):
            return None
        named = self.folder.read_json("baseline.json", Named)
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
        for seed in numbers(self.folder, "seed-"):
            for fold in numbers(self.folder / f"seed-{seed}", "fold-"):
                yield self.run(seed, fold)


def declared(what: type[Declared], value: Any, folder: Folder) -> Declared:
    """What an experiment.json or search.json of a folder declares. Raises DamagedError where it is none."""
    try:
        return what.from_json(value)
    except ExperimentError as error:
        name = "experiment.json" if what is Experiment else "search.json"
        raise damaged(folder.path(name), str(error)) from None


def target_in(folder: Folder) -> TargetSpec:
    """The target that the data.json of a Series or search names. MienError where an older mien wrote it without."""
    target = folder.read_json("data.json", Data).get("target")
    if target is None:
        raise MienError(
            f"{folder.path('data.json')}: names no target, so an older mien wrote it, and this one cannot read its "
            "runs; train them again"
        )
    return target_spec(target)


def target_spec(target: TargetRecord) -> TargetSpec:
    """A target as it is recorded."""
    return TargetSpec(target["kind"], tuple(target["names"]), target["primary"])


def numbers(folder: Folder, prefix: str) -> list[int]:
    """Of the names that are a prefix and a number, sorted: "seed-0 (copy)" is none of them."""
    found = (re.fullmatch(rf"{prefix}(\d+)", name) for name in folder.names())
    return sorted(int(match[1]) for match in found if match)


def _hash_state(state: Mapping[str, Any]) -> str:
    return sha256(json.dumps(state, sort_keys=True, allow_nan=False).encode())


def _series_above(folder: Folder) -> list[Folder]:
    """Where a Run stands in a series: two levels up."""
    parts = folder.uri.rsplit("/", 2)
    return [Folder(parts[0])] if len(parts) == 3 and parts[2].startswith("fold-") else []


def _series_below(folder: Folder) -> list[Folder]:
    """The signatures of an experiment; with several the user has to say which."""
    return [folder / name for name in folder.names() if _is_series(folder / name)]


def _is_series(folder: Folder) -> bool:
    return folder.exists("experiment.json") and folder.exists("data.json")
