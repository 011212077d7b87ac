"""The training loop, seen by a learner that takes notes of what it is given and predicts what it was told.

No framework: what each run fed, kept, tested and wrote is held against what the test computes by itself.
"""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tiny
from mien.data.batches import Batch
from mien.data.dataset import Dataset
from mien.data.splits import Split
from mien.errors import DamagedError, ExperimentError, LeakError
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    DimensionsConfig,
    ExecutionConfig,
    Experiment,
    LossConfig,
    MlpConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.families import FAMILIES
from mien.families.contract import Family, Predictions, Rate, Task
from mien.families.losses import class_weights
from mien.folder import Folder
from mien.results.calibration import fit_temperature
from mien.results.run import Run
from mien.results.verify import verify
from mien.training.loop import train_run

EPOCHS = 5
EXPERIMENT = Experiment(
    name="notes",
    data=DataConfig(features=tuple(tiny.SPECS)),
    protocol=ProtocolConfig(folds=2, validation=0.34),
    augment=AugmentConfig(kind="none"),
    model=MlpConfig(),
    training=TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=8),
    execution=ExecutionConfig(conditions=False),  # a learner that takes notes: test_conditions.py has one that is asked
)


class NoteTaker:
    """A learner whose only weight is the number of the epoch that it has seen last.

    notes: of the last one built. right: epoch to the side whose clips it then predicts right; all others wrong.
    """

    last: ClassVar[NoteTaker]
    right: ClassVar[dict[int, np.ndarray]] = {}
    truth: ClassVar[np.ndarray] = np.zeros(0, np.int64)

    def __init__(self, task: Task) -> None:
        self.task, self.epoch = task, 0
        self.fed: dict[int, list[Batch]] = {}
        self.rates: dict[int, list[float]] = {}
        self.predicted: list[tuple[int, list[int]]] = []
        NoteTaker.last = self

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        self.epoch = epoch
        self.fed[epoch], self.rates[epoch] = [], []
        for batch in batches:
            self.fed[epoch].append(batch)
            self.rates[epoch].append(rate(batch.progress))
        return {"loss": 1 / epoch, "n_samples": int(sum(batch.weights.sum() for batch in self.fed[epoch]))}

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        rows = np.concatenate([batch.rows[batch.rows >= 0] for batch in batches])
        self.predicted.append((self.epoch, rows.tolist()))
        is_right = np.isin(rows, self.right.get(self.epoch, []))
        chosen = np.where(is_right, self.truth[rows], (self.truth[rows] + 1) % 3)
        # The epoch stands in the numbers: a prediction says which weights made it.
        values = np.full((len(rows), 3), 0.1 - self.epoch / 1000, np.float32)
        values[np.arange(len(rows)), chosen] = 0.8 + 2 * self.epoch / 1000
        return Predictions(values, rows)

    def save(self, folder: Path) -> None:
        (folder / "epoch.json").write_text(json.dumps(self.epoch))

    def load(self, folder: Path) -> None:
        self.epoch = json.loads((folder / "epoch.json").read_text())

    def export(self, folder: Path) -> None:
        self.save(folder)

    def restore(self, folder: Path) -> None:
        self.load(folder)


