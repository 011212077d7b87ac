"""Target: classes and dimensions of clips, and why a clip has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mien.corpora.clip import Clip, Label, Rating
from mien.corpora.emotions import VOCABULARIES
from mien.data.targets import N_BINS, read_target, reason_without_target, target_spec
from mien.errors import ExperimentError
from mien.experiment import ClassesConfig, DimensionsConfig


def clip(*labels: Label) -> Clip:
    return Clip(id="c/1", corpus="c", subject="c/s", media={}, labels=labels)


def intended(emotion: str | None, **votes: float) -> Clip:
    return clip(Label(source="intended", emotion=emotion, votes=votes))


def rated(**values: float) -> Clip:
    """From 1 to 9."""
    ratings = {name: Rating(value=value, low=1, high=9) for name, value in values.items()}
    return clip(Label(source="annotated", ratings=ratings))


COMMON6 = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def test_classes_are_counted_in_the_order_of_the_vocabulary():
    target = read_target([intended(name) for name in reversed(COMMON6)], ClassesConfig())
    assert (target.spec.kind, target.spec.names, target.spec.primary) == ("classes", COMMON6, "uar")
    assert target.truth.tolist() == target.strata.tolist() == [5, 4, 3, 2, 1, 0]
    np.testing.assert_array_equal(target.values, np.eye(6)[::-1])
    assert target.mask.all()
    assert target.mask.shape == (6, 6)
    assert target.summary() == {"class_counts": dict.fromkeys(COMMON6, 1), "merged": {}}


def test_merged_emotions_are_counted_by_their_own_names():
    target = read_target([intended("calm"), intended("neutral"), intended("calm")], ClassesConfig())
    assert target.summary()["class_counts"]["neutral"] == 3
    assert target.summary()["merged"] == {"calm": 2}


@pytest.mark.parametrize(
    ("vocabulary", "merge", "expected"),
    [
        ("common6", {"calm": "neutral"}, "neutral"),
        ("common6", {"calm": "sadness"}, "sadness"),
        ("common6", {}, None),
        ("common6", {"surprise": "fear"}, None),
        ("ravdess8", {"calm": "neutral"}, "calm"),  # the vocabulary has it
    ],
)
def test_what_the_vocabulary_lacks_is_merged_or_left_out(vocabulary, merge, expected):
    config = ClassesConfig(vocabulary=vocabulary, merge=merge)
    reason = reason_without_target(intended("calm"), config)
    assert reason == ("" if expected else "calm is not among the classes")
    if expected:
        target = read_target([intended("calm")], config)
        assert target.spec.names[target.truth[0]] == expected


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ((), "no intended label"),
        ((Label(source="intended"),), "no intended label"),  # no majority
        ((Label(source="perceived-face", emotion="fear"),), "no intended label"),
        ((Label(source="intended", emotion="surprise"),), "surprise is not among the classes"),
        ((Label(source="intended", emotion="fear"),), ""),
        ((Label(source="intended"), Label(source="intended", emotion="fear")), ""),  # the first has ratings, say
    ],
)
def test_why_a_clip_has_no_class(labels, reason):
    assert reason_without_target(clip(*labels), ClassesConfig()) == reason


def test_soft_labels_are_the_shares_of_the_votes_that_count():
    """Of surprise there is no class; calm counts as neutral; what is scored stays the majority's."""
    voted = intended("fear", fear=0.4, neutral=0.1, calm=0.1, surprise=0.4)
    unvoted, all_elsewhere = intended("anger"), intended("anger", surprise=1.0)
    hard = read_target([voted, unvoted, all_elsewhere], ClassesConfig())
    soft = read_target([voted, unvoted, all_elsewhere], ClassesConfig(soft=True))
    np.testing.assert_array_equal(hard.values, np.eye(6)[[2, 0, 0]])
    np.testing.assert_allclose(soft.values[0], [0, 0, 0.4 / 0.6, 0, 0.2 / 0.6, 0], rtol=1e-6)
    np.testing.assert_array_equal(soft.values[1:], np.eye(6)[[0, 0]])
    assert soft.truth.tolist() == hard.truth.tolist() == [2, 0, 0]


