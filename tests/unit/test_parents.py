"""Parents: what a model may read of the predictions of others, and learn from, without having seen its test clips."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from mien.data.columns import InMemory
from mien.data.parents import parent_columns, split_record
from mien.data.splits import Split
from mien.errors import DamagedError, ExperimentError, LeakError
from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    DataConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    SvmConfig,
    TrainingConfig,
)
from mien.experiment.target import ClassesConfig, DimensionsConfig, TargetSpec
from mien.families.recipe import ModelRecipe
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder
from mien.results.predictions import Predicted, read_predictions, write_predictions
from mien.results.run import Run, Series
from mien.training.launch import parents_of

IDS = [f"c/{i:02d}" for i in range(13)]
SUBJECTS = [f"c/s{i // 2}" for i in range(13)]
TRAIN, VALIDATION, TEST = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5], [6, 7, 12]
EMOTIONS = TargetSpec("classes", ("anger", "fear", "joy"), "uar")
PLANE = TargetSpec("dimensions", ("valence", "arousal"), "ccc")


def split_of(train: list[int] = TRAIN, validation: list[int] = VALIDATION, test: list[int] = TEST) -> Split:
    return Split(0, "fold 0", *(np.array(rows, np.int64) for rows in (train, validation, test)))


def value_of(number: int, k: int, offset: float = 0.0) -> float:
    """What a parent predicted of a clip: different for every clip and column."""
    return offset + number / 100 + k / 1000


def parent(
    storage: Path,
    name: str = "voice",
    *,
    signature: str = "0123abcd",
    target: TargetSpec = EMOTIONS,
    split: Split | None = None,
    predicted: dict[str, list[int]] | None = None,
    ids: list[str] = IDS,
    subjects: list[str] = SUBJECTS,
    offset: float = 0.0,
    seed: int = 0,
) -> Run:
    """A finished run as it lies on disk, as far as a child reads it; clips in another order than the child's."""
    split = split or split_of()
    run = Run(Folder(f"{storage}/{name}/{signature}/seed-{seed}/fold-0").make(), seed, 0)
    if target.kind == "classes":
        experiment = Experiment(name=name, target=ClassesConfig())
    else:
        experiment = Experiment(name=name, target=DimensionsConfig(), loss=LossConfig(kind="ccc"))
    run.folder.write_json("experiment.json", experiment.to_json())
    run.folder.write_json("split.json", split_record(split, ids, subjects))
    run.folder.write_json("model/recipe.json", {"target": dataclasses.asdict(target)})
    if predicted is None:
        predicted = {"validation": split.validation.tolist(), "test": split.test.tolist()}
    n_columns = len(target.names)
    sides = {}
    for side, rows in predicted.items():
        rows = rows[::-1]
        truth = np.zeros(len(rows), np.int64) if target.kind == "classes" else np.zeros((len(rows), n_columns))
        values = np.array([[value_of(row, k, offset) for k in range(n_columns)] for row in rows]).reshape(-1, n_columns)
        columns = (np.array([text[row] for row in rows], dtype=object) for text in (ids, subjects, ["c"] * len(ids)))
        sides[side] = Predicted(*columns, truth, values)
    write_predictions(run, target, sides)
    run.finish()
    return run


def values_of(column: Any, rows: list[int]) -> np.ndarray:
    found = [column[row] for row in rows]
    assert all(one.valid.tolist() == [True] and one.values.dtype == np.float32 for one in found)
    return np.concatenate([one.values for one in found])


# ------------------------------------------------------------------ split.json


def test_a_split_is_recorded_by_the_hash_of_each_sides_clips_whatever_their_order() -> None:
    record = split_record(split_of(), IDS, SUBJECTS)
    assert record["name"] == "fold 0"
    assert record["validation"] == {
        "n_clips": 2,
        "clip_ids_sha256": hashlib.sha256(b"c/04\nc/05").hexdigest(),
        "subjects": ["c/s2"],
    }
    assert [record[side]["n_clips"] for side in ("train", "test")] == [8, 3]
    assert record["test"]["subjects"] == ["c/s3", "c/s6"]
    order = np.random.default_rng(0).permutation(13)
    place = np.argsort(order)
    moved = split_of(*(sorted(place[rows].tolist()) for rows in (TRAIN, VALIDATION, TEST)))
    assert split_record(moved, [IDS[i] for i in order], [SUBJECTS[i] for i in order]) == record


