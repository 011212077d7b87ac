"""Which pictures a model sees: drawn in training, the middle ones to predict, and no others are decoded."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from mien.data.augment import augment
from mien.data.batches import Batch
from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.data.feed import Feed
from mien.data.pictures import CENTRE, PictureChoice, drawn_phase
from mien.errors import ExperimentError
from mien.experiment import AugmentConfig, DataConfig, Experiment, MlpConfig, TrainingConfig
from mien.experiment.target import TargetSpec
from mien.families.recipe import ModelRecipe
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import rows as store_rows
from mien.features.store.rows import encoded
from mien.training.baseline import baseline_of, has_baseline
from mien.training.refusals import check_launch

SPEC = FeatureSpec(
    name="frames", version=1, modality="video", shape=(8, 8, 3), codec="jpeg", hop_s=0.04, settings={"quality": 95}
)
N_CLIPS = 41  # as many as the tiny dataset has
ROWS = np.arange(N_CLIPS)
SPREAD = Experiment(
    name="pictures",
    data=DataConfig(corpora=("c",), features=("frames",), pictures=5),
    augment=AugmentConfig(kind="none"),
    training=TrainingConfig(batch_size=7),
)


def setting(experiment: Experiment = SPREAD, augment: AugmentConfig | None = None, **data: Any) -> Experiment:
    return dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, **data), augment=augment or experiment.augment
    )


def n_frames(row: int) -> int:
    """0 to 30: clips without a picture, shorter and longer than the choice."""
    return (7 * row) % 31


def clip(row: int) -> Frames:
    """Picture k of a clip is all of brightness 8·k, so that it says which it is; every sixth has no face."""
    values = np.repeat(np.arange(n_frames(row), dtype=np.uint8) * 8, 192).reshape(-1, *SPEC.shape)
    valid = np.arange(row, row + n_frames(row)) % 6 != 0
    return Frames(values * valid[:, None, None, None], valid)


@pytest.fixture(scope="module")
def data() -> Dataset:
    files = [Frames(encoded(clip(row), SPEC), clip(row).valid) if n_frames(row) else None for row in ROWS.tolist()]
    return dataclasses.replace(tiny.dataset(), columns={"frames": InMemory(SPEC, files)})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each file was decoded since."""
    counted: Counter[bytes] = Counter()
    usual = store_rows.decode_jpeg
    monkeypatch.setattr(store_rows, "decode_jpeg", lambda file: counted.update([file]) or usual(file))
    return counted


def seen(batches: list[Batch]) -> dict[int, list[list[int]]]:
    """Row to the numbers of the pictures that were seen of it, once for each example."""
    found: dict[int, list[list[int]]] = {}
    for batch in batches:
        for i, row in enumerate(batch.rows.tolist()):
            if row >= 0:
                brightness = batch.values["frames"][i][batch.masks["frames"][i]].mean(axis=(1, 2, 3))
                found.setdefault(row, []).append(np.rint(brightness / 8).astype(int).tolist())
    return {row: sorted(examples) for row, examples in found.items()}


def expected(row: int, choice: PictureChoice, phase: float) -> list[int]:
    valid = clip(row).valid
    return [k for k in choice.positions(n_frames(row), phase).tolist() if valid[k]]