@pytest.fixture(autouse=True)
def _note_taker(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(config=MlpConfig, framework="sklearn", learner="test_loop:NoteTaker")
    monkeypatch.setitem(FAMILIES, "mlp", family)
    monkeypatch.setattr(NoteTaker, "right", {})


@pytest.fixture
def data() -> Dataset:
    dataset = tiny.dataset()
    NoteTaker.truth = dataset.target.truth
    return dataset


def train(folder: Path, data: Dataset, experiment: Experiment = EXPERIMENT, seed: int = 0, **options: Any):
    """The run, its metrics, the learner with its notes, and the split."""
    split = data.splits(experiment.protocol)[0]
    run = Run(Folder(folder), seed=seed, fold=0)
    metrics = train_run(run, experiment, data, split, **options)
    return run, metrics, NoteTaker.last, split


def fed_rows(learner: NoteTaker, epoch: int = 1) -> list[int]:
    return sorted(int(row) for batch in learner.fed[epoch] for row in batch.rows if row >= 0)


def with_epochs(right: dict[int, str], split: Split) -> None:
    NoteTaker.right = {epoch: getattr(split, side) for epoch, side in right.items()}


# ------------------------------------------------------------------ what is fed


def test_it_trains_on_the_training_clips_each_once_and_on_no_other(tmp_path, data):
    _, _, learner, split = train(tmp_path, data)
    assert len(split.validation)
    assert len(split.test)
    for epoch in range(1, EPOCHS + 1):
        assert fed_rows(learner, epoch) == split.train.tolist()


def test_what_keeps_its_last_epoch_trains_on_the_validation_clips_too(tmp_path, data):
    experiment = dataclasses.replace(EXPERIMENT, training=dataclasses.replace(EXPERIMENT.training, keep="last"))
    run, metrics, learner, split = train(tmp_path, data, experiment)
    assert fed_rows(learner) == sorted([*split.train, *split.validation])
    assert metrics["best_epoch"] == EPOCHS
    assert "validation" not in metrics
    assert all(record["score"] is None for record in run.history())


def test_columns_are_standardised_by_the_training_clips_alone(tmp_path, data):
    _, _, learner, split = train(tmp_path, data)
    for name in ("voice", "row"):
        frames = [data.columns[name][row] for row in split.train]
        stacked = np.concatenate([one.values[one.valid] for one in frames]).astype(np.float64)
        mean, spread = stacked.mean(axis=0), stacked.std(axis=0)
        for batch in learner.fed[1]:
            for row, values, mask in zip(batch.rows, batch.values[name], batch.masks[name]):
                if row >= 0:
                    expected = (data.columns[name][int(row)].values - mean) / spread
                    np.testing.assert_allclose(values[mask], expected.clip(-6, 6), rtol=1e-4, atol=1e-5)


def test_class_weights_come_from_the_training_clips(tmp_path, data):
    # Of class 2 all but the training clips: weights of all clips would be others.
    split = data.splits(EXPERIMENT.protocol)[0]
    truth = data.target.truth.copy()
    truth[split.test] = 2
    values = np.eye(3, dtype=np.float32)[truth]
    skewed = dataclasses.replace(data, target=dataclasses.replace(data.target, truth=truth, values=values))
    NoteTaker.truth = truth
    _, _, learner, split = train(tmp_path, skewed)
    np.testing.assert_array_equal(learner.task.class_weights, class_weights(truth[split.train], 3, "balanced"))
    assert not np.allclose(learner.task.class_weights, class_weights(truth, 3, "balanced"))


def test_a_task_names_its_inputs_its_target_and_its_seed(tmp_path, data):
    _, _, learner, _ = train(tmp_path, data, seed=7)
    assert list(learner.task.inputs) == list(tiny.SPECS)
    assert learner.task.target.names == tiny.CLASSES
    assert (learner.task.seed, learner.task.group.world) == (7, 1)


AUGMENTED = dataclasses.replace(EXPERIMENT, augment=AugmentConfig(kind="sync", factor=2.0, probability=1.0))


def copies(learner: NoteTaker, epoch: int) -> dict[int, list[np.ndarray]]:
    """Row to its frames of "voice" as they were fed, in an order of their own."""
    found: dict[int, list[np.ndarray]] = {}
    for batch in learner.fed[epoch]:
        for row, values, mask in zip(batch.rows, batch.values["voice"], batch.masks["voice"]):
            if row >= 0:
                found.setdefault(int(row), []).append(values[mask])
    return {row: sorted(frames, key=lambda f: f.tobytes()) for row, frames in found.items()}


def test_augmented_copies_join_the_training_clips_and_no_others(tmp_path, data):
    _, _, learner, split = train(tmp_path, data, AUGMENTED)
    assert fed_rows(learner) == sorted([*split.train, *split.train])
    _, _, plain, _ = train(tmp_path / "plain", data)
    for side in (split.validation, split.test):
        assert set(side) <= {row for _, rows in learner.predicted for row in rows}
    for row, frames in copies(learner, 1).items():
        assert any(np.array_equal(frames[i], copies(plain, 1)[row][0]) for i in range(2)), "the original stays"


@pytest.mark.slow
def test_augmentation_is_drawn_from_the_seed_the_epoch_and_the_clip(tmp_path, data):
    _, _, first, split = train(tmp_path / "a", data, AUGMENTED, seed=1)
    _, _, again, _ = train(tmp_path / "b", data, AUGMENTED, seed=1)
    _, _, other, _ = train(tmp_path / "c", data, AUGMENTED, seed=2)

    def same(one: dict, two: dict) -> int:
        return sum(all(map(np.array_equal, one[row], two[row])) for row in one)

    n_rows = len(split.train)
    assert same(copies(first, 1), copies(again, 1)) == n_rows
    assert same(copies(first, 1), copies(first, 2)) == 0, "each epoch has copies of its own"
    assert same(copies(first, 1), copies(other, 1)) == 0, "each seed has copies of its own"


def test_the_learning_rate_falls_step_by_step_over_all_epochs(tmp_path, data):
    run, _, learner, _ = train(tmp_path, data)
    rates = [rate for epoch in range(1, EPOCHS + 1) for rate in learner.rates[epoch]]
    share = np.arange(len(rates)) / len(rates)
    expected = EXPERIMENT.training.learning_rate * 0.5 * (1 + np.cos(np.pi * share))
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert [record["learning_rate"] for record in run.history()] == [learner.rates[e][-1] for e in learner.rates]


# ------------------------------------------------------------------ what is kept and tested


def test_the_best_epoch_is_chosen_by_the_validation_clips(tmp_path, data):
    with_epochs({2: "validation", 4: "test"}, data.splits(EXPERIMENT.protocol)[0])
    run, metrics, learner, split = train(tmp_path, data)
    assert metrics["best_epoch"] == 2
    assert [record["score"] for record in run.history()] == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert {record["score_name"] for record in run.history()} == {"uar"}
    assert learner.predicted[-1] == (2, split.test.tolist()), "tested with the weights of the best epoch"
    assert metrics["test"]["uar"] == 0.0
    assert metrics["validation"]["uar"] == 1.0


def test_patience_counts_epochs_without_a_better_validation_score(tmp_path, data):
    with_epochs({2: "validation", 3: "test", 4: "test", 5: "test"}, data.splits(EXPERIMENT.protocol)[0])
    for patience, n_epochs in ((2, 4), (3, 5)):
        training = dataclasses.replace(EXPERIMENT.training, patience=patience)
        run, metrics, _, _ = train(tmp_path / str(patience), data, dataclasses.replace(EXPERIMENT, training=training))
        assert len(run.history()) == n_epochs
        assert metrics["best_epoch"] == 2


def test_predictions_stand_under_the_names_of_their_classes(tmp_path, data):
    with_epochs(dict.fromkeys(range(1, EPOCHS + 1), "test"), data.splits(EXPERIMENT.protocol)[0])
    run, _, _, split = train(tmp_path, data)
    table = run.predictions().to_pandas().set_index("clip_id")
    for row in split.test:
        line = table.loc[data.clip_ids[row]]
        name = tiny.CLASSES[data.target.truth[row]]
        assert line["side"] == "test"
        assert line["subject"] == data.subjects[row]
        assert line[f"p_{name}"] == max(line[f"p_{other}"] for other in tiny.CLASSES)
        assert line["truth"] == data.target.truth[row]
    assert sorted(table.index) == sorted(data.clip_ids[row] for row in [*split.validation, *split.test])


def test_dimensions_are_learnt_scored_and_written_by_their_names(tmp_path, data, monkeypatch):
    data = tiny.dataset(kind="dimensions")
    experiment = dataclasses.replace(EXPERIMENT, target=DimensionsConfig(), loss=LossConfig(kind="mse"))

    def predict(self: NoteTaker, batches: Iterable[Batch]) -> Predictions:
        rows = np.concatenate([batch.rows[batch.rows >= 0] for batch in batches])
        return Predictions(np.nan_to_num(data.target.truth[rows]) * np.float32(0.5), rows)

    monkeypatch.setattr(NoteTaker, "predict", predict)
    run, metrics, learner, split = train(tmp_path, data, experiment)
    batch = learner.fed[1][0]
    own = batch.rows >= 0
    np.testing.assert_array_equal(batch.targets[own], data.target.values[batch.rows[own]])
    np.testing.assert_array_equal(batch.target_mask[own], data.target.mask[batch.rows[own]])
    assert (learner.task.class_weights == 1).all()
    assert {record["score_name"] for record in run.history()} == {"ccc"}
    table = run.predictions().to_pandas().set_index("clip_id")
    for row in split.test:
        line = table.loc[data.clip_ids[row]]
        assert line["predicted_valence"] == pytest.approx(line["truth_valence"] * 0.5)
    assert 0.5 < metrics["test"]["ccc"] < 1


# ------------------------------------------------------------------ what is refused, resumed and written


def test_a_subject_on_two_sides_is_refused_before_anything_is_trained(tmp_path, data):
    split = data.splits(EXPERIMENT.protocol)[0]
    leaking = dataclasses.replace(split, train=np.sort(np.append(split.train, split.test[0])), test=split.test[1:])
    run = Run(Folder(tmp_path), seed=0, fold=0)
    with pytest.raises(LeakError, match="c/s"):
        train_run(run, EXPERIMENT, data, leaking)
    assert not run.folder.names()


def test_a_run_that_is_killed_after_an_epoch_goes_on_with_the_next(tmp_path, data):
    def killed(record: dict) -> None:
        if record["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, data, report=killed)
    run, _, learner, _ = train(tmp_path, data)
    assert sorted(learner.fed) == [4, 5]
    assert [record["epoch"] for record in run.history()] == [1, 2, 3, 4, 5]


# ------------------------------------------------------------------ damage of a run that is not finished


class Killed(Exception):
    pass


BEST, LAST = 2, 4  # epochs: of the best score, and before which it is killed


def stopped_run(folder: Path, data: Dataset) -> Run:
    """Killed after its fourth epoch; its checkpoints are those of epochs 2, the best, 3 and 4."""

    def killed(record: dict) -> None:
        if record["epoch"] == LAST:
            raise Killed

    with_epochs({BEST: "validation"}, data.splits(EXPERIMENT.protocol)[0])
    with pytest.raises(Killed):
        train(folder, data, report=killed)
    return Run(Folder(folder), seed=0, fold=0)


def flip(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    drawn = np.random.default_rng(seed)
    content[drawn.integers(len(content))] ^= 1 << int(drawn.integers(8))
    path.write_bytes(content)


def without_state(path: Path) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "state": {}} if isinstance(value, dict) else None))


