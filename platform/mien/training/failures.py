"""What ended a worker of Ray, or a group of them, in one sentence. Ray's own message is a page of advice."""

from __future__ import annotations

from collections.abc import Mapping

from mien.errors import ExperimentError, MienError
from mien.experiment import Experiment
from mien.training.memory import what_to_lower

AGAIN = "the same command goes on from its last epoch"


def failure(run: str, experiment: Experiment, error: Exception) -> MienError:
    """The mistake that a TrainingFailedError of Ray Train stands for. run: whose group it was, of which experiment.

    Of the workers that failed it names those that the system killed: the others then fail since they miss them. A
    mistake that a worker raised is that mistake.
    """
    from ray.exceptions import OutOfMemoryError, RayActorError

    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    # A worker that no longer answers is Ray's WorkerHealthCheckFailedError, which holds the reason.
    causes = {rank: getattr(cause, "health_check_failure", cause) for rank, cause in sorted(failures.items())}
    for cause in causes.values():
        if isinstance(cause, MienError):
            return cause
    killed = {rank: cause for rank, cause in causes.items() if isinstance(cause, RayActorError | OutOfMemoryError)}
    if any(getattr(cause, "preempted", False) for cause in killed.values()):
        return ExperimentError(
            f"{run}: the node of {_named(killed)} was taken away; {AGAIN}, and execution.max_failures lets it go on by "
            "itself"
        )
    if killed:
        return ExperimentError(
            f"{run}: {_named(killed)} was killed by the system, most often for want of memory; {AGAIN}, and if it "
            f"happens again lower {what_to_lower(experiment)}, or ask for more execution.cpus_per_worker (fewer "
            "workers on a node)"
        )
    for rank, cause in causes.items():
        return ExperimentError(f"{run}: {_named({rank: cause})} raised {type(cause).__name__}: {_line(cause)}; {AGAIN}")
    reason = getattr(error, "controller_failure", error)
    return ExperimentError(f"{run}: {_line(getattr(reason, 'cause', None) or reason)}; {AGAIN}")


def task_failure(run: str, experiment: Experiment, error: Exception) -> MienError:
    """The mistake that an error of `ray.get` stands for. run: what the task trained, of which experiment."""
    from ray.exceptions import OutOfMemoryError, WorkerCrashedError

    cause = getattr(error, "cause", None) or error
    if isinstance(cause, MienError):
        return cause
    if isinstance(error, WorkerCrashedError | OutOfMemoryError):
        return ExperimentError(
            f"{run}: its worker was killed by the system each time, most often for want of memory; {AGAIN}, and if it "
            f"happens again lower {what_to_lower(experiment)}, or ask for more execution.cpus_per_worker"
        )
    return ExperimentError(f"{run}: its worker raised {type(cause).__name__}: {_line(cause)}; {AGAIN}")


def _named(causes: Mapping[int, Exception]) -> str:
    ranks = list(causes)
    return f"the worker of rank {ranks[0]}" if len(ranks) == 1 else f"each worker of ranks {', '.join(map(str, ranks))}"


def _line(error: BaseException) -> str:
    """The first line of what an exception says; its name where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