@given(
    n=st.integers(1, 60), step=st.integers(0, 7), length=st.integers(0, 200), phase=st.floats(0, 1, exclude_max=True)
)
def test_a_choice_is_even_and_within_the_clip(n: int, step: int, length: int, phase: float) -> None:
    which = PictureChoice(n=n, step=step).positions(length, phase)
    gaps = np.diff(which)
    if step:
        assert len(which) == min(n, -(-length // step)) or (len(which) <= n and length >= (n - 1) * step + 1)
        assert (gaps == step).all()
        assert length <= (n - 1) * step or len(which) == n
    else:
        assert len(which) == min(n, length)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
    assert which.size == 0 or (which[0] >= 0 and which[-1] < length)


def test_every_window_is_drawn_and_none_more_often() -> None:
    """Ten starts of a window of 4 pictures, step 3, in a clip of 19; the middle one to predict."""
    choice = PictureChoice(n=4, step=3)
    keys = np.arange(3000, dtype=np.uint64)
    starts = [int(choice.positions(19, drawn_phase(key, 0, 1, 2))[0]) for key in keys]
    counts = np.bincount(starts)
    assert len(counts) == 10
    assert 240 < counts.min() <= counts.max() < 360  # 300 each, and three and a half standard deviations of 16.4
    assert choice.positions(19, CENTRE).tolist() == [5, 8, 11, 14]
    assert PictureChoice().positions(19, 0.9).tolist() == list(range(19))


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 2])
def test_what_is_drawn_depends_on_seed_epoch_and_clip_alone(data: Dataset, step: int) -> None:
    experiment = setting(picture_step=step)
    one = seen(list(Feed(experiment, data, ROWS, 3).training(1)))
    ranks = [batch for rank in (0, 1) for batch in Feed(experiment, data, ROWS, 3, rank=rank, world=2).training(1)]
    assert seen(ranks) == one
    larger = dataclasses.replace(experiment, training=TrainingConfig(batch_size=20))
    assert seen(list(Feed(larger, data, ROWS[::2], 3).training(1))) == {row: one[row] for row in ROWS[::2].tolist()}
    long = [row for row in ROWS.tolist() if n_frames(row) > 12]
    for other in (Feed(experiment, data, ROWS, 3).training(2), Feed(experiment, data, ROWS, 4).training(1)):
        found = seen(list(other))
        assert np.mean([found[row] != one[row] for row in long]) > 0.5


@pytest.mark.parametrize("step", [0, 2])
def test_what_is_predicted_is_the_same_each_time(data: Dataset, step: int) -> None:
    experiment = setting(picture_step=step)
    choice = PictureChoice(n=5, step=step)
    for seed in (3, 4):
        found = seen(list(Feed(experiment, data, ROWS[::2], seed).plain(ROWS)))
        assert found == {row: [expected(row, choice, CENTRE)] for row in ROWS.tolist()}


def test_shorter_clips_are_padded_and_masked(data: Dataset) -> None:
    for batch in [*Feed(SPREAD, data, ROWS, 3).training(1), *Feed(SPREAD, data, ROWS, 3).plain(ROWS[:1])]:
        assert batch.values["frames"].shape[1:] == (5, 8, 8, 3)
        assert batch.values["frames"].dtype == np.uint8
        assert not batch.values["frames"][~batch.masks["frames"]].any()
        for row, mask in zip(batch.rows.tolist(), batch.masks["frames"]):
            assert not mask[n_frames(row) if row >= 0 else 0 :].any()


def test_only_what_is_drawn_is_decoded(data: Dataset, decoded: Counter[bytes]) -> None:
    batches = list(Feed(SPREAD, data, ROWS, 3).training(1))
    assert decoded.total() == sum(batch.masks["frames"].sum() for batch in batches)
    assert 0 < decoded.total() <= 5 * N_CLIPS
    decoded.clear()
    list(Feed(setting(pictures=0), data, ROWS, 3).training(1))
    assert decoded.total() == sum(clip(row).valid.sum() for row in ROWS.tolist())


def test_copies_see_others_and_what_is_stretched_is_chosen_after(data: Dataset, decoded: Counter[bytes]) -> None:
    stretched = setting(picture_step=1, augment=AugmentConfig(kind="sync", factor=2, probability=1, stretch=(0.5, 0.5)))
    examples = seen(list(Feed(stretched, data, ROWS, 3).training(1)))
    assert {len(some) for some in examples.values()} == {2}
    gaps: Counter[int] = Counter()
    for row, some in examples.items():
        if n_frames(row) > 20 and all(len(one) > 1 for one in some):
            gaps.update(min(np.diff(one)) for one in some)
    assert gaps[1] == gaps[2] > 5  # half of the examples run at double speed
    assert decoded.total() <= 2 * 5 * N_CLIPS


