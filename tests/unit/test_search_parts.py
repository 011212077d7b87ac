"""Searches as far as they go without a worker: what is refused, how many trials fit, and what a pruner is given."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import pytest

from mien.errors import StoreError
from mien.experiment import SvmConfig
from mien.results.search_folder import SearchFolder, Trial
from mien.training.search import search
from tiny import search as at
from tiny import write_store


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    write_store(str(folder / "store"))
    return folder


def test_more_trials_than_fit_are_fewer_at_a_time(tmp_path, monkeypatch):
    _has_cpus(monkeypatch, 5)
    warnings: list[str] = []
    assert search._concurrency(at(tmp_path, parallel=5, workers=2), warnings.append) == 2
    assert warnings == ["5 trials at a time do not fit: the cluster has 5 CPU, 5 of them free. 2 at a time"]
    assert search._concurrency(at(tmp_path, parallel=5), warnings.append) == 5


def _has_cpus(monkeypatch, n: int) -> None:
    """The Ray in use, which does not grow."""
    import ray

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": float(n)}}])
    for name in ("cluster_resources", "available_resources"):
        monkeypatch.setattr(ray, name, lambda: {"CPU": float(n)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {}}, "space is empty"),
        ({"space": {"loss.gama": "0 .. 1"}}, "no such field"),
        ({"method": "grid", "space": {"loss.gamma": "0 .. 1"}}, "list its values with |"),
        ({"questions": {"loss.gamma": "0 .. 1"}}, "give the values to compare"),
        ({"only_folds": (7,)}, "there are folds 0 to 1"),
        ({"workers": 99}, "99 workers of 1 CPU do not fit"),
    ],
)
def test_what_cannot_be_searched_is_one_line(place, changes, message, monkeypatch):
    """In this process: nothing may start before it is refused."""
    monkeypatch.setattr(search, "run_trials", lambda *args, **kwargs: pytest.fail("a trial was started"))
    if "workers" in changes:  # an embedded Ray offers what is asked for: an attached one has what it has
        monkeypatch.setattr(search.connection, "connected", lambda **_: nullcontext())
        _has_cpus(monkeypatch, 2)
    with pytest.raises(search.ExperimentError) as error:
        search.search(at(place, **changes))
    assert message in str(error.value)


def test_a_store_that_lacks_a_feature_and_a_family_without_epochs_are_refused(place):
    asked = at(place)
    lacking = dataclasses.replace(
        asked.experiment, data=dataclasses.replace(asked.experiment.data, features=("egemaps", "face"))
    )
    with pytest.raises(StoreError, match="egemaps"):
        search.search(dataclasses.replace(asked, experiment=lacking))
    svm = dataclasses.replace(asked.experiment, model=SvmConfig())
    with pytest.raises(search.ExperimentError, match="has no validation score"):
        search.search(dataclasses.replace(asked, experiment=svm, space={"model.c": "0.1 .. 10"}))


def test_a_pruner_that_is_told_again_stops_the_same(tmp_path):
    """The rungs of asha and the medians of median, rebuilt from the trials of an earlier attempt."""
    from mien.results.run import Run
    from mien.training.search.tune import _replay, _scheduler, summary

    for pruner in ("asha", "median"):
        asked = dataclasses.replace(at(tmp_path / pruner), pruner=pruner)
        found = SearchFolder.create(asked)
        for number, score in enumerate((0.9, 0.8, 0.7, 0.6)):
            trial = Trial(
                fold=0, number=number, signature=f"t{number}", point={}, state="done", score=score, epoch=1, n_epochs=6
            )
            records = [
                {
                    "epoch": e,
                    "score": score,
                    "score_name": "uar",
                    "validation_loss": 1.0,
                    "train_loss": 1.0,
                    "seconds": 1.0,
                }
                for e in range(1, 7)
            ]
            Run(found.run(0, trial.signature).folder, 0, 0).write_history(records)
            found.write_trial(trial)
        decisions = []
        for earlier in (found.trials(0), []):
            scheduler = _scheduler(asked)
            _replay(scheduler, found, earlier)
            scheduler.on_trial_add(None, _Named("weak"))
            poor = [{**record, "score": 0.1} for record in records[: asked.grace_epochs]]
            decisions.append(scheduler.on_trial_result(None, _Named("weak"), summary(poor, "", "", "best", "max")))
        assert decisions == ["STOP", "CONTINUE"], pruner


@dataclasses.dataclass(frozen=True)
class _Named:
    trial_id: str
