"""What a run predicts of its test clips under conditions: which, of what inputs, and as it is written and read."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from mien.data import disturb
from mien.data.batches import Batch
from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import DamagedError, MienError
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    MlpConfig,
    ProtocolConfig,
    SvmConfig,
    TrainingConfig,
)
from mien.experiment.target import TargetSpec
from mien.families import FAMILIES
from mien.families.contract import Family, Group, Predictions, Rate, Task
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder
from mien.results.conditions import Condition, Conditioned, read_conditions, write_conditions
from mien.results.json_values import Json
from mien.results.report import report
from mien.results.run import Run, Series
from mien.results.uncertainty import entropy
from mien.training.conditions import DRAWS, FEW_DRAWS, FEW_LEVELS, LEVELS, planned
from mien.training.loop import train_run
from mien.training.place import Place

CLASSES, PLANE = (
    TargetSpec("classes", tiny.CLASSES, "uar"),
    TargetSpec("dimensions", tiny.DIMENSIONS, "ccc"),
)
VOICE_AND_FACE = ("voice", "face")


def spec(name: str, modality: str, codec: str | None = None) -> FeatureSpec:
    if codec:
        return FeatureSpec(name=name, version=1, modality=modality, shape=(8, 8, 3), codec="jpeg", hop_s=0.04)
    return FeatureSpec(name=name, version=1, modality=modality, shape=(3,), hop_s=0.1, columns=("a", "b", "c"))


def experiment(storage: Path | str = "runs", **changes: Any) -> Experiment:
    return Experiment(
        **{
            "name": "worth",
            "data": DataConfig(corpora=("c",), features=VOICE_AND_FACE),
            "protocol": ProtocolConfig(folds=2),
            "augment": AugmentConfig(kind="none"),
            "model": SvmConfig(),
            "execution": ExecutionConfig(storage=str(storage)),
        }
        | changes
    )


def two_inputs(n_clips: int = 41, kind: str = "classes") -> Dataset:
    data = tiny.dataset(n_clips, kind=kind)
    return dataclasses.replace(data, columns={name: data.columns[name] for name in VOICE_AND_FACE})


# ------------------------------------------------------------------ which


def test_every_subset_of_the_modalities_is_hidden_parents_one_by_one_and_features_of_one_together():
    specs = [
        *(spec("eeg-bands", "eeg"), spec("physio", "body"), spec("physio-raw", "body")),
        *(spec("affect-eeg", "prediction"), spec("affect-face", "prediction")),
    ]
    named = {one.name: one for one in specs}
    assert disturb.modalities_of(named) == {
        "eeg": ("eeg-bands",),
        "body": ("physio", "physio-raw"),
        "affect-eeg": ("affect-eeg",),
        "affect-face": ("affect-face",),
    }
    found = planned(FAMILIES["mlp"], named)
    hidden = [condition.hidden for condition in found if condition.hidden]
    assert len(set(hidden)) == len(hidden) == 2**4 - 1
    assert ("body", "affect-face") in hidden
    assert [condition.noise for condition in found if condition.noise] == list(LEVELS)
    assert [condition.draws for condition in found if condition.draws] == [DRAWS]


def test_what_a_model_cannot_do_is_not_asked():
    one_modality = {"egemaps": spec("egemaps", "audio"), "compare": spec("compare", "audio")}
    assert not any(condition.hidden for condition in planned(FAMILIES["mlp"], one_modality))
    assert not any(condition.draws for condition in planned(FAMILIES["svm"], one_modality))
    parents = {name: spec(name, "prediction") for name in ("a", "b")}
    assert {c.hidden for c in planned(FAMILIES["svm"], parents)} == {("a",), ("b",), ("a", "b")}, (
        "parents take no noise"
    )
    film = {"frames": spec("frames", "video", "jpeg")}
    assert planned(FAMILIES["resnet3d_lstm"], film) == [
        *(Condition(noise=level) for level in FEW_LEVELS),
        Condition(draws=FEW_DRAWS),
    ]
    many = {f"f{i}": spec(f"f{i}", f"m{i}") for i in range(7)}
    sizes = [len(c.hidden) for c in planned(FAMILIES["svm"], many) if c.hidden]
    assert sorted(sizes) == [1] * 7 + [6] * 7 + [7], "each left out, each alone, and none"


# ------------------------------------------------------------------ of what inputs


def test_noise_is_the_same_draw_at_every_level_and_another_for_each_clip_and_seed():
    data = tiny.dataset()
    frames = {name: column[1] for name, column in data.columns.items()}
    valid = frames["voice"].valid.copy()
    valid[2] = False
    frames["voice"] = Frames(np.where(valid[:, None], frames["voice"].values, np.float32(0)), valid)

    def added(level: float, *parts: object) -> dict[str, np.ndarray]:
        found = disturb.noisy(frames, level, data.specs, *parts)
        return {name: one.values - frames[name].values for name, one in found.items()}

    small, large = added(0.1, 3, "c/001"), added(2.0, 3, "c/001")
    for name in frames:
        np.testing.assert_allclose(small[name] * 20, large[name], atol=1e-4)
        assert not np.allclose(small[name], added(0.1, 4, "c/001")[name])
        assert not np.allclose(small[name], added(0.1, 3, "c/002")[name])
    assert not large["voice"][2].any(), "a frame that is masked stays zeros"
    many = Frames(np.zeros((4000, 7), np.float32), np.ones(4000, bool))
    noise = disturb.noisy({"voice": many}, 0.5, data.specs, 0)["voice"].values
    assert noise.std() == pytest.approx(0.5, rel=0.02)


def test_pictures_get_noise_in_their_own_spread_and_stay_pictures():
    data = tiny.dataset()
    film = tiny.film(data)
    found = disturb.noisy({"film": film[3]}, 0.5, {"film": film.spec}, 0)["film"]
    assert found.values.dtype == np.uint8
    assert not found.values[~found.valid].any()
    before = film[3].values[found.valid].astype(float)
    change = found.values[found.valid] - before
    inside = (before > 60) & (before < 180)  # elsewhere values are cut at 0 and 255
    assert change[inside].std() == pytest.approx(0.5 * before.std(), rel=0.1)


class Echo:
    """A learner that predicts what it can see of its inputs: whether each is there, and a digest of the first one.

    Its dropout draws a number for each row from the seed alone.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        return {"loss": 1.0, "n_samples": sum(int(batch.weights.sum()) for batch in batches)}

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        values, rows = [], []
        for batch in batches:
            real = batch.rows >= 0
            there = np.stack([mask.any(axis=1) for mask in batch.masks.values()], axis=1)[real]
            first = np.abs(batch.values["voice"]).sum(axis=(1, 2))[real]
            p = np.column_stack([0.1 + 0.2 * there, 0.01 * np.tanh(first / 1000)])
            if dropout is not None and self.task.model.dropout:
                p[:, 0] += 0.1 * np.random.default_rng(dropout).random(len(p))
            values.append(p / p.sum(axis=1, keepdims=True))
            rows.append(batch.rows[real])
        return Predictions(np.concatenate(values).astype(np.float32), np.concatenate(rows))

    def save(self, folder: Path) -> None:
        (folder / "echo").write_text("")

    load = export = restore = save