def without_history(path: Path) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "state": {"history": [{}]}} if isinstance(value, dict) else []))


DAMAGE: dict[str, Any] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "emptied": lambda path: path.write_bytes(b""),
    "{}": lambda path: path.write_text("{}"),
    "[]": lambda path: path.write_text("[]"),
    "gone": Path.unlink,
    "a bit flipped": lambda path: flip(path, 0),
    "another bit flipped": lambda path: flip(path, 1),
    "a state of {}": without_state,
    "a history of {}": without_history,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *(("MANIFEST.json", damage) for damage in DAMAGE),
        *(("epoch.json", damage) for damage in ("cut", "{}", "gone", "a bit flipped")),
    ],
)
@pytest.mark.parametrize("epochs", [[3, 4], [2], [2, 3, 4]])
def test_torn_checkpoints_are_never_used_and_the_run_ends_as_if_whole(tmp_path, data, epochs, file, damage):
    """Its numbers say which weights made them, so that those of a torn one would be seen."""
    with_epochs({BEST: "validation"}, data.splits(EXPERIMENT.protocol)[0])
    straight, expected, _, _ = train(tmp_path / "straight", data)
    stopped = stopped_run(tmp_path / "stopped", data)
    for epoch in epochs:
        DAMAGE[damage](tmp_path / "stopped" / "checkpoints" / f"epoch-{epoch:04d}" / file)
        assert stopped.checkpoint(epoch) is None
    run, metrics, learner, _ = train(tmp_path / "stopped", data)
    goes_on_from = {(3, 4): 2}.get(tuple(epochs), 0)  # without the best, from the beginning
    assert sorted(learner.fed) == list(range(goes_on_from + 1, EPOCHS + 1))
    assert metrics == expected and run.predictions().equals(straight.predictions())
    assert [record["score"] for record in run.history()] == [record["score"] for record in straight.history()]