def test_ratings_come_normalised_and_what_is_missing_is_masked():
    clips = [rated(valence=1, arousal=9), rated(valence=7), rated(arousal=3), rated(valence=5, arousal=5, power=9)]
    target = read_target(clips, DimensionsConfig())
    assert (target.spec.kind, target.spec.names, target.spec.primary) == ("dimensions", ("valence", "arousal"), "ccc")
    np.testing.assert_array_equal(target.truth, [[-1, 1], [0.5, np.nan], [np.nan, -0.5], [0, 0]])
    np.testing.assert_array_equal(target.values, [[-1, 1], [0.5, 0], [0, -0.5], [0, 0]])
    np.testing.assert_array_equal(target.mask, [[1, 1], [1, 0], [0, 1], [1, 1]])
    assert target.truth.dtype == target.values.dtype == np.float32
    summary = target.summary()["ratings"]
    assert summary["valence"]["n_clips"] == 3
    np.testing.assert_allclose(summary["valence"]["mean"], -0.5 / 3, rtol=1e-6)
    np.testing.assert_allclose(summary["arousal"]["sd"], np.std([1, -0.5, 0]), rtol=1e-6)


def test_a_clip_without_any_of_the_dimensions_is_left_out():
    config = DimensionsConfig()
    assert reason_without_target(rated(power=3), config) == "no annotated rating of valence or arousal"
    assert reason_without_target(clip(), config) == "no annotated rating of valence or arousal"
    assert reason_without_target(rated(arousal=3), config) == ""
    assert reason_without_target(rated(arousal=3), DimensionsConfig(source="self-report")) != ""


def test_ratings_may_be_a_second_label_of_their_source():
    labels = (Label(source="annotated", emotion="fear"), *rated(valence=7, arousal=1).labels)
    np.testing.assert_array_equal(read_target([clip(*labels)], DimensionsConfig()).truth, [[0.5, -1]])


def test_strata_are_fifths_of_the_first_dimension():
    rng = np.random.default_rng(0)
    values = rng.permutation(np.linspace(1, 9, 55))
    target = read_target([rated(valence=value, arousal=5) for value in values], DimensionsConfig())
    assert np.bincount(target.strata).tolist() == [11] * N_BINS
    assert all(np.diff(target.strata[np.argsort(values)]) >= 0)


def test_clips_that_lack_the_first_dimension_are_a_stratum_of_their_own():
    target = read_target([rated(valence=1), rated(arousal=1), rated(arousal=9, valence=1)], DimensionsConfig())
    assert target.strata[1] == N_BINS
    assert target.strata[0] == target.strata[2] < N_BINS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ClassesConfig(source="intent"), "target.source 'intent': the nearest is intended"),
        (DimensionsConfig(source="annotatd"), "target.source 'annotatd': the nearest is annotated"),
        (
            ClassesConfig(vocabulary="big6"),
            f"target.vocabulary 'big6': choose from {', '.join(VOCABULARIES)}, or list classes of your own: angry,happy,sad",
        ),
        (
            ClassesConfig(merge={"calm": "relief"}),
            "target.merge counts calm as 'relief', which is no class of common6: choose from " + ", ".join(COMMON6),
        ),
    ],
)
def test_a_wrong_field_is_named(config, message):
    with pytest.raises(ExperimentError) as error:
        target_spec(config)
    assert str(error.value) == message


def test_a_dimension_that_no_clip_was_rated_for_is_named():
    config = DimensionsConfig(names=("valence", "arousl"))
    with pytest.raises(ExperimentError) as error:
        read_target([rated(valence=1, arousal=3)], config)
    assert str(error.value) == (
        "target.names has 'arousl', and no clip has a rating of it from annotated: the nearest is arousal"
    )


def test_no_clips_have_an_empty_target():
    configs: Mapping[str, Any] = {"classes": ClassesConfig(), "dimensions": DimensionsConfig()}
    for kind, config in configs.items():
        target = read_target([], config)
        assert (target.spec.kind, len(target), target.mask.shape[0], len(target.strata)) == (kind, 0, 0, 0)
