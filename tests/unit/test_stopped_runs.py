"""Runs that cannot go on: what they are told of a loss that is not finite, and of memory that is not there."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import DivergedError, MemoryShortError
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LstmAttentionConfig,
    MlpConfig,
    ProtocolConfig,
    Resnet3dLstmConfig,
    TrainingConfig,
)
from mien.features.spec import Frames
from mien.folder import Folder
from mien.results.run import Run
from mien.training.launch import train_jobs
from mien.training.loop import train_run
from mien.training.memory import memory_explained
from mien.training.run_job import RunJob

EXPERIMENT = Experiment(
    name="stopped",
    data=DataConfig(features=tuple(tiny.SPECS)),
    protocol=ProtocolConfig(folds=2),
    augment=AugmentConfig(kind="none"),
    model=MlpConfig(units=8, dropout=0.0),
    training=TrainingConfig(epochs=3, batch_size=8, average=0.0),
)
TOO_WIDE = 10**13  # a layer of it takes more than there are addresses


def job(folder: Path, data: Dataset, experiment: Experiment) -> RunJob:
    return RunJob(Run(Folder(folder), 0, 0), experiment, data.splits(experiment.protocol)[0])


def stopped(folder: Path, data: Dataset, **training: Any) -> tuple[str, Run]:
    """What a real run says, and the run."""
    experiment = dataclasses.replace(EXPERIMENT, training=dataclasses.replace(EXPERIMENT.training, **training))
    one = job(folder, data, experiment)
    with pytest.raises(DivergedError) as error:
        train_run(one.run, experiment, data, one.split)
    return str(error.value), one.run


def with_nan(data: Dataset, row: int) -> Dataset:
    """One value of the face of one clip is NaN, in a valid frame."""
    frames = [data.columns["face"][i] for i in range(len(data))]
    values = frames[row].values.copy()
    values[1, 2] = np.nan
    frames[row] = Frames(values, frames[row].valid)
    return dataclasses.replace(data, columns=data.columns | {"face": InMemory(tiny.SPECS["face"], frames)})


@pytest.mark.torch
def test_a_model_that_diverges_names_its_batch_its_clips_and_what_to_lower(tmp_path):
    data = tiny.dataset()
    said, run = stopped(tmp_path, data, learning_rate=1e30, schedule="constant", clip_norm=0.0)
    assert said.startswith(f"{tmp_path}: the loss of epoch 1, batch 2 of ")
    assert "is not finite (nan); all inputs are finite, so the model diverged: " in said
    assert (
        "lower training.learning_rate (1e+30), set training.clip_norm, or look at the clips of this batch: c/" in said
    )
    named = said.rpartition(": ")[2].split(", ")
    assert len(set(named)) == 8
    assert set(named) <= {data.clip_ids[row] for row in data.splits(EXPERIMENT.protocol)[0].train}
    assert not run.history() and not run.is_done


@pytest.mark.torch
def test_an_input_that_is_not_finite_is_told_apart_and_named(tmp_path):
    data = tiny.dataset()
    row = next(int(row) for row in data.splits(EXPERIMENT.protocol)[0].train if row % 7)  # every seventh has no face
    # Standardised over all of them, NaN is in the face of every clip, and one is the cause.
    said, _ = stopped(tmp_path, with_nan(data, row))
    assert f"is not finite (nan); inputs are not finite: face of {data.clip_ids[row]}; prepare these features" in said
    assert "diverged" not in said


@pytest.mark.torch
def test_a_gradient_that_is_not_finite_is_noticed_before_a_step_is_made():
    import torch

    from mien.families.frameworks.torch import sum_gradients

    parameter = torch.nn.Parameter(torch.zeros(3))
    assert sum_gradients(parameter.sqrt().sum(), [parameter], 1) == (0.0, False)
    assert sum_gradients(parameter.square().sum(), [parameter], 1) == (0.0, True)


@pytest.mark.torch
def test_a_run_that_diverged_stops_a_series_and_is_passed_over_in_a_search(tmp_path):
    data, told = tiny.dataset(), []
    broken = dataclasses.replace(EXPERIMENT.training, learning_rate=1e30, schedule="constant")
    jobs = [
        job(tmp_path / "broken", data, dataclasses.replace(EXPERIMENT, training=broken)),
        job(tmp_path / "whole", data, EXPERIMENT),
    ]
    with pytest.raises(DivergedError):
        list(train_jobs(jobs, data, ExecutionConfig(), lambda run, record: None))
    trained = train_jobs(
        jobs, data, ExecutionConfig(), lambda run, record: None, on_failure=lambda run, error: told.append((run, error))
    )
    assert [run for run, _ in trained] == [jobs[1].run]
    [(run, error)] = told
    assert run == jobs[0].run and isinstance(error, DivergedError)


def test_an_error_is_the_same_after_a_journey():
    error = DivergedError("runs/first", "the loss is not finite", "lower training.learning_rate")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is DivergedError
    assert (str(again), again.reason) == (str(error), error.reason)
    assert str(error) == "runs/first: the loss is not finite; lower training.learning_rate"


# ------------------------------------------------------------------ memory


def out_of_memory(folder: Path, model: Any) -> str:
    data = tiny.dataset()
    experiment = dataclasses.replace(EXPERIMENT, model=model)
    one = job(folder, data, experiment)
    with pytest.raises(MemoryShortError) as error:
        train_run(one.run, experiment, data, one.split)
    return str(error.value)


@pytest.mark.torch
def test_memory_that_torch_does_not_get_is_one_sentence(tmp_path):
    said = out_of_memory(tmp_path, MlpConfig(units=TOO_WIDE))
    assert said == f"{tmp_path}: out of memory; lower training.batch_size (8) or model.units ({TOO_WIDE})"


@pytest.mark.tensorflow
def test_memory_that_tensorflow_does_not_get_is_one_sentence(tmp_path):
    said = out_of_memory(tmp_path, LstmAttentionConfig(lstm_units=3, dense_units=TOO_WIDE))
    assert said == f"{tmp_path}: out of memory; lower training.batch_size (8) or model.lstm_units (3)"


@pytest.mark.torch
def test_a_gpu_without_memory_is_known_by_torchs_own_error(tmp_path):
    import torch

    experiment = dataclasses.replace(EXPERIMENT, model=Resnet3dLstmConfig(), execution=ExecutionConfig(parallel=3))
    with pytest.raises(MemoryShortError) as error, memory_explained(Run(Folder(tmp_path), 0, 0), experiment):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    lower = "lower training.batch_size (8), data.pictures (all) or model.width (64)"
    assert str(error.value) == f"{tmp_path}: out of memory on the GPU; {lower}"


def test_memory_that_numpy_does_not_get_is_explained_and_other_errors_pass(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    with (
        pytest.raises(MemoryShortError, match=r"or execution\.parallel \(3\)"),
        memory_explained(run, dataclasses.replace(EXPERIMENT, execution=ExecutionConfig(parallel=3))),
    ):
        np.zeros(100 * TOO_WIDE)
    with pytest.raises(RuntimeError, match="shapes"), memory_explained(run, EXPERIMENT):
        raise RuntimeError("shapes do not fit")