def test_changed_numbers_in_the_history_of_a_checkpoint_are_not_believed(tmp_path, data):
    """Another score would choose another epoch."""
    stopped = stopped_run(tmp_path, data)
    manifest = tmp_path / "checkpoints" / "epoch-0004" / "MANIFEST.json"
    changed = json.loads(manifest.read_text())
    changed["state"]["history"][3]["score"] = 2.0
    manifest.write_text(json.dumps(changed))
    assert stopped.latest_checkpoint().epoch == 3
    _, metrics, _, _ = train(tmp_path, data)
    assert metrics["best_epoch"] == BEST


def test_checkpoints_of_an_older_mien_without_a_hash_of_the_state_are_gone_on_from(tmp_path, data):
    stopped = stopped_run(tmp_path, data)
    for manifest in (tmp_path / "checkpoints").glob("*/MANIFEST.json"):
        older = json.loads(manifest.read_text())
        del older["state_sha256"]
        manifest.write_text(json.dumps(older))
    assert stopped.latest_checkpoint().epoch == LAST
    _, _, learner, _ = train(tmp_path, data)
    assert sorted(learner.fed) == [5]


@pytest.mark.parametrize("name", ["epoch-0025 (copy)", "epoch-", ".DS_Store", "notes.txt"])
def test_a_stray_name_among_checkpoints_is_passed_over(tmp_path, data, name):
    stopped_run(tmp_path, data)
    shutil.copytree(tmp_path / "checkpoints" / "epoch-0003", tmp_path / "checkpoints" / name)
    _, _, learner, _ = train(tmp_path, data)
    assert sorted(learner.fed) == [5]
    assert (tmp_path / "checkpoints" / name).exists(), "it is somebody's"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "emptied", "{}", "[]", "gone"])