# ------------------------------------------------------------------ columns


def test_a_child_reads_validation_and_test_and_learns_from_validation_alone(tmp_path: Path) -> None:
    columns, rows = parent_columns([parent(tmp_path)], split_of(), IDS)
    assert list(columns) == ["voice"]
    column = columns["voice"]
    expected = [[value_of(row, k) for k in range(3)] for row in VALIDATION + TEST]
    np.testing.assert_allclose(values_of(column, VALIDATION + TEST), expected, atol=1e-7)
    assert rows.tolist() == VALIDATION
    lengths = np.zeros(13, int)
    lengths[VALIDATION + TEST] = 1
    assert column.lengths.tolist() == lengths.tolist(), "what it was trained on it knows by heart"
    assert column[TRAIN[0]].values.shape == (0, 3)


def test_the_spec_says_whose_predictions_of_what_they_are(tmp_path: Path) -> None:
    runs = [parent(tmp_path), parent(tmp_path, "mood", signature="feedbeef", target=PLANE, offset=-0.5)]
    columns, _ = parent_columns(runs, split_of(), IDS)
    specs = {name: column.spec for name, column in columns.items()}
    assert {name: spec.columns for name, spec in specs.items()} == {
        "voice": ("p_anger", "p_fear", "p_joy"),
        "mood": ("valence", "arousal"),
    }
    for name, spec in specs.items():
        assert (spec.name, spec.modality, spec.hop_s) == (name, "prediction", None)
        assert spec.shape == (len(spec.columns),)
    assert specs["voice"].settings == {"parent": "voice/0123abcd"}
    np.testing.assert_allclose(
        values_of(columns["mood"], TEST), [[value_of(row, k, -0.5) for k in range(2)] for row in TEST], atol=1e-7
    )


def test_parents_of_one_name_and_those_called_like_a_feature_are_told_apart_by_their_signature(tmp_path: Path) -> None:
    runs = [
        parent(tmp_path, signature="00000000"),
        parent(tmp_path, "egemaps", signature="22222222", offset=0.25),
        parent(tmp_path, signature="11111111", offset=0.5),
        parent(tmp_path, "face", signature="33333333", offset=0.75),
    ]
    columns, _ = parent_columns(runs, split_of(), IDS, taken={"egemaps", "facenet"})
    offsets = {name: round(float(values_of(column, [TEST[0]])[0, 0] - 0.06), 6) for name, column in columns.items()}
    assert offsets == {"voice-00000000": 0.0, "egemaps-22222222": 0.25, "voice-11111111": 0.5, "face": 0.75}


def test_what_another_program_predicted_is_a_feature_and_no_parent(tmp_path: Path) -> None:
    """Its model is nowhere to be read."""
    columns, _ = parent_columns([parent(tmp_path)], split_of(), IDS)
    published = FeatureSpec(name="published", version=1, modality="prediction", shape=(3,), hop_s=None)
    recipe = ModelRecipe(
        model=AffectEnsembleConfig(fusion="late"),
        training=TrainingConfig(),
        loss=LossConfig(),
        seed=0,
        target=EMOTIONS,
        inputs={"published": published, "voice": columns["voice"].spec},
        extractors={"published": None, "voice": None},
        normalise="train",
        is_synthetic=False,
    )
    assert recipe.parents == ("voice",)


def test_two_seeds_of_one_series_are_told_apart(tmp_path: Path) -> None:
    runs = [parent(tmp_path), parent(tmp_path, seed=4, offset=0.5), parent(tmp_path, "face", offset=0.25)]
    columns, _ = parent_columns(runs, split_of(), IDS)
    offsets = {name: round(float(values_of(column, [TEST[0]])[0, 0] - 0.06), 6) for name, column in columns.items()}
    assert offsets == {"voice-0123abcd-seed-0": 0.0, "voice-0123abcd-seed-4": 0.5, "face": 0.25}