def test_other_inputs_are_left_as_they_are(data: Dataset) -> None:
    both = dataclasses.replace(data, columns={**tiny.dataset().columns, **data.columns})
    experiment = setting(features=("voice", "face", "row", "frames"))
    alone = setting(features=("voice", "face", "row"), pictures=0)
    for one, other in zip(
        Feed(experiment, both, ROWS, 3).plain(ROWS), Feed(alone, tiny.dataset(), ROWS, 3).plain(ROWS), strict=True
    ):
        for name in ("voice", "face", "row"):
            np.testing.assert_array_equal(one.values[name], other.values[name])


def test_signatures_are_what_they_were_without_a_choice() -> None:
    """Of the default experiment, as it was before there was such a choice."""
    assert Experiment(name="x").signature({}) == "23501f2a"
    everything = setting(pictures=0)
    assert setting(everything, picture_step=3).signature({}) == everything.signature({})
    others = {setting(pictures=n, picture_step=step).signature({}) for n, step in ((0, 0), (5, 0), (6, 0), (5, 1))}
    assert len(others) == 4


def test_a_model_keeps_its_choice_and_older_ones_have_none() -> None:
    recipe = ModelRecipe(
        model=MlpConfig(),
        training=TrainingConfig(),
        loss=SPREAD.loss,
        seed=0,
        target=TargetSpec("classes", ("anger", "fear"), "uar"),
        inputs={"frames": SPEC},
        extractors={"frames": None},
        normalise="train",
        is_synthetic=False,
        pictures=48,
        picture_step=2,
    )
    written = json.loads(json.dumps(recipe.to_json()))
    assert ModelRecipe.from_json(written) == recipe
    older = {key: value for key, value in written.items() if not key.startswith("picture")}
    assert ModelRecipe.from_json(older) == dataclasses.replace(recipe, pictures=0, picture_step=0)


def test_a_choice_without_pictures_is_refused(data: Dataset) -> None:
    with pytest.raises(ExperimentError, match=r"data\.pictures is 5, and none of voice, face, row is of pictures"):
        check_launch(dataclasses.replace(SPREAD, model=MlpConfig()), tiny.dataset(), [])
    with pytest.raises(ValueError, match=r"data\.picture_step is -1: 0 or more"):
        DataConfig(picture_step=-1)


def test_pictures_have_no_baseline_and_it_is_not_asked_for_after_the_training(data: Dataset) -> None:
    """What the support vector machine cannot read it would refuse, when all else was trained."""
    assert not has_baseline(SPREAD, data.specs)
    with pytest.raises(ExperimentError, match=r"svm does not read frames \(pictures\): it reads row, sequence"):
        check_launch(baseline_of(SPREAD), data, [])
    numbers = tiny.dataset().specs
    assert has_baseline(SPREAD, numbers)
    assert not has_baseline(SPREAD, numbers | data.specs)
    assert not has_baseline(baseline_of(SPREAD), numbers)
    assert not has_baseline(SPREAD, {}), "a late fusion reads what its parents predict"


def test_stored_pictures_are_arrays_to_numpy(data: Dataset) -> None:
    row = 4
    pictures, whole = data.columns["frames"][row].values, np.asarray(data.columns["frames"][row].values)
    assert (pictures.shape, pictures.dtype, len(pictures)) == (whole.shape, whole.dtype, n_frames(row))
    repeated = np.array([3, 3, 0, 27, 3])
    for which in (slice(2, 9, 3), clip(row).valid, repeated, np.zeros(0, np.int64)):
        np.testing.assert_array_equal(np.asarray(pictures[which]), whole[which])
    np.testing.assert_array_equal(np.asarray(pictures[repeated][1:4]), whole[[3, 0, 27]])
    np.testing.assert_array_equal(np.rint(whole.mean(axis=(1, 2, 3)) / 8), np.arange(28) * clip(row).valid)