@pytest.mark.parametrize("file", ["history.jsonl", "experiment.json", "environment.json", "split.json"])
def test_other_files_of_an_unfinished_run_are_written_anew(tmp_path, data, file, damage):
    stopped = stopped_run(tmp_path, data)
    before = [record["score"] for record in stopped.history()]
    DAMAGE[damage](tmp_path / file)
    if file == "history.jsonl" and damage not in ("emptied", "gone"):
        with pytest.raises(DamagedError, match=r"history\.jsonl: damaged \(.*copy it here again, or delete it"):
            stopped.history()
        (tmp_path / file).unlink()
    run, _, _, _ = train(tmp_path, data)
    assert [record["score"] for record in run.history()][:LAST] == before
    assert verify(run.folder).findings == []


def test_what_a_killed_writer_left_is_swept_at_the_next_start_and_a_living_one_is_left(tmp_path, data):
    stopped_run(tmp_path, data)
    left = [tmp_path / name for name in (".history.jsonl.0a1b2c3d", "checkpoints/epoch-0004/.epoch.json.00000000")]
    alive, fresh, others = (tmp_path / name for name in (".split.json.11111111", ".DONE.22222222", ".notes"))
    for path in (*left, alive, fresh, others):
        path.write_text("half")
        if path != fresh:
            os.utime(path, (0, 0))
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        train(tmp_path, data)
    assert [path.exists() for path in (*left, alive, fresh, others)] == [False, False, True, True, True]


def test_the_best_checkpoint_is_lost_while_the_run_goes_on(tmp_path, data):
    def loses(record: dict) -> None:
        if record["epoch"] == LAST:
            (tmp_path / "checkpoints" / "epoch-0002" / "epoch.json").unlink()

    with_epochs({BEST: "validation"}, data.splits(EXPERIMENT.protocol)[0])
    with pytest.raises(
        DamagedError, match="epoch-0002: damaged since it was written.* run the same again, which goes on"
    ):
        train(tmp_path, data, report=loses)
    _, metrics, _, _ = train(tmp_path, data)
    assert metrics["best_epoch"] == BEST


def test_a_finished_run_is_not_trained_again_and_still_checked(tmp_path, data):
    _, metrics, learner, split = train(tmp_path, data)
    learner.fed.clear()
    _, again, _, _ = train(tmp_path, data)
    assert again == metrics
    assert not NoteTaker.last.fed
    leaking = dataclasses.replace(split, train=np.sort(np.append(split.train, split.test[0])), test=split.test[1:])
    with pytest.raises(LeakError):
        train_run(Run(Folder(tmp_path), 0, 0), EXPERIMENT, data, leaking)


def test_a_finalist_of_a_search_has_no_test_clips_and_no_card(tmp_path, data):
    outer = data.splits(EXPERIMENT.protocol)[0]
    inner = data.inner_splits(outer, EXPERIMENT.protocol)[1]
    run = Run(Folder(tmp_path), seed=0, fold=0)
    assert "test" not in train_run(run, EXPERIMENT, data, inner)
    assert run.is_done and not run.folder.exists("model/card.md")


