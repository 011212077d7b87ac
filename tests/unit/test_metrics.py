"""Metrics against scikit-learn, audmetric and their formulas written out; intervals against a plain loop."""

from __future__ import annotations

import json
import math

import audmetric
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mien.errors import ExperimentError
from mien.experiment.target import TargetSpec
from mien.results import agreement, calibration, classification
from mien.results.intervals import (
    Scored,
    sign_flip_p,
    subject_difference,
    subject_interval,
    subject_values,
    t_quantile,
)
from mien.results.metrics import METRICS, evaluate, metric_named, score

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
SIX = TargetSpec("classes", CLASSES, "uar")
UAR, WA = METRICS["classes"]["uar"], METRICS["classes"]["wa"]
PLAIN = {  # each metric as a function of rows
    "uar": classification.uar,
    "wa": classification.wa,
    "macro_f1": classification.macro_f1,
    "nll": calibration.nll,
    "brier": calibration.brier,
    "ece": calibration.ece,
}
AGREEMENT = {"ccc": agreement.ccc, "pearson": agreement.pearson, "rmse": agreement.rmse, "mae": agreement.mae}


def drawn(seed: int, n: int = 211, k: int = 6, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities that are right more often than chance."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.standard_normal((n, k)) + skill * np.eye(k)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def by_people(seed: int, n_people: int, n_clips: int = 10, skill: float = 1.0) -> Scored:
    """Two classes; people differ in how well they are read."""
    rng = np.random.default_rng(seed)
    hits = rng.random((n_people, n_clips)) < rng.beta(6 * skill, 4, n_people)[:, None]
    truth = rng.integers(0, 2, hits.size)
    prediction = np.where(hits.ravel(), truth, 1 - truth)
    return Scored(truth, prediction, np.repeat([f"s{p}" for p in range(n_people)], n_clips))


# ------------------------------------------------------------------ scores


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), k=st.integers(2, 7))
@settings(deadline=None)
def test_scores_of_the_chosen_class_are_scikit_learns(seed: int, n: int, k: int) -> None:
    truth, p = drawn(seed, n, k)
    chosen, present = p.argmax(axis=1), np.unique(truth)
    recall = sk.recall_score(truth, chosen, labels=present, average="macro", zero_division=0)
    f1 = sk.f1_score(truth, chosen, labels=present, average="macro", zero_division=0)
    for prediction in (p, chosen):
        assert classification.uar(truth, prediction) == pytest.approx(recall, rel=1e-12)
        assert classification.wa(truth, prediction) == pytest.approx(sk.accuracy_score(truth, chosen), rel=1e-12)
        assert classification.macro_f1(truth, prediction) == pytest.approx(f1, rel=1e-12)
    expected = sk.confusion_matrix(truth, chosen, labels=range(k))
    np.testing.assert_array_equal(classification.confusion(truth, p), expected)
    np.testing.assert_array_equal(classification.confusion(truth, chosen, n_classes=k), expected)


def test_uar_is_audmetrics_when_all_classes_occur() -> None:
    truth, p = drawn(0)
    expected = audmetric.unweighted_average_recall(truth, p.argmax(axis=1))
    assert classification.uar(truth, p) == pytest.approx(expected, rel=1e-12)


def test_per_class_is_scikit_learns_and_nan_where_that_guesses() -> None:
    truth, chosen = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    ours = classification.per_class(truth, chosen, n_classes=5)
    theirs = sk.precision_recall_fscore_support(truth, chosen, labels=range(5), zero_division=np.nan)
    for name, expected in zip(("precision", "recall", "f1", "support"), theirs):
        np.testing.assert_allclose(ours[name], expected, err_msg=name)
    assert np.isnan(ours["precision"][2]) and ours["recall"][2] == ours["f1"][2] == 0
    assert np.isnan(ours["recall"][3]) and np.isnan(ours["f1"][3])


