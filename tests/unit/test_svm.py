"""The baseline's machines against scikit-learn's own, and what a fusion of them does."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, SVR

from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import ExperimentError
from mien.experiment import LossConfig, SvmConfig, TrainingConfig
from mien.families.contract import Task
from mien.families.libsvm import fit_classes, fit_dimension, probabilities_by, ratings_by
from mien.families.svm import Svm
from mien.features.spec import Frames
from tiny import batches, dataset


def clips(n_classes: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of n clips whose classes overlap, and their classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    return rng.normal(size=(n, 23)) + 1.5 * np.eye(n_classes, 23)[truth], truth


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_a_classifier_predicts_what_scikit_learn_predicts(n_classes):
    rows, truth = clips(n_classes, 211, 0)
    new, _ = clips(n_classes, 503, 1)
    weights = dict(enumerate(np.linspace(0.5, 2, n_classes)))
    gamma = 1 / (23 * rows.var())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # probability=True goes in scikit-learn 1.11
        machine = SVC(C=3.0, kernel="precomputed", class_weight=weights, probability=True, random_state=0)
        machine.fit(rbf_kernel(rows, gamma=gamma), truth)
        expected = machine.predict_proba(rbf_kernel(new, rows, gamma=gamma))
    found = probabilities_by(fit_classes(rows, truth, 3.0, weights), new)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_a_regressor_predicts_what_scikit_learn_predicts():
    rows, _ = clips(3, 211, 0)
    ratings = np.tanh(rows[:, 0] - rows[:, 1])
    new, _ = clips(3, 101, 1)
    expected = SVR(C=3.0, kernel="rbf", gamma="scale").fit(rows, ratings).predict(new)
    np.testing.assert_allclose(ratings_by(fit_dimension(rows, ratings, 3.0), new), expected, atol=1e-10)


def test_ratings_that_hardly_differ_have_no_support_vector_and_are_predicted_all_the_same():
    rows, _ = clips(3, 31, 0)
    ratings = np.linspace(0.2, 0.25, 31)
    expected = SVR(C=3.0, kernel="rbf", gamma="scale").fit(rows, ratings).predict(rows)
    np.testing.assert_allclose(ratings_by(fit_dimension(rows, ratings, 3.0), rows), expected, atol=1e-10)


def fitted(data: Dataset, *, by_class: tuple[float, ...] = (1, 1, 1), **model) -> Svm:
    loss = LossConfig(kind="cross-entropy" if data.target.spec.kind == "classes" else "ccc")
    weights = np.array(by_class, np.float32)
    learner = Svm(Task(SvmConfig(**model), TrainingConfig(), loss, data.specs, data.target.spec, weights, 0))
    learner.train_epoch(batches(data), epoch=1, rate=lambda progress: 0.0)
    return learner


def values(learner: Svm, data: Dataset) -> np.ndarray:
    return learner.predict(batches(data)).values


def test_one_machine_reads_mean_and_spread_of_all_inputs():
    """And its class weights are scaled so that they weigh a clip by 1 on average."""
    data = dataset(missing=False)
    rows = []
    for row in range(len(data)):
        voice, face, one = (data.columns[name][row].values.astype(float) for name in ("voice", "face", "row"))
        rows.append([*voice.mean(0), *voice.std(0), *face.mean(0), *face.std(0), *one[0]])
    by_class = np.array([0.5, 1.0, 4.0])
    weights = by_class / by_class[data.target.truth].mean()
    expected = probabilities_by(
        fit_classes(np.array(rows), data.target.truth, 2.0, dict(enumerate(weights))), np.array(rows)
    )
    # float32: what a batch holds and what is predicted.
    np.testing.assert_allclose(values(fitted(data, c=2.0, by_class=tuple(by_class)), data), expected, atol=1e-6)


def test_members_are_multiplied_or_averaged():
    data = dataset(missing=False)
    alone = [values(fitted(data, members=(member,)), data) for member in ("voice+row", "face")]
    product = alone[0] * alone[1]
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values(fitted(data, members=("voice+row", "face")), data), expected, atol=1e-6)
    data = dataset(missing=False, kind="dimensions")
    alone = [values(fitted(data, members=(member,)), data) for member in ("voice+row", "face")]
    found = values(fitted(data, members=("voice+row", "face")), data)
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, atol=1e-6)
    with pytest.raises(ExperimentError, match="model.members names odd: not among the features voice, face, row"):
        fitted(data, members=("voice", "odd"))


def test_a_class_that_no_training_clip_shows_is_never_predicted():
    data = dataset()
    seen = [batch for batch in batches(data, batch_size=1) if batch.targets[0, 1] == 0]
    learner = fitted(data)
    learner.train_epoch(seen, epoch=1, rate=lambda progress: 0.0)
    assert (values(learner, data)[:, 1] < 1e-5).all()


def test_a_dimension_that_no_training_clip_was_rated_for_is_named():
    data = dataset(kind="dimensions")
    mask = data.target.mask.copy()
    mask[:, 1] = False
    with pytest.raises(ExperimentError, match="no training clip has a rating of arousal: leave it out of target.names"):
        fitted(dataclasses.replace(data, target=dataclasses.replace(data.target, mask=mask)))


def test_a_dimension_learns_from_its_own_ratings_alone():
    """Clips without a rating of arousal are left out of its machine, and are learnt from for valence."""
    data = dataset(kind="dimensions", missing=False)
    rows = np.array([data.columns["row"][row].values[0] for row in range(len(data))], float)
    narrow = dataclasses.replace(data, columns={"row": data.columns["row"]})
    found = values(fitted(narrow), narrow)
    for k in range(2):
        rated = data.target.mask[:, k]
        machine = fit_dimension(rows[rated], data.target.values[rated, k].astype(float), 1.0)
        np.testing.assert_allclose(found[:, k], ratings_by(machine, rows), atol=1e-6)


def test_an_input_without_a_frame_is_zeros():
    """As is one whose frames are all masked."""
    data = dataset(missing=False)
    learner = fitted(data)
    face = data.columns["face"]

    def with_face(frames: list[Frames | None]) -> np.ndarray:
        return values(learner, dataclasses.replace(data, columns={**data.columns, "face": InMemory(face.spec, frames)}))

    gone = with_face([None] * len(data))
    masked = [Frames(frames.values, np.zeros_like(frames.valid)) for frames in map(face.__getitem__, range(len(data)))]
    np.testing.assert_array_equal(with_face(masked), gone)