@pytest.fixture
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "mlp", Family(config=MlpConfig, framework="sklearn", learner="test_conditions:Echo"))


ECHO = {"model": MlpConfig(), "training": TrainingConfig(epochs=1, patience=1, batch_size=8)}


def conditions_of(folder: Path, data: Dataset, asked: Experiment) -> tuple[list[str], dict[Condition, Conditioned]]:
    run = Run(Folder(folder), 3, 0)
    train_run(run, asked, data, data.splits(asked.protocol)[0])
    found = read_conditions(run, data.target.spec)
    assert found is not None
    return found[0].tolist(), found[1]


@pytest.mark.usefixtures("_echo")
def test_a_finished_run_says_what_it_predicted_under_each_condition(tmp_path):
    data = two_inputs()
    clip_ids, found = conditions_of(tmp_path, data, experiment(**ECHO))
    split = data.splits(experiment().protocol)[0]
    assert clip_ids == [data.clip_ids[row] for row in split.test]
    assert set(found) == {
        *(Condition(hidden=hidden) for hidden in (("audio",), ("video",), ("audio", "video"))),
        *(Condition(noise=level) for level in LEVELS),
        Condition(draws=DRAWS),
    }
    has_face = data.columns["face"].lengths[split.test] > 0
    no_voice = found[Condition(hidden=("audio",))].values
    assert (no_voice[has_face, 1] > 2 * no_voice[has_face, 0]).all(), "the voice is not there, the face is"
    assert no_voice[~has_face, 1] == pytest.approx(no_voice[~has_face, 0]), "neither is"
    counts = np.bincount(data.target.truth[split.train], minlength=3)
    nothing = found[Condition(hidden=("audio", "video"))].values
    np.testing.assert_allclose(nothing, np.tile(counts / counts.sum(), (len(clip_ids), 1)), rtol=1e-6)
    louder = [found[Condition(noise=level)].values[:, 2] for level in LEVELS]
    assert all((two > one).all() for one, two in itertools.pairwise(louder[1:])), "more noise, larger numbers"
    drawn = found[Condition(draws=DRAWS)]
    assert drawn.within is not None
    gap = entropy(drawn.values) - drawn.within[:, 0]
    assert gap.min() > 0, "the draws differ, so their mean is less sure than they are"


