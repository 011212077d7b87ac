"""Experiments: JSON both ways, a signature of what is learnt alone, and every shipped script."""

from __future__ import annotations

import dataclasses
import json

import pytest

from conftest import ROOT
from mien.errors import ExperimentError
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LossConfig,
    LstmAttentionConfig,
    ProtocolConfig,
    SvmConfig,
    TrainingConfig,
)
from mien.experiment.scripts import load_experiment

SCRIPTS = sorted(path for path in (ROOT / "experiments").glob("*.py") if "EXPERIMENT =" in path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_an_experiment_that_survives_json(path):
    experiment = load_experiment(str(path))
    text = json.dumps(experiment.to_json(), allow_nan=False)
    assert Experiment.from_json(json.loads(text)) == experiment
    assert experiment.question


def test_scripts_are_found():
    assert {"sync_aug", "attention_focal"} <= {path.stem for path in SCRIPTS}


def test_both_kinds_of_model_survive_json():
    for model in (LstmAttentionConfig(lstm_units=7), SvmConfig(c=3.0, members=("a+b", "c"))):
        experiment = Experiment(name="x", model=model, loss=LossConfig(alpha=(1.0, 2.0)))
        assert Experiment.from_json(json.loads(json.dumps(experiment.to_json()))) == experiment


def test_signature_is_what_is_learnt_and_nothing_else():
    experiment = Experiment(name="x")
    signature = experiment.signature({"ravdess/egemaps": "f1"})
    assert len(signature) == 8
    for same in (
        dataclasses.replace(experiment, name="y"),
        dataclasses.replace(experiment, question="why?"),
        dataclasses.replace(experiment, execution=ExecutionConfig(workers=2, storage="s3://b/c", seeds=(1, 2))),
    ):
        assert same.signature({"ravdess/egemaps": "f1"}) == signature
    assert experiment.signature({"ravdess/egemaps": "f2"}) != signature
    for other in (
        dataclasses.replace(experiment, loss=LossConfig(gamma=1.0)),
        dataclasses.replace(experiment, augment=AugmentConfig(kind="none")),
        dataclasses.replace(experiment, protocol=ProtocolConfig(kind="random-leaky")),
        dataclasses.replace(experiment, training=TrainingConfig(epochs=3)),
        dataclasses.replace(experiment, model=SvmConfig()),
        dataclasses.replace(experiment, data=DataConfig(normalise="speaker")),
    ):
        assert other.signature({"ravdess/egemaps": "f1"}) != signature


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"datum": 1}, "datum"),
        ({"loss": {"kind": "focl"}}, "loss.kind"),
        ({"loss": {"gama": 2}}, "loss.gama"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"augment": {"stretch": [1.1, 0.9]}}, "augment.stretch"),
        ({"name": "a/b"}, "letters, digits and dashes"),
        ({"execution": {"seeds": []}}, "execution.seeds is empty"),
        ({"execution": {"parallel": 0}}, "execution.parallel is 0: at least 1"),
        ({"execution": {"workers": -1}}, "execution.workers is -1: at least 0"),
        ({"execution": {"min_workers": -1}}, "execution.min_workers is -1: at least 0"),
        ({"execution": {"workers": 1, "min_workers": 2}}, r"min_workers is 2: at most execution.workers \(1\)"),
        ({"execution": {"gpu": True, "gpu_share": 0}}, "execution.gpu_share is 0: above 0, at most 1"),
        ({"execution": {"gpu": True, "gpu_share": float("nan")}}, "execution.gpu_share is nan: above 0"),
        ({"execution": {"gpu_share": 0.5}}, "gpu_share is 0.5: execution.gpu is not set"),
        ({"execution": {"gpu": True, "gpu_share": 0.5, "workers": 2}}, "gpu_share is 0.5: workers of a group cannot"),
        ({"execution": {"save_every_s": -1}}, "execution.save_every_s is -1"),
        ({"execution": {"save_every_s": float("nan")}}, "execution.save_every_s is nan"),
    ],
)
def test_a_wrong_experiment_is_refused_by_name(change, named):
    with pytest.raises(ExperimentError, match=named):
        Experiment.from_json({**Experiment(name="x").to_json(), **change})