def test_a_fixed_rule_reads_parents_that_kept_their_last_epoch_and_learns_from_nothing(tmp_path: Path) -> None:
    runs = [parent(tmp_path, predicted={"test": TEST}), parent(tmp_path, "face")]
    columns, rows = parent_columns(runs, split_of(), IDS, learns=False)
    assert rows.tolist() == []
    np.testing.assert_allclose(
        values_of(columns["voice"], TEST), [[value_of(row, k) for k in range(3)] for row in TEST], atol=1e-7
    )


@pytest.mark.parametrize(
    ("asked", "seed"), [("voice/0123abcd", 1), ("voice/0123abcd/seed-0", 0), ("voice/0123abcd/seed-2", None)]
)
def test_the_run_of_the_seed_that_a_parent_names_is_read(tmp_path: Path, asked: str, seed: int | None) -> None:
    """A child of seed 1, whose parent has the seeds 0 and 1."""
    runs = [parent(tmp_path, seed=number) for number in (0, 1)]
    folder = Folder(f"{tmp_path}/voice/0123abcd")
    folder.write_bytes("experiment.json", runs[0].folder.read_bytes("experiment.json"))
    folder.write_json("data.json", {})
    series = Series.open(folder.uri)
    experiment = Experiment(name="fusion", parents=(asked,))
    if seed is None:
        with pytest.raises(ExperimentError, match="has no finished run of seed 2, fold 0; train it first"):
            parents_of(series, experiment, 1, 0)
    else:
        assert [run.seed for run in parents_of(series, experiment, 1, 0)] == [seed]


# ------------------------------------------------------------------ what is refused


OTHERS = {
    "train": split_of(train=TRAIN[1:]),
    "validation": split_of(validation=VALIDATION[:1]),
    "test": split_of(test=TEST[:-1]),
}


@pytest.mark.parametrize("side", OTHERS)
def test_a_parent_with_other_clips_on_a_side_is_a_leak(tmp_path: Path, side: str) -> None:
    with pytest.raises(LeakError, match=rf"parents: voice has other {side} clips in fold 0.*: give both the same"):
        parent_columns([parent(tmp_path, split=OTHERS[side])], split_of(), IDS)


def test_a_parent_of_as_many_other_clips_of_the_same_people_is_a_leak(tmp_path: Path) -> None:
    """Numbers and subjects of a side are not enough to tell."""
    swapped = split_of(train=[0, 1, 2, 3, 8, 9, 10, 12], test=[6, 7, 11])
    subjects = [*SUBJECTS[:11], "c/s6", "c/s6"]
    run = parent(tmp_path, split=swapped, subjects=subjects)
    with pytest.raises(LeakError, match="other train clips"):
        parent_columns([run], split_of(), IDS)


def test_a_parent_of_an_older_version_without_hashes_is_refused(tmp_path: Path) -> None:
    run = parent(tmp_path)
    record = run.folder.read_json("split.json")
    for side in ("train", "validation", "test"):
        del record[side]["clip_ids_sha256"]
    run.folder.write_json("split.json", record)
    run.folder.write_text("DONE", "")
    with pytest.raises(LeakError, match="other train clips"):
        parent_columns([run], split_of(), IDS)


def test_a_parent_that_kept_its_last_epoch_has_nothing_to_learn_from(tmp_path: Path) -> None:
    run = parent(tmp_path, predicted={"test": TEST})
    with pytest.raises(ExperimentError, match=r"parents: voice was trained on its validation clips too.*keep best"):
        parent_columns([run], split_of(), IDS)


@pytest.mark.parametrize(
    "predicted", [{"validation": VALIDATION[:1], "test": TEST}, {"validation": VALIDATION, "test": TEST[1:]}]
)
def test_a_parent_that_lacks_predictions_is_damaged(tmp_path: Path, predicted: dict[str, list[int]]) -> None:
    side = "validation" if len(predicted["validation"]) == 1 else "test"
    with pytest.raises(DamagedError, match=f"not of its {side} clips; train it again"):
        parent_columns([parent(tmp_path, predicted=predicted)], split_of(), IDS)


# ------------------------------------------------------------------ in a run