@pytest.mark.usefixtures("_echo")
def test_they_are_the_same_again(tmp_path):
    data = two_inputs()
    _, one = conditions_of(tmp_path / "a", data, experiment(**ECHO))
    _, again = conditions_of(tmp_path / "b", data, experiment(**ECHO))
    for condition in one:
        np.testing.assert_array_equal(one[condition].values, again[condition].values)


@pytest.mark.usefixtures("_echo")
def test_a_model_that_drops_nothing_has_no_draws_and_who_does_not_ask_has_no_file(tmp_path):
    data = two_inputs()
    still = experiment(model=MlpConfig(dropout=0.0), training=ECHO["training"])
    _, found = conditions_of(tmp_path / "still", data, still)
    assert not any(condition.draws for condition in found)
    quiet = experiment(**ECHO | {"execution": ExecutionConfig(conditions=False)})
    run = Run(Folder(tmp_path / "quiet"), 3, 0)
    train_run(run, quiet, data, data.splits(quiet.protocol)[0])
    assert read_conditions(run, data.target.spec) is None
    assert quiet.signature({}) == experiment(**ECHO).signature({}), "what is asked of a model decides nothing in it"


@pytest.mark.usefixtures("_echo")
def test_two_workers_predict_the_conditions_of_one(tmp_path):
    """Each in a thread, which meet where their arrays are added up; a draw is another one in other company."""
    data = two_inputs()
    asked = experiment(**ECHO)
    split = data.splits(asked.protocol)[0]
    _, alone = conditions_of(tmp_path / "alone", data, asked)
    meeting = threading.Barrier(2, timeout=60)
    brought: list[np.ndarray] = [np.zeros(0)] * 2

    def work(rank: int) -> None:
        def total(array: np.ndarray) -> np.ndarray:
            brought[rank] = array
            meeting.wait()
            summed = brought[0] + brought[1]
            meeting.wait()
            return summed

        place = Place(Group(rank, 2, total))
        run = Run(Folder(tmp_path / "both"), 3, 0)
        # As Ray's report does, nobody goes on before rank 0 has saved the epoch.
        train_run(run, asked, data, split, place=place, report=lambda record: meeting.wait())

    with ThreadPoolExecutor(2) as workers:
        for done in [workers.submit(work, rank) for rank in (0, 1)]:
            done.result()
    _, both = read_conditions(Run(Folder(tmp_path / "both"), 3, 0), data.target.spec) or ([], {})
    assert both.keys() == alone.keys()
    for condition, one in both.items():
        if not condition.draws:
            np.testing.assert_array_equal(one.values, alone[condition].values)
        np.testing.assert_allclose(one.values.sum(axis=1), 1, rtol=1e-6)


