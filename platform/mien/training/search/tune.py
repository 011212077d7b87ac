"""The trials of one fold under Ray Tune. What draws the points and keeps the records is an argument."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

from mien.connection import environment
from mien.data.splits import Split
from mien.errors import ExperimentError, TrainingError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.space import with_point
from mien.families.frameworks.imports import without
from mien.results.history import Record, kept_record
from mien.results.metrics import METRICS
from mien.results.run import Run
from mien.results.search_folder import SearchFolder, Trial, keep_of
from mien.training.group import fit_group
from mien.training.loop import Training
from mien.training.memory import memory_explained
from mien.training.place import HERE, Place, place_of
from mien.training.run_job import RunJob
from mien.training.search.ctrl_c import CtrlC
from mien.training.waits import demand

SAVE_EVERY_S = 20.0  # between two checkpoints of a trial: no more than that is lost with its process
FOLLOW_S = 0.5  # between two looks at a trial that a group of workers trains
REDUCTION = 3  # of three trials at a rung, asha lets one go on
NO_SCORE = 1e9  # of an epoch without a score, with the sign that makes it the worst of all


class Keeper(Protocol):
    """Draws trials and keeps their records; each trial by Tune's name for it."""

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """Config of the next trial, {"signature", "point"}; None where there is no further point."""

    def saw(self, trial_id: str, record: Record) -> None:
        """A trial's epoch."""

    def end(self, trial_id: str, record: Record | None, *, has_failed: bool) -> None:
        """A trial's last epoch, and whether its process died or raised more often than it may."""


def run_trials(
    folder: SearchFolder, split: Split, dataset: Any, keeper: Keeper, *, n_trials: int, parallel: int
) -> None:
    """Run trials until n_trials have ended, the points are used up, or the time is. dataset: a reference to it.

    Raises KeyboardInterrupt as it comes: trials that run then are unfinished, and stand at their last checkpoint.
    """
    from ray import tune

    search = folder.search
    execution = search.experiment.execution
    scheduler = _scheduler(search)
    if scheduler is not None:
        _replay(scheduler, folder, folder.trials(split.fold))
    # A trial over a group of workers only waits for it. Were it to take a thousandth of a CPU, the last group would not
    # fit and wait for ever; a byte of memory is a request that takes nothing.
    one = demand(execution)
    resources = tune.PlacementGroupFactory([{"memory": 1.0} if execution.workers else one])
    trainable = tune.with_parameters(
        _trainable(),
        dataset=[dataset],
        folder=folder,
        split=dataclasses.replace(split, test=split.test[:0]),  # no person to be tested on
    )
    # Tune writes for TensorBoard by tensorboardX, which imports torch where it can. This process may have to train the
    # winners with TensorFlow, and the two do not share one.
    with without("torch"):
        import tensorboardX  # noqa: F401
    ctrl_c = CtrlC()
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(keeper, ctrl_c, mode_of(search)),
            scheduler=scheduler,
            num_samples=n_trials,
            max_concurrent_trials=parallel,
            time_budget_s=search.minutes * 60 or None,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["signature"]),
        ),
        run_config=tune.RunConfig(
            name=f"{search.experiment.name}-fold-{split.fold}-{time.time_ns()}",
            storage_path=(folder.folder / "tune").uri,
            failure_config=tune.FailureConfig(max_failures=search.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a trial keeps its own
            callbacks=_callbacks(search),
            verbose=0,
            progress_reporter=tune.CLIReporter(),  # silent with verbose 0; that of notebooks would show an empty line
        ),
    )
    with _quiet(), ctrl_c:
        tuner.fit()


def trial_experiment(search: Search, point: Mapping[str, Any]) -> Experiment:
    """What a trial trains: the point, with validation subjects held out to compete on.

    One that is to keep its last epoch is not stopped early, here as there.
    """
    experiment = with_point(search.experiment, point)
    training = experiment.training
    if training.keep == "last":
        training = dataclasses.replace(training, keep="best", patience=training.epochs)
    return dataclasses.replace(experiment, training=training)