def test_probability_scores_are_their_formulas() -> None:
    truth, p = drawn(1)
    assert calibration.nll(truth, p) == pytest.approx(sk.log_loss(truth, p), rel=1e-12)
    brier = np.mean([sum((p[i, k] - (truth[i] == k)) ** 2 for k in range(6)) for i in range(len(truth))])
    assert calibration.brier(truth, p) == pytest.approx(brier, rel=1e-12)
    assert sk.brier_score_loss(truth, p, labels=range(6), scale_by_half=False) == pytest.approx(brier)
    ece = 0.0
    for b in range(15):
        rows = [i for i in range(len(truth)) if b / 15 < p[i].max() <= (b + 1) / 15]
        if rows:
            accuracy = np.mean([p[i].argmax() == truth[i] for i in rows])
            ece += len(rows) / len(truth) * abs(accuracy - np.mean([p[i].max() for i in rows]))
    assert calibration.ece(truth, p) == pytest.approx(ece, rel=1e-12)


def test_reliability_holds_every_row_once_and_adds_up_to_the_ece() -> None:
    truth, p = drawn(2)
    diagram = calibration.reliability(truth, p)
    count = diagram["count"]
    assert count.sum() == len(truth) and count[0] == 0 and np.isnan(diagram["accuracy"][0])
    gap = np.abs(diagram["accuracy"] - diagram["confidence"])
    assert np.nansum(gap * count) / len(truth) == pytest.approx(calibration.ece(truth, p), rel=1e-12)
    edges = calibration.reliability([0, 0], [[1.0, 0.0], [0.6, 0.4]])["count"]
    assert edges[14] == 1 and edges[8] == 1, "a bin holds its upper edge"


@pytest.mark.slow
@given(seed=st.integers(0, 500))
@settings(deadline=None)
def test_risk_coverage_is_the_error_of_the_surest_whatever_the_order(seed: int) -> None:
    truth, p = drawn(seed, n=37)
    surest = np.argsort(-p.max(axis=1))
    wrong = (p.argmax(axis=1) != truth)[surest]
    curve = calibration.risk_coverage(truth, p)
    np.testing.assert_allclose(curve["risk"], [wrong[: n + 1].mean() for n in range(37)], atol=1e-12)
    np.testing.assert_allclose(curve["coverage"], np.arange(1, 38) / 37)
    assert calibration.aurc(truth, p) == pytest.approx(curve["risk"].mean())

    coarse = np.array([[0.7, 0.3], [0.6, 0.4]])[np.arange(37) % 2]  # two levels of confidence: ties throughout
    shuffle = np.random.default_rng(seed).permutation(37)
    assert calibration.aurc(truth % 2, coarse) == pytest.approx(calibration.aurc((truth % 2)[shuffle], coarse[shuffle]))