# ------------------------------------------------------------------ as they are written


def test_what_is_written_comes_back_sorted_by_clip(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    plain = Conditioned(np.array([[0.5, -0.25], [0.125, 1.0]]))
    drawn = Conditioned(np.array([[0.25, 0.5], [0.75, 0.0]]), np.array([[0.5, 0.25], [0.125, 0.0]]))
    hidden, draws = Condition(hidden=("audio", "video")), Condition(draws=7)
    write_conditions(run, PLANE, ["c/2", "c/1"], {hidden: plain, draws: drawn})
    clip_ids, found = read_conditions(run, PLANE) or ([], {})
    assert list(clip_ids) == ["c/1", "c/2"]
    assert list(found) == [hidden, draws]
    np.testing.assert_array_equal(found[hidden].values, plain.values[::-1])
    assert found[hidden].within is None
    np.testing.assert_array_equal(found[draws].within, drawn.within[::-1])
    with pytest.raises(MienError, match=r"conditions.parquet lacks draw_entropy, p_anger, p_fear, p_neutral; delete"):
        read_conditions(run, CLASSES)
    with pytest.raises(ValueError, match=r"of 3 clips and valence, arousal"):
        write_conditions(run, PLANE, ["a", "b", "c"], {hidden: plain})


def test_a_file_that_is_not_what_was_written_is_damaged(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    write_conditions(run, PLANE, ["c/1"], {Condition(noise=1.0): Conditioned(np.array([[0.5, 0.5]]))})
    run.finish()
    assert read_conditions(run, PLANE) is not None
    path = tmp_path / "conditions.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="conditions.parquet: damaged"):
        read_conditions(run, PLANE)
    path.unlink()
    with pytest.raises(DamagedError, match="conditions.parquet: damaged"):
        read_conditions(run, PLANE)


# ------------------------------------------------------------------ from training to the report


@pytest.mark.slow
def test_of_a_modality_that_carries_the_label_and_one_that_is_noise_the_report_says_so(tmp_path):
    data = two_inputs(123)
    rng = np.random.default_rng(0)

    def noise(row: int) -> Frames | None:
        frames = data.columns["face"][row]
        return Frames(rng.normal(size=frames.values.shape).astype(np.float32), frames.valid)

    face = InMemory(data.columns["face"].spec, [noise(row) for row in range(len(data))])
    data = dataclasses.replace(data, columns={"voice": data.columns["voice"], "face": face})
    asked = experiment(tmp_path)
    series = Series.create(asked, "0123abcd")
    series.folder.write_json("data.json", data.summary(), sealed=True)
    for split in data.splits(asked.protocol):
        run = series.run(0, split.fold)
        train_run(run, asked, data, split)
        run.folder.write_text("report.html", "")
    report(series)
    of: Json = series.folder.read_json("metrics.json")["modalities"]
    score = {tuple(row["seen"]): row["score"]["value"] for row in of["subsets"]}
    assert score[("audio", "video")] > 0.9
    assert score[()] == pytest.approx(1 / 3, abs=0.02)  # each fold guesses its own commonest class
    share = {name: one["value"] for name, one in of["shapley"].items()}
    assert share["audio"] > 0.5
    assert abs(share["video"]) < 0.1
    assert sum(share.values()) == pytest.approx(score[("audio", "video")] - score[()])
    (pair,) = of["pairs"]
    assert pair["only_one"] > 0.5
    assert pair["only_other"] < 0.05
    page = series.folder.read_text("report.html")
    assert "Not a fair comparison of modalities." in page, "a support vector machine never learnt to do without"
    assert b"FontFile2" in series.folder.read_bytes("modality_shares.pdf")