def test_a_run_says_what_it_was_and_holds_what_its_model_needs(tmp_path, data):
    run, _, _, split = train(tmp_path, data)
    assert Experiment.from_json(run.folder.read_json("experiment.json")) == EXPERIMENT
    sides = run.folder.read_json("split.json")
    assert sides["train"]["n_clips"] == len(split.train)
    assert sides["test"]["subjects"] == sorted({data.subjects[row] for row in split.test})
    assert run.folder.read_json("environment.json")["workers"] == 1
    model = run.folder / "model"
    assert set(model.names()) == {"recipe.json", "normaliser.npz", "epoch.json", "card.md"}
    table = list(csv.DictReader(run.folder.read_text("split.csv").splitlines()))
    assert [row["clip_id"] for row in table] == data.clip_ids
    side_of = {data.clip_ids[row]: side for side in ("train", "validation", "test") for row in getattr(split, side)}
    assert {row["clip_id"]: row["side"] for row in table} == side_of
    assert [row["label"] for row in table] == [tiny.CLASSES[k] for k in data.target.truth]
    assert (table[7]["subject"], table[7]["corpus"]) == ("c/s2", "c")
    assert "UAR" in model.read_text("card.md") and str(len(split.test)) in model.read_text("card.md")
    assert model.read_json("epoch.json") == 1, "the weights of the best epoch, here the first of equals"
    assert run.is_done


def test_the_temperature_is_that_of_the_validation_clips_and_none_where_they_were_trained_on(tmp_path, data):
    run, metrics, _, split = train(tmp_path / "best", data)
    table = run.predictions().to_pandas()
    held_out = table[table["side"] == "validation"]
    p = held_out[[f"p_{name}" for name in tiny.CLASSES]].to_numpy()
    recipe = run.folder.read_json("model/recipe.json")
    assert recipe["temperature"] == fit_temperature(held_out["truth"].to_numpy(), p)
    keys = set(run.history()[0]) - {"seconds", "data_s", "samples_per_s"}
    assert metrics["epochs"] == [{key: record[key] for key in record if key in keys} for record in run.history()]
    assert np.sum(metrics["epochs"][0]["validation_confusion"]) == len(split.validation)
    last = dataclasses.replace(EXPERIMENT, training=dataclasses.replace(EXPERIMENT.training, keep="last"))
    run, *_ = train(tmp_path / "last", data, last)
    assert run.folder.read_json("model/recipe.json")["temperature"] is None


# ------------------------------------------------------------------ parents


CHILD = dataclasses.replace(
    EXPERIMENT,
    name="child",
    data=dataclasses.replace(EXPERIMENT.data, features=()),
    training=dataclasses.replace(EXPERIMENT.training, epochs=1, keep="last"),
    parents=("notes/00000000",),
)


def without_features(data: Dataset) -> Dataset:
    return dataclasses.replace(data, columns={})


def test_a_child_learns_from_what_its_parent_predicted_of_clips_it_had_not_seen(tmp_path, data):
    parent, _, _, split = train(tmp_path / "parent", data)
    run, _, learner, _ = train(tmp_path / "child", without_features(data), CHILD, parents=(parent,))
    assert fed_rows(learner) == split.validation.tolist()
    assert list(learner.task.inputs) == ["notes"]
    assert learner.task.inputs["notes"].modality == "prediction"
    table = parent.predictions().to_pandas().set_index("clip_id")
    columns = [f"p_{name}" for name in tiny.CLASSES]
    for batch in learner.fed[1]:
        for row, values in zip(batch.rows, batch.values["notes"]):
            if row >= 0:
                own = table.loc[data.clip_ids[row], columns].to_numpy(float)
                np.testing.assert_allclose(values[0], own, atol=1e-6, err_msg="as it was predicted")
    assert set(run.folder.names()) >= {"model", "DONE"}
    assert (run.folder / "model" / "parents" / "notes").exists("recipe.json")
    tested = run.predictions().to_pandas()
    assert set(tested["clip_id"]) == {data.clip_ids[row] for row in split.test}


def test_a_parent_of_another_split_is_refused(tmp_path, data):
    parent, _, _, _ = train(tmp_path / "parent", data)
    other = dataclasses.replace(CHILD, protocol=dataclasses.replace(CHILD.protocol, seed=5))
    with pytest.raises(LeakError, match="other train clips"):
        train(tmp_path / "child", without_features(data), other, parents=(parent,))
    assert not (tmp_path / "child" / "DONE").exists()


def test_a_parent_that_learned_from_its_validation_clips_is_refused(tmp_path, data):
    last = dataclasses.replace(EXPERIMENT, training=dataclasses.replace(EXPERIMENT.training, keep="last"))
    parent, _, _, _ = train(tmp_path / "parent", data, last)
    with pytest.raises(ExperimentError, match="none|not learned"):
        train(tmp_path / "child", without_features(data), CHILD, parents=(parent,))