# ------------------------------------------------------------------ pixels


def pictures(n: int = 5) -> Frames:
    rng = np.random.default_rng(1)
    values = rng.integers(40, 180, (n, 8, 8, 3)).astype(np.uint8)
    valid = np.arange(n) != 2
    return Frames(values * valid[:, None, None, None], valid)


def repainted(seed: int = 0, **settings: Any) -> np.ndarray:
    one = {"flip": 0.0, "brightness": (1.0, 1.0), "contrast": (1.0, 1.0)} | settings
    rng = np.random.default_rng(seed)
    config = AugmentConfig(kind="pixels", **one)
    return augment({"film": pictures()}, modalities={"film": "video"}, config=config, rng=rng)["film"].values


def test_pixels_are_mirrored_brighter_and_of_more_contrast_by_their_formulas() -> None:
    before, valid = pictures()
    np.testing.assert_array_equal(repainted(), before)
    np.testing.assert_array_equal(repainted(flip=1.0), before[:, :, ::-1])
    brighter = np.clip(np.rint(before * np.float32(1.5)), 0, 255)
    np.testing.assert_array_equal(repainted(brightness=(1.5, 1.5)), brighter)
    mean = before[valid].mean()
    np.testing.assert_allclose(
        repainted(contrast=(0.5, 0.5))[valid].astype(float), mean + 0.5 * (before[valid] - mean), atol=0.51
    )
    assert not repainted(brightness=(0.5, 0.5), contrast=(0.2, 0.2))[~valid].any(), "a masked picture stays black"


def test_all_pictures_of_a_clip_are_changed_alike() -> None:
    """Else a face would flicker, and a model of motion would learn that."""
    before, valid = pictures()
    for seed in range(5):
        after = repainted(seed, flip=0.5, brightness=(0.7, 1.2), contrast=(0.7, 1.2)).astype(float)
        lines = [np.polyfit(before[k].ravel(), after[k].ravel(), 1) for k in np.flatnonzero(valid)]
        turned = [np.polyfit(before[k][:, ::-1].ravel(), after[k].ravel(), 1) for k in np.flatnonzero(valid)]
        residuals = [
            np.abs(np.polyval(line, before[k].ravel()) - after[k].ravel()).max()
            for line, k in zip(lines, np.flatnonzero(valid))
        ]
        fits = lines if max(residuals) < 1.5 else turned
        assert np.ptp(fits, axis=0)[0] < 0.02
        assert np.ptp(fits, axis=0)[1] < 1.5


def test_pixels_are_drawn_anew_in_each_epoch_and_never_to_predict(data: Dataset) -> None:
    experiment = setting(augment=AugmentConfig(kind="pixels"), pictures=0)
    plain = setting(pictures=0)

    def fed(experiment: Experiment, epoch: int, rank: int = 0, world: int = 1) -> dict[int, np.ndarray]:
        feed = Feed(experiment, data, ROWS, 0, rank=rank, world=world)
        batches = feed.training(epoch) if epoch else feed.plain(ROWS)
        return {int(r): v for b in batches for r, v in zip(b.rows, b.values["frames"]) if r >= 0}

    one, again, two = fed(experiment, 1), fed(experiment, 1), fed(experiment, 2)
    assert sorted(one) == ROWS.tolist(), "no copies"
    both = fed(experiment, 1, 0, 2) | fed(experiment, 1, 1, 2)
    long = [row for row in ROWS if n_frames(row) > 6]
    for row in long:
        n = n_frames(row)
        np.testing.assert_array_equal(one[row][:n], again[row][:n])
        np.testing.assert_array_equal(one[row][:n], both[row][:n])
    assert (
        sum(not np.array_equal(one[row][: n_frames(row)], two[row][: n_frames(row)]) for row in long) > len(long) // 2
    )
    predicted, untouched = fed(experiment, 0), fed(plain, 0)
    assert all(np.array_equal(predicted[row], untouched[row]) for row in ROWS)