def _trainable() -> Any:
    """A class of Tune, made where ray is imported."""
    from ray import tune

    class TrialTraining(tune.Trainable):
        """One trial, a step an epoch. The process is used again for the next trial, with what it has traced."""

        def setup(  # type: ignore[override]  # with_parameters hands these on
            self, config: dict[str, Any], *, dataset: list[Any], folder: SearchFolder, split: Split
        ) -> None:
            self._reference = dataset[0]
            self._folder, self._split = folder, split
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            search = self._folder.search
            self._keep, self._mode = keep_of(search, new_config["point"]), mode_of(search)
            self._trial_run = self._folder.run(self._split.fold, new_config["signature"])
            experiment = trial_experiment(search, new_config["point"])
            job = RunJob(self._trial_run, experiment, self._split)
            train = _train_in_group if search.experiment.execution.workers else _train_here
            self._epochs = train(job, self._reference)
            return True

        def step(self) -> dict[str, Any]:
            return summary(*next(self._epochs), self._keep, self._mode)

        def cleanup(self) -> None:
            self._epochs.close()

    return TrialTraining


class Progress(NamedTuple):
    """How far a trial came. history: its records. ended: why there is no further epoch, "" while there is one. failed:
    why it cannot go on, "" while it can."""

    history: Sequence[Record]
    ended: str = ""
    failed: str = ""


Epochs = Generator[Progress]


def _train_here(job: RunJob, dataset: Any) -> Epochs:
    """After each epoch; once more where it failed."""
    import ray

    place = place_of(job.experiment)
    history: Sequence[Record] = job.run.history()
    try:
        with memory_explained(job.run, job.experiment):
            training = Training(job.run, job.experiment, ray.get(dataset), job.split, place=place)
            history = training.history
            if training.stopped:  # its process died between its last epoch and the word of it
                yield Progress(history, training.stopped)
            for _ in training.epochs(save_every_s=SAVE_EVERY_S):
                history = training.history
                yield Progress(history, training.stopped or "")
    except TrainingError as error:
        yield Progress(history, failed=error.reason)


def _train_in_group(job: RunJob, dataset: Any) -> Epochs:
    """The same over a group of workers, followed by the history that its first worker writes."""
    import ray

    execution = job.experiment.execution
    fit = ray.remote(num_cpus=0, max_retries=0)(_fit).options(name=f"group {job.experiment.name}/{job.run.label}")
    group = fit.remote(job, [dataset], execution)
    n_seen = len(job.run.history())
    try:
        while True:
            ended, _ = ray.wait([group], timeout=FOLLOW_S)
            failed = ray.get(group) if ended else ""
            history = job.run.history()
            for n_epochs in range(n_seen + 1, len(history) + 1):
                is_last = bool(ended) and n_epochs == len(history) and not failed
                yield Progress(history[:n_epochs], "all epochs of the group done" if is_last else "")
            n_seen = max(n_seen, len(history))
            if ended:
                yield Progress(history, "" if failed else "all epochs of the group done", failed)
    finally:
        ray.cancel(group, force=True)


def _fit(job: RunJob, dataset: list[Any], execution: Any) -> str:
    """Why it cannot be trained to its end; "" where it was."""
    try:
        fit_group(job, dataset[0], execution, train=_train_in_worker)
    except TrainingError as error:
        return error.reason
    return ""


def _train_in_worker(
    run: Run,
    experiment: Experiment,
    dataset: Any,
    split: Split,
    *,
    parents: tuple[Run, ...] = (),
    place: Place = HERE,
    report: Callable[[dict[str, Any]], None],
) -> None:
    with memory_explained(run, experiment):
        training = Training(run, experiment, dataset, split, parents=parents, place=place)
        for record in training.epochs(save_every_s=SAVE_EVERY_S):
            report(record)


def mode_of(search: Search) -> str:
    """Which score wins, as Tune names it: "max" or "min"."""
    target = search.experiment.target
    return "max" if METRICS[target.kind][target.primary].higher_is_better else "min"