def test_perfect_and_even_guesses_reach_the_stated_ends() -> None:
    truth = np.repeat(np.arange(6), 4)
    perfect, wrong = np.eye(6)[truth], np.eye(6)[(truth + 1) % 6]
    even = np.full((24, 6), 1 / 6)
    ends = {
        "uar": (1, 0, 1 / 6),
        "wa": (1, 0, 1 / 6),
        "macro_f1": (1, 0, (2 * 4 / (24 + 4)) / 6),
        "nll": (0, -math.log(1e-7), math.log(6)),
        "brier": (0, 2, 1 - 1 / 6),
        "ece": (0, 1, 0),
        "aurc": (0, 1, 5 / 6),
    }
    for name, expected in ends.items():
        plain = (PLAIN | {"aurc": calibration.aurc})[name]
        got = [plain(truth, p) for p in (perfect, wrong, even)]
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=name)
        if name in PLAIN:
            metric = METRICS["classes"][name]
            np.testing.assert_allclose([metric.best, metric.worst], expected[:2], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", [*METRICS["classes"], "aurc"])
def test_what_is_not_defined_is_nan(name: str) -> None:
    truth, p = drawn(3)
    plain = (PLAIN | {"aurc": calibration.aurc})[name]
    assert math.isnan(plain([], np.empty((0, 6))))
    p[5, 2] = np.nan
    assert math.isnan(plain(truth, p))


def test_what_does_not_fit_is_refused() -> None:
    truth, p = drawn(4)
    with pytest.raises(ValueError, match="expected"):
        classification.uar(truth[1:], p)
    with pytest.raises(ValueError, match="classes 0 to 5 of 5"):
        calibration.nll(truth, p[:, :5] / p[:, :5].sum(axis=1, keepdims=True))
    with pytest.raises(ValueError, match="row 7 sum to 3: are they logits"):
        classification.uar(truth, np.where(np.arange(len(p))[:, None] == 7, 0.5, p))
    p[0] = np.inf
    with pytest.raises(ValueError, match="diverged"):
        classification.confusion(truth, p)


def test_all_metrics_together_are_plain_json() -> None:
    truth, p = drawn(5)
    result = evaluate(SIX, truth, p)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for name, plain in (PLAIN | {"aurc": calibration.aurc}).items():
        assert result[name] == plain(truth, p)
    assert result["n"] == 211 and np.sum(result["confusion"]) == 211
    assert result["per_class"]["fear"]["recall"] == classification.per_class(truth, p)["recall"][2]
    assert result["reliability"]["accuracy"][0] is None and result["reliability"]["count"][0] == 0
    np.testing.assert_allclose(result["risk_coverage"]["coverage"], np.arange(1, 21) / 20, atol=1 / 211)
    assert result["risk_coverage"]["risk"][-1] == pytest.approx(1 - result["wa"])


def test_a_diverged_model_has_no_scores_but_a_count_of_its_rows() -> None:
    truth, p = drawn(6)
    p[:3] = np.nan
    result = evaluate(SIX, truth, p)
    assert result.pop("n") == 211 and result.pop("n_undefined") == 3
    assert set(result.values()) == {None}


def test_no_rows_at_all_have_no_scores() -> None:
    result = evaluate(SIX, [], np.empty((0, 6)))
    assert result["uar"] is None and result["n"] == 0
    json.dumps(result, allow_nan=False)


# ------------------------------------------------------------------ valence and arousal


@pytest.mark.slow
@given(seed=st.integers(0, 500), n=st.integers(2, 50))
@settings(deadline=None)
def test_series_scores_are_audmetrics_and_scipys(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    t = rng.standard_normal(n)
    p = 0.5 * t + rng.standard_normal(n) + 0.3
    assert agreement.ccc(t, p) == pytest.approx(audmetric.concordance_cc(t, p), abs=1e-12)
    assert agreement.pearson(t, p) == pytest.approx(stats.pearsonr(t, p)[0], abs=1e-12)
    assert agreement.mae(t, p) == pytest.approx(audmetric.mean_absolute_error(t, p), rel=1e-12)
    assert agreement.rmse(t, p) == pytest.approx(math.sqrt(audmetric.mean_squared_error(t, p)), rel=1e-12)


def test_series_scores_at_their_ends() -> None:
    t = np.arange(5.0)
    assert agreement.ccc(t, t) == 1 and agreement.pearson(t, t) == pytest.approx(1)
    assert agreement.ccc(t, -t + 4) == pytest.approx(-1)
    assert agreement.ccc(t, t + 100) < 0.01, "a correlation of 1 that is far off"
    assert agreement.ccc(t, np.full(5, 3.0)) == 0
    assert math.isnan(agreement.pearson(t, np.full(5, 0.1)))
    assert math.isnan(agreement.ccc([2, 2], [2, 2])) and math.isnan(agreement.ccc([1], [1]))
    assert math.isnan(agreement.rmse([], [])) and math.isnan(agreement.mae([], []))
    with pytest.raises(ValueError, match="one length"):
        agreement.ccc(t, t[1:])


def rated(seed: int, n: int = 53, k: int = 3, missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of k dimensions, some of them missing, and predictions of mixed quality."""
    rng = np.random.default_rng(seed)
    truth = np.clip(0.5 * rng.standard_normal((n, k)), -1, 1)
    prediction = truth * [1.0, 0.5, 0.1][:k] + 0.3 * rng.standard_normal((n, k)) + 0.1
    truth[rng.random((n, k)) < missing] = np.nan
    return truth, prediction


@pytest.mark.parametrize("name", METRICS["dimensions"])
def test_the_score_of_dimensions_is_their_mean_over_what_was_rated(name: str) -> None:
    truth, prediction = rated(0)
    by_hand = []
    for t, p in zip(truth.T, prediction.T):
        known = ~np.isnan(t)
        by_hand.append(AGREEMENT[name](t[known], p[known]))
    assert len(set(by_hand)) == 3
    assert score(METRICS["dimensions"][name], truth, prediction) == pytest.approx(np.mean(by_hand), rel=1e-12)
    truth[:, 1] = np.nan  # a dimension without a rating has no score, and the others have theirs
    left = np.mean([by_hand[0], by_hand[2]])
    assert score(METRICS["dimensions"][name], truth, prediction) == pytest.approx(left, rel=1e-12)
    truth[:] = np.nan
    assert math.isnan(score(METRICS["dimensions"][name], truth, prediction))


def test_a_dimension_that_collapsed_is_not_left_out_of_the_mean() -> None:
    truth, prediction = rated(1)
    prediction[:, 2] = 0.1
    assert math.isnan(score(METRICS["dimensions"]["pearson"], truth, prediction))
    by_two = score(METRICS["dimensions"]["ccc"], truth[:, :2], prediction[:, :2])
    assert score(METRICS["dimensions"]["ccc"], truth, prediction) == pytest.approx(by_two * 2 / 3, rel=1e-9)


def test_small_spreads_far_from_zero_are_not_lost() -> None:
    rng = np.random.default_rng(2)
    t = 1000 + 1e-3 * rng.standard_normal(31)
    p = 1000 + 1e-3 * rng.standard_normal(31)
    assert agreement.ccc(t, p) == pytest.approx(agreement.ccc(t - 1000, p - 1000), abs=1e-6)
    assert agreement.pearson(t, p) == pytest.approx(np.corrcoef(t, p)[0, 1], abs=1e-6)


def test_all_metrics_of_dimensions_together_are_plain_json() -> None:
    truth, prediction = rated(3)
    target = TargetSpec("dimensions", ("valence", "arousal", "dominance"), "ccc")
    result = evaluate(target, truth, prediction)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for name, metric in METRICS["dimensions"].items():
        assert result[name] == score(metric, truth, prediction)
        for k, dimension in enumerate(target.names):
            known = ~np.isnan(truth[:, k])
            expected = AGREEMENT[name](truth[known, k], prediction[known, k])
            assert result["per_dimension"][dimension][name] == pytest.approx(expected, rel=1e-12)
    assert [row["n_rated"] for row in result["per_dimension"].values()] == (~np.isnan(truth)).sum(axis=0).tolist()
    prediction[4, 0] = np.inf
    broken = evaluate(target, truth, prediction)
    assert (broken.pop("n"), broken.pop("n_undefined")) == (53, 1)
    assert set(broken.values()) == {None}
    with pytest.raises(ValueError, match="of valence, arousal, dominance"):
        evaluate(target, truth[:, :2], prediction[:, :2])
    with pytest.raises(ValueError, match=r"expected \(N, K\) and \(N, K\)"):
        evaluate(target, truth, prediction[:, :2])


# ------------------------------------------------------------------ which is better


def test_a_metric_has_one_meaning_and_one_direction() -> None:
    keys = [key for metrics in METRICS.values() for key in metrics]
    assert len(set(keys)) == len(keys), "metric_named looks in both kinds"
    lower = {key for key in keys if not metric_named(key).higher_is_better}
    assert lower == {"nll", "brier", "ece", "rmse", "mae"}
    for key in keys:
        metric = metric_named(key)
        assert metric.is_better(metric.best, metric.worst) and not metric.is_better(metric.worst, metric.best)
        assert not metric.is_better(metric.best, metric.best)
        assert metric.is_better(metric.worst, math.nan) and not metric.is_better(math.nan, metric.worst)


# ------------------------------------------------------------------ intervals


@pytest.mark.parametrize("name", [name for name in METRICS["classes"] if name != "ece"])
def test_the_interval_is_the_jackknife_over_subjects_with_t(name: str) -> None:
    """The oracle: each subject's rows left out and the rest scored anew; scipy's quantile of t."""
    truth, p = drawn(7)
    subjects = np.random.default_rng(7).integers(0, 5, len(truth))
    without = [PLAIN[name](truth[subjects != s], p[subjects != s]) for s in range(5)]
    expected = jackknife_t(PLAIN[name](truth, p), without, level=0.9)
    got = subject_interval(Scored(truth, p, subjects), METRICS["classes"][name], level=0.9)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("name", METRICS["dimensions"])
def test_the_interval_of_dimensions_is_the_jackknife_too(name: str) -> None:
    truth, prediction = rated(7, n=61)
    subjects = np.random.default_rng(7).integers(0, 5, len(truth))

    def scored(rows: NDArray[np.bool_]) -> float:
        known = [rows & ~np.isnan(truth[:, k]) for k in range(3)]
        return float(np.mean([AGREEMENT[name](truth[known[k], k], prediction[known[k], k]) for k in range(3)]))

    expected = jackknife_t(scored(subjects >= 0), [scored(subjects != s) for s in range(5)], level=0.9)
    got = subject_interval(Scored(truth, prediction, subjects), METRICS["dimensions"][name], level=0.9)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def jackknife_t(score: float, without: list[float], level: float) -> tuple[float, float]:
    n = len(without)
    error = np.sqrt((n - 1) / n * np.sum((np.array(without) - np.mean(without)) ** 2))
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    return score - reach, score + reach


def test_the_values_of_subjects_are_their_own_accuracies_where_all_have_as_many_clips() -> None:
    model = by_people(0, n_people=9, n_clips=20)
    hits = (np.asarray(model.truth) == np.asarray(model.prediction)).reshape(9, 20)
    np.testing.assert_allclose(subject_values(model, WA), hits.mean(axis=1))


def test_the_values_of_subjects_who_lack_a_class_average_to_the_score() -> None:
    truth, p = drawn(3)
    subjects = np.where(truth == truth.max(), 0, np.arange(len(truth)) % 6)  # the last class is of subject 0 alone
    values = subject_values(Scored(truth, p, subjects), UAR)
    assert len(values) == 6
    assert values.mean() == pytest.approx(classification.uar(truth, p))


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 11, 23, 90, 1000])
def test_quantiles_of_t_are_those_of_scipy(df: int) -> None:
    for level in (0.5, 0.9, 0.95, 0.999):
        assert t_quantile(df, level) == pytest.approx(stats.t.ppf((1 + level) / 2, df), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 8, 12, 13, 30])
def test_p_is_that_of_scipys_sign_flips(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1, n)
    found = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    # Up to 12 subjects both try all flips; beyond, two draws of 9,999 differ by about 0.004.
    assert sign_flip_p(values) == pytest.approx(found.pvalue, abs=1e-12 if n <= 12 else 0.015)


def test_five_subjects_of_one_mind_are_no_proof_and_six_are() -> None:
    assert sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.2])) == 2 / 32
    assert sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])) == 2 / 64


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [5, 24])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(n_people: int) -> None:
    """95 % of 500, give or take three standard errors; a percentile bootstrap holds it in 83 % with 5 people.

    The true accuracy is the mean of the beta distribution of the subjects. All metrics, people who lack classes, folds:
    tests/benchmarks/test_intervals.py.
    """
    inside = 0
    for seed in range(500):
        low, high = subject_interval(by_people(seed, n_people=n_people), WA)
        inside += low <= 0.6 <= high
    assert 0.92 <= inside / 500 <= 0.98


def test_the_ece_lies_within_its_own_interval() -> None:
    """Resampling adds noise to a score that noise makes larger: the interval of a bootstrap began above the ECE."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet([1.0] * 4, 360)
        truth = (rng.random(360)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)  # calibrated: its true ECE is 0
        subjects = np.repeat(np.arange(12), 30)
        low, high = subject_interval(Scored(truth, p, subjects), METRICS["classes"]["ece"])
        assert low < calibration.ece(truth, p) < high
        assert low == 0


def test_what_chance_adds_to_the_ece_is_taken_off() -> None:
    """Of a perfectly calibrated model the ECE is chance alone; of a much too sure one it is hardly moved."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1.0] * 4, 1200)
    truth = (rng.random(1200)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    metric, subjects = METRICS["classes"]["ece"], np.repeat(np.arange(24), 50)
    assert metric.corrected is not None
    corrected = metric.corrected(metric.sums(truth, p, subjects, 24).astype(float))
    assert 0 <= corrected < 0.6 * calibration.ece(truth, p)
    sure = p**4 / (p**4).sum(axis=1, keepdims=True)
    corrected = metric.corrected(metric.sums(truth, sure, subjects, 24).astype(float))
    assert corrected == pytest.approx(calibration.ece(truth, sure), rel=0.05)


def test_an_interval_stays_within_the_ends_of_its_metric() -> None:
    truth = np.zeros(60, np.int64)
    hits = np.ones(60, bool)
    hits[:3] = False
    model = Scored(truth, np.where(hits, 0, 1), np.repeat(np.arange(6), 10))
    low, high = subject_interval(model, WA)
    assert low < 0.95 < high == 1.0


def test_an_interval_over_clips_would_be_too_narrow() -> None:
    model = by_people(0, n_people=24, n_clips=60)
    low, high = subject_interval(model, WA)
    low_clip, high_clip = subject_interval(model._replace(subjects=np.arange(24 * 60)), WA)
    assert high - low > 2 * (high_clip - low_clip)


def test_seeds_of_one_model_do_not_count_as_people() -> None:
    one = by_people(1, n_people=20)
    five = Scored(*(np.tile(column, 5) for column in one))
    np.testing.assert_allclose(subject_interval(one, WA), subject_interval(five, WA))


def test_one_subject_a_diverged_model_or_subjects_all_alike_have_no_interval() -> None:
    truth, p = drawn(8)
    one = np.zeros(len(truth))
    assert np.isnan(subject_interval(Scored(truth, p, one), UAR)).all()
    difference = subject_difference(Scored(truth, p, one), Scored(truth, p, one), UAR)
    assert difference.value == 0 and np.isnan(difference[1:4]).all()
    people = np.arange(len(truth)) % 9
    assert np.isnan(subject_interval(Scored(truth, truth, people), UAR)).all(), "all right: no width is no interval"
    p[0] = np.nan
    assert np.isnan(subject_interval(Scored(truth, p, people), UAR)).all()
    with pytest.raises(ValueError, match="3 subjects for 211 rows"):
        subject_interval(Scored(truth, p, ["a", "b", "c"]), UAR)


def test_pairing_sees_what_two_intervals_hide() -> None:
    """b is a with 5 % of the hits of each person undone: less than what people differ by, but of one mind."""
    a = by_people(3, n_people=24, n_clips=40)
    worse = np.asarray(a.prediction).copy()
    worse[::20] = 1 - np.asarray(a.truth)[::20]
    b = a._replace(prediction=worse)
    assert subject_interval(a, WA)[0] < subject_interval(b, WA)[1], "their intervals overlap"
    difference = subject_difference(a, b, WA)
    assert difference.value == classification.wa(*a[:2]) - classification.wa(*b[:2])
    assert 0 < difference.low < difference.value < difference.high
    assert difference.p_value == pytest.approx(1 / 10_000)
    back = subject_difference(b, a, WA)
    np.testing.assert_allclose(
        [back.value, back.low, back.high], [-difference.value, -difference.high, -difference.low]
    )


def test_a_model_does_not_differ_from_itself_and_seldom_from_its_equal() -> None:
    a = by_people(4, n_people=24)
    same = subject_difference(a, a, WA)
    assert (same.value, same.p_value) == (0, 1) and np.isnan([same.low, same.high]).all()
    found = agreed = 0
    for seed in range(300):  # two models of equal skill: each hit drawn anew
        rng = np.random.default_rng(seed)
        hits = rng.random((2, 120)) < np.repeat(rng.beta(6, 4, 12), 10)
        truth, subjects = rng.integers(0, 2, 120), np.repeat(np.arange(12), 10)
        x, y = (Scored(truth, np.where(h, truth, 1 - truth), subjects) for h in hits)
        difference = subject_difference(x, y, WA)
        found += difference.p_value <= 0.05
        agreed += (difference.p_value <= 0.05) == (difference.low > 0 or difference.high < 0)
    assert found / 300 <= 0.09, "0.05 and three standard errors"
    assert agreed / 300 > 0.95


def test_models_of_other_people_are_not_compared() -> None:
    a = by_people(5, n_people=4)
    b = a._replace(subjects=np.repeat(["s0", "s1", "s2", "s9"], 10))
    with pytest.raises(ExperimentError, match="s3, s9 by one of them only"):
        subject_difference(a, b, UAR)
