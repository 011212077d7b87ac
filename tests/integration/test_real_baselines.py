"""The published SVC baselines on the real RAVDESS speech: mien is what scikit-learn's `predict_proba` is on the same folds.

Six classes, 1,248 clips, 24 actors, GroupKFold(6) by actor. The published figures are scikit-learn's `predict`, which
lets the pairs of classes vote; mien ranks classes by probability, as its late fusion and its calibration need
(docs/lab-log.md). ComParE, whose 6,373 columns take minutes to extract, is left out here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mien import corpora
from mien.corpora.attach import attach
from mien.corpora.clip import Clip
from mien.data import normalise as normalise_module
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.experiment import AugmentConfig, DataConfig, Experiment, LossConfig, SvmConfig
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Run
from mien.training.loop import train_run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*probability:FutureWarning")]

FEATURES = ("egemaps-clip", "openface-clip")


@pytest.fixture(scope="module")
def store(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """All clips with both features, extracted in this process."""
    ravdess = real_data / "ravdess"
    found = corpora.load("ravdess").import_clips(ravdess / "speech_16k")
    attached = attach(found, "openface", str(ravdess / "action_units" / "clip_means.csv"))
    clips = sorted((clip for clip in attached if isinstance(clip, Clip)), key=lambda clip: clip.id)
    store = FeatureStore(tmp_path_factory.mktemp("real") / "store")
    store.write_clips("ravdess", clips, [])
    built = [(ExtractorRecipe(name), ExtractorRecipe(name).build()) for name in FEATURES]
    features = [Feature(store.feature_folder("ravdess", one.spec), recipe, one.medium) for recipe, one in built]
    BatchExtractor(features)([ClipTask(clip.id, clip.media, (0, 1)) for clip in clips])
    for feature in features:
        feature.folder.finish({clip.id for clip in clips})
    return store


@pytest.mark.parametrize(
    ("features", "normalise", "c", "published"),
    [
        (("egemaps-clip",), "train", 1.0, 0.535),
        (("egemaps-clip",), "speaker", 1.0, 0.642),
        (("openface-clip",), "train", 1.0, 0.676),
        (("openface-clip",), "speaker", 1.0, 0.782),
        (FEATURES, "train", 10.0, 0.751),
        (FEATURES, "speaker", 1.0, 0.868),
    ],
)
def test_published_baselines_are_reproduced(store, tmp_path, monkeypatch, features, normalise, c, published):
    """With outliers as they are, as scikit-learn's StandardScaler leaves them."""
    monkeypatch.setattr(normalise_module, "LARGEST", np.inf)
    by_votes, by_probability = by_scikit_learn(store, features, normalise, c)
    assert by_votes == pytest.approx(published, abs=0.003)
    assert pooled_uar(store, tmp_path, features, normalise, c) == pytest.approx(by_probability, abs=0.002)


def test_outliers_cut_off_make_a_stronger_baseline(store, tmp_path):
    """What mien does by default: columns are cut at 6 standard deviations, and the bar is higher than the published."""
    assert pooled_uar(store, tmp_path, FEATURES, "train", 10.0) == pytest.approx(0.769, abs=0.005)


def baseline(features: tuple[str, ...], normalise: Any, c: float) -> Experiment:
    return Experiment(
        name="baseline",
        data=DataConfig(corpora=("ravdess",), features=features, normalise=normalise),
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy", label_smoothing=0.0),
        model=SvmConfig(c=c),
    )


def pooled_uar(store: FeatureStore, folder: Path, features: tuple[str, ...], normalise: Any, c: float) -> float:
    experiment = baseline(features, normalise, c)
    dataset = read_dataset(store, experiment.data, experiment.target)
    assert (len(dataset), len(set(dataset.subjects))) == (1248, 24)
    classes = dataset.target.spec.names
    hits = np.zeros((2, len(classes)))
    for split in group_k_fold(dataset):
        run = Run(Folder(folder / str(split.fold)), 0, split.fold)
        train_run(run, experiment, dataset, split)
        table = run.predictions().to_pandas()
        called = table[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
        for row, share in enumerate((called == table["truth"], np.ones(len(table)))):
            hits[row] += np.bincount(table["truth"], share, len(classes))
    return float((hits[0] / hits[1]).mean())


def by_scikit_learn(store: FeatureStore, features: tuple[str, ...], normalise: Any, c: float) -> tuple[float, float]:
    """Pooled UAR of `predict`, and of the likeliest class of `predict_proba`."""
    experiment = baseline(features, normalise, c)
    dataset = read_dataset(store, experiment.data, experiment.target)
    truth, subjects = dataset.target.truth, np.array(dataset.subjects)
    columns = [[dataset.columns[name][row].values[0] for row in range(len(dataset))] for name in features]
    rows = np.hstack([np.stack(column).astype(np.float64) for column in columns])
    if normalise == "speaker":
        for subject in set(subjects):
            rows[subjects == subject] = StandardScaler().fit_transform(rows[subjects == subject])
    votes, likeliest = np.zeros_like(truth), np.zeros_like(truth)
    for train, test in GroupKFold(6).split(rows, groups=subjects):
        scaler = StandardScaler(with_mean=normalise == "train", with_std=normalise == "train").fit(rows[train])
        machine = SVC(C=c, class_weight="balanced", probability=True, random_state=0)
        machine.fit(scaler.transform(rows[train]), truth[train])
        votes[test] = machine.predict(scaler.transform(rows[test]))
        likeliest[test] = machine.classes_[machine.predict_proba(scaler.transform(rows[test])).argmax(axis=1)]
    return balanced_accuracy_score(truth, votes), balanced_accuracy_score(truth, likeliest)


def group_k_fold(dataset: Dataset) -> list[Split]:
    """scikit-learn's folds, in which no one is held out to validate."""
    nobody = np.array([], np.int64)
    folds = GroupKFold(6).split(dataset.target.truth, groups=dataset.subjects)
    return [Split(fold, f"fold {fold}", train, nobody, test) for fold, (train, test) in enumerate(folds)]
