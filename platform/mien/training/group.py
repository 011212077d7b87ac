"""A run trained data-parallel by a worker group of Ray Train."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mien import connection
from mien.errors import DivergedError, MienError
from mien.experiment import ExecutionConfig
from mien.families import FAMILIES
from mien.families.frameworks.imports import without_native_lines
from mien.training.failures import failure
from mien.training.loop import train_run
from mien.training.place import place_of
from mien.training.run_job import RunJob
from mien.training.waits import demand

# The trainer of Ray Train that connects the workers of a framework.
TRAINERS = {"tensorflow": "ray.train.tensorflow:TensorflowTrainer", "torch": "ray.train.torch:TorchTrainer"}
# Ray Train 2.60 takes one report of its workers at a look, and looks every 2 s: shorter epochs would take as long.
WAITS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25"}
# Ray Train plans a group with the nodes that it saw up to 20 s ago, draining ones among them: where one of them is gone
# by now, it would wait a minute before it plans anew.
ELASTIC_WAITS = {**WAITS, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20"}
# How long Ray may take to notice that the node of a worker is gone.
DEATH_NOTICED_S = 10.0


def fit_group(job: RunJob, shared: Any, execution: ExecutionConfig, train: Callable[..., Any] = train_run) -> None:
    """Train one run over a group of workers. shared: reference to the dataset. train: what each worker does, called
    as `train_run` is. Raises DivergedError at once, and ExperimentError where the group failed more often than it
    may."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    run = job.run
    elastic = bool(execution.min_workers) and execution.min_workers < execution.workers
    trainer = _trainer(FAMILIES[job.experiment.model.family].framework)(
        _worker,
        # A reference in a list is handed on; one on its own Ray would replace by the dataset.
        train_loop_config={"job": job, "dataset": [shared], "train": train},
        scaling_config=ScalingConfig(
            num_workers=(execution.min_workers, execution.workers) if elastic else execution.workers,  # type: ignore[arg-type]
            use_gpu=execution.gpu,
            resources_per_worker=demand(execution),
        ),
        # A fresh name: Ray would silently take up its own state of a run of the same name, and ours is in Run.
        run_config=RunConfig(
            name=f"{job.experiment.name}-{run.label.replace('/', '-')}-{time.time_ns()}",
            storage_path=(run.folder / "ray").uri,
            failure_config=FailureConfig(max_failures=execution.max_failures),
        ),
    )
    waits = {name: os.environ.get(name, wait_s) for name, wait_s in (ELASTIC_WAITS if elastic else WAITS).items()}
    with connection.environment(**waits), _explained(job):
        diverged = trainer.fit().return_value
    (run.folder / "ray").remove()
    if diverged is not None:
        raise diverged


def _trainer(framework: str) -> Any:
    """That of Ray Train, whose module imports TensorFlow, which greets with a dozen lines."""
    module, _, name = TRAINERS[framework].partition(":")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_native_lines():
        return getattr(import_module(module), name)


def _worker(config: dict[str, Any]) -> DivergedError | None:
    """What each worker of a group executes. That the model diverged is returned, by all of them at once: at an error
    Ray Train would start the group again, which would diverge at the same batch."""
    import ray
    import ray.train

    context = ray.train.get_context()
    job: RunJob = config["job"]
    place = place_of(
        job.experiment,
        context.get_world_rank(),
        context.get_world_size(),
        # What `mien.cluster.aws.spot` told Ray; the workers agree on the answer, so it is a barrier too.
        leaving=lambda: ray.train.get_preemption_info() is not None,
    )
    dataset = ray.get(config["dataset"][0])
    with _causes_first(place.group.world):
        try:
            config["train"](
                job.run, job.experiment, dataset, job.split, parents=job.parents, place=place, report=ray.train.report
            )
        except DivergedError as error:
            return error
    return None


@contextmanager
def _causes_first(n_workers: int) -> Iterator[None]:
    """A worker that dies breaks the sums of the others, and Ray Train ends the group at the first error that it sees.

    A broken sum is raised at once, a death is noticed later: so an error that may come from one waits for it. Else a
    node that was taken away would count as a mistake of the workers that stayed, and be named as that.
    """
    try:
        yield
    except MienError:
        raise
    except Exception:
        if n_workers > 1:
            time.sleep(DEATH_NOTICED_S)
        raise


@contextmanager
def _explained(job: RunJob) -> Iterator[None]:
    """A failed worker group as one sentence; what was trained so far is kept."""
    from ray.train import TrainingFailedError

    try:
        yield
    except TrainingFailedError as error:
        raise failure(job.run.folder.uri, job.experiment, error) from error
