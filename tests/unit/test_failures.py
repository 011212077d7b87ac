"""What a user reads when workers of Ray Train fail: one sentence, made of the exceptions that Ray raises."""

from __future__ import annotations

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.train import TrainingFailedError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from mien.errors import DamagedError, ExperimentError
from mien.experiment import ExecutionConfig, Experiment, MlpConfig
from mien.training.failures import failure, task_failure

EXPERIMENT = Experiment(name="first", model=MlpConfig(units=512), execution=ExecutionConfig(workers=4))
LOWER = "lower training.batch_size (32), model.units (512) or execution.workers (4)"
ADVICE = (
    "Worker unexpectedly exits with a connection error code 2. End of file. There are some potential root causes.\n"
    "(1) The process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called. (3) ..."
)


def died(*, preempted: bool = False) -> WorkerHealthCheckFailedError:
    """As Ray Train puts it where the process of a worker is gone."""
    context = ActorDiedErrorContext(
        error_message=ADVICE,
        actor_id=b"0123456789abcdef",
        class_name="RayTrainWorker",
        pid=4711,
        node_ip_address="10.0.0.7",
    )
    if preempted:
        context.node_death_info.reason = NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED
    return WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError(context))


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ({1: died()}, "runs/first: the worker of rank 1 was killed by the system, most often for want of memory; "),
        ({1: died(), 0: died()}, "runs/first: each worker of ranks 0, 1 was killed by the system"),
        # The others fail since they miss it.
        ({0: RuntimeError("gloo: Connection closed by peer\nmore"), 3: died()}, "the worker of rank 3 was killed"),
        (
            {0: OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory on the node")},
            "rank 0 was killed",
        ),
        ({2: died(preempted=True)}, "the node of the worker of rank 2 was taken away; the same command goes on"),
        (
            {1: ValueError("no such column\nand more")},
            "the worker of rank 1 raised ValueError: no such column; the same command",
        ),
    ],
)
def test_a_worker_that_failed_is_named_by_its_rank(failures, said):
    raised = WorkerGroupError(f"[Rank 1 Error Snippet]:\n{ADVICE}", failures)
    assert isinstance(raised, TrainingFailedError)
    found = failure("runs/first", EXPERIMENT, raised)
    assert isinstance(found, ExperimentError)
    assert said in str(found) and "goes on from its last epoch" in str(found)
    assert "\n" not in str(found) and "SIGKILL" not in str(found) and len(str(found)) < 400
    assert ("for want of memory" in str(found)) == (LOWER in str(found))


def test_a_mistake_that_a_worker_raised_is_that_mistake():
    mistake = DamagedError("checkpoints/epoch-0002: damaged; run the same again")
    assert failure("runs/first", EXPERIMENT, WorkerGroupError("...", {0: died(), 1: mistake})) is mistake


def test_a_controller_that_failed_is_one_line_too():
    cause = RayTaskError("fit", "Traceback (most recent call last):\n  ...\nValueError: no", ValueError("no"))
    found = str(failure("runs/first", EXPERIMENT, ControllerError(cause)))
    assert found == "runs/first: no; the same command goes on from its last epoch"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            WorkerCrashedError(),
            "runs/first: its worker was killed by the system each time, most often for want of memory",
        ),
        (OutOfMemoryError("Task was killed.\nMemory on the node"), "runs/first: its worker was killed by the system"),
        (
            RayTaskError("train", "Traceback\n...", ValueError("no such column\nmore")),
            "raised ValueError: no such column; ",
        ),
    ],
)
def test_a_run_beside_others_that_failed_is_one_sentence(error, said):
    found = task_failure("runs/first", EXPERIMENT, error)
    assert isinstance(found, ExperimentError)
    assert said in str(found) and "goes on from its last epoch" in str(found) and "\n" not in str(found)
    assert ("for want of memory" in str(found)) == (LOWER in str(found))


def test_a_mistake_that_a_task_raised_is_that_mistake():
    mistake = DamagedError("checkpoints/epoch-0002: damaged; run the same again")
    assert (
        task_failure("runs/first", EXPERIMENT, RayTaskError("train", "Traceback\n...", mistake).as_instanceof_cause())
        is mistake
    )