def summary(history: Sequence[Record], ended: str, failed: str, keep: str, mode: str) -> dict[str, Any]:
    """What Tune, the pruner and the sampler learn of an epoch; score is what the trial would compete with, ended now.

    `epoch` counts the trial's own epochs: Tune's iterations begin anew where a trial is taken up again. A trial that
    failed has no score, whatever it had before.
    """
    kept, last = kept_record(history, keep), history[-1] if history else {}
    best = kept if kept and kept["score"] is not None and not failed else None
    worst = -NO_SCORE if mode == "max" else NO_SCORE
    return {
        "epoch": last.get("epoch", 0),
        "score": best["score"] if best else worst,
        "has_score": best is not None,
        "best_epoch": best["epoch"] if best else 0,
        "validation_score": last["score"] if last and last["score"] is not None else worst,
        "validation_loss": last.get("validation_loss"),
        "train_loss": last.get("train_loss"),
        "seconds": round(sum(record["seconds"] for record in history), 3),
        "ended": ended,
        "failed": failed,
        "done": bool(ended or failed),
    }


def _searcher(keeper: Keeper, ctrl_c: CtrlC, mode: str) -> Any:
    from ray.tune.search import Searcher

    class Drawn(Searcher):
        """The keeper, as Tune asks it for trials and reports their results."""

        def __init__(self) -> None:
            super().__init__(metric="score", mode=mode)

        def suggest(self, trial_id: str) -> Any:
            ctrl_c.again()
            config = keeper.begin(trial_id)
            return Searcher.FINISHED if config is None else config

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            ctrl_c.again()
            keeper.saw(trial_id, result)

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            keeper.end(trial_id, result, has_failed=error)

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the folder of the search is the state."""

        def __reduce__(self) -> tuple[type, tuple[()]]:
            return dict, ()  # Tune pickles what it is given, to restore it; it is never restored

    return Drawn()


def _callbacks(search: Search) -> list[Any]:
    """Beside Tune's own files for TensorBoard. ExperimentError where mlflow is asked for and missing, or silent."""
    if not search.mlflow:
        return []
    if find_spec("mlflow") is None:
        raise ExperimentError("mlflow: the package is not installed; pip install mien[mlflow], or leave it out")
    import mlflow
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    try:
        with environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"):  # by default it tries for minutes
            mlflow.MlflowClient(search.mlflow).search_experiments(max_results=1)
    except mlflow.MlflowException as error:
        raise ExperimentError(
            f"mlflow {search.mlflow}: {str(error).splitlines()[0]}; is the server running?"
        ) from error

    return [MLflowLoggerCallback(tracking_uri=search.mlflow, experiment_name=search.experiment.name)]


def _scheduler(search: Search) -> Any:
    from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

    common: dict[str, Any] = {"time_attr": "epoch", "metric": "score", "mode": mode_of(search)}
    common["grace_period"] = search.grace_epochs
    if search.pruner == "asha":
        epochs = max(search.experiment.training.epochs, search.grace_epochs + 1)
        return AsyncHyperBandScheduler(max_t=epochs, reduction_factor=REDUCTION, stop_last_trials=False, **common)
    if search.pruner == "median":

        class Median(MedianStoppingRule):
            def _on_insufficient_samples(self, *_: Any) -> str:
                return self.CONTINUE  # and never pause for others: a trial keeps its process

        return Median(min_samples_required=REDUCTION, **common)
    return None


def _replay(scheduler: Any, folder: SearchFolder, earlier: Sequence[Trial]) -> None:
    """Give a new scheduler every epoch of the trials of an earlier attempt, in the order in which they were begun."""

    @dataclasses.dataclass(frozen=True)
    class Past:
        trial_id: str

    for trial in earlier:
        past = Past(f"past-{trial.signature}")
        scheduler.on_trial_add(None, past)
        history, keep = folder.history(trial), keep_of(folder.search, trial.point)
        for n_epochs in range(1, len(history) + 1):
            result = summary(history[:n_epochs], "", "", keep, mode_of(folder.search))
            if scheduler.on_trial_result(None, past, result) == scheduler.STOP:
                break  # later trials may have made an earlier one a weak one


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune prints nothing of its own, and leaves Ctrl-C to us: what it would keep for later is in our folder."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with environment(TUNE_DISABLE_SIGINT_HANDLER="1", TUNE_RESULT_BUFFER_LENGTH="0", RAY_AIR_NEW_OUTPUT="0"):
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