@pytest.mark.torch
def test_equal_weights_are_the_geometric_mean_and_nothing_is_learnt(tmp_path: Path) -> None:
    """Of parents that trained on their validation clips too, so that there is nothing to learn from."""
    from mien.training.loop import train_run

    dataset = dataclasses.replace(tiny.dataset(61), columns={})
    protocol = ProtocolConfig(folds=3)
    split = dataset.splits(protocol)[0]
    own = {"split": split, "ids": dataset.clip_ids, "subjects": dataset.subjects, "target": dataset.target.spec}
    sides = {"test": split.test.tolist()}
    runs = (
        parent(tmp_path, predicted=sides, offset=0.1, **own),
        parent(tmp_path, "face", predicted=sides, offset=0.3, **own),
    )
    votes = [read_predictions(run, dataset.target.spec, "test").values for run in runs]
    expected = np.sqrt(votes[0] * votes[1])
    published = FeatureSpec(name="published", version=1, modality="prediction", shape=(3,), hop_s=None)
    everywhere = np.zeros((len(dataset), 3), np.float32)
    everywhere[split.test] = votes[0]
    column = InMemory(published, [Frames(row[None], np.ones(1, bool)) for row in everywhere])
    alone = dataclasses.replace(dataset, columns={"published": column})
    for name, data, parents, mean in (("child", dataset, runs, expected), ("alone", alone, (), votes[0])):
        experiment = Experiment(
            name=name,
            data=DataConfig(features=tuple(data.columns)),
            protocol=protocol,
            model=AffectEnsembleConfig(fusion="late", late="equal"),
            parents=("voice/0123abcd", "face/0123abcd") if parents else (),
        )
        child = Run(Folder(tmp_path / name).make(), 0, 0)
        train_run(child, experiment, data, split, parents=parents)
        assert [record["n_samples"] for record in child.history()] == [0]
        found = read_predictions(child, dataset.target.spec, "test")
        np.testing.assert_allclose(found.values, mean / mean.sum(axis=1, keepdims=True), atol=1e-6)
        if not parents:  # nothing beside it that could be hidden
            continue
        told = child.folder.read_table("conditions.parquet")
        for values in told.select([name for name in told.column_names if name.startswith("p_")]).columns:
            assert np.isfinite(values.to_numpy()).all(), "with all hidden the prior is even: nothing was counted"


def test_a_child_is_trained_on_its_parents_validation_clips_and_tested_on_the_same_test_clips(tmp_path: Path) -> None:
    """A support vector machine on the parent's predictions alone. Those of the validation clips name the class; those of
    training clips do not exist, and the truth of training clips is turned, so a model that learned from them is wrong."""
    from mien.training.loop import train_run

    dataset = tiny.dataset(61)
    protocol = ProtocolConfig(folds=3, validation=0.5)
    split = dataset.splits(protocol)[0]
    truth = dataset.target.truth.copy()
    truth[split.train] = (truth[split.train] + 1) % 3
    dataset = dataclasses.replace(dataset, target=tiny.classes(truth), columns={})
    target = dataset.target.spec
    run = Run(Folder(f"{tmp_path}/voice/0123abcd/seed-0/fold-0").make(), 0, 0)
    run.folder.write_json("experiment.json", Experiment(name="voice").to_json())
    run.folder.write_json("split.json", split_record(split, dataset.clip_ids, dataset.subjects))
    run.folder.write_json("model/recipe.json", {"target": dataclasses.asdict(target)})
    sides = {}
    for side, rows in (("validation", split.validation), ("test", split.test)):
        columns = (
            np.array([text[row] for row in rows]) for text in (dataset.clip_ids, dataset.subjects, dataset.corpora)
        )
        sides[side] = Predicted(*columns, truth[rows], 0.2 + 0.4 * np.eye(3)[truth[rows]])
    write_predictions(run, target, sides)
    run.finish()

    experiment = Experiment(
        name="fusion",
        data=DataConfig(features=()),
        protocol=protocol,
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy"),
        model=SvmConfig(),
        parents=("voice/0123abcd",),
    )
    child = Run(Folder(tmp_path / "child").make(), 0, 0)
    metrics = train_run(child, experiment, dataset, split, parents=(run,))
    assert child.history()[0]["n_samples"] == len(split.validation)
    table = child.predictions().to_pydict()
    assert sorted(table["clip_id"]) == sorted(dataset.clip_ids[row] for row in split.test)
    assert set(table["side"]) == {"test"}
    assert metrics["test"]["uar"] == 1.0
