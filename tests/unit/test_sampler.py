"""The sampler of a search: it learns from what ended, takes up what did not, and covers a grid."""

from __future__ import annotations

import dataclasses

import pytest

from mien.experiment import DimensionsConfig, Experiment, LossConfig
from mien.experiment.search import Search
from mien.experiment.space import Choice, Range
from mien.results.search_folder import Trial
from mien.training.search.sampler import Sampler

SEARCH = Search(experiment=Experiment(name="base"))
SPACE = {"loss.gamma": Range(0.0, 4.0, False, False), "augment.kind": Choice(("none", "sync"))}


def trial(number: int, point: dict, state: str = "done", score: float | None = 0.5) -> Trial:
    return Trial(fold=0, number=number, signature=str(number), point=point, state=state, score=score, epoch=3)  # type: ignore[arg-type]


def run(sampler: Sampler, score, n_trials: int) -> list[dict]:
    points = []
    for _ in range(n_trials):
        number, point = sampler.draw()
        sampler.report(number, score(point), 1)
        sampler.end(number, "done", score(point))
        points.append(point)
    return points


def peak(point: dict) -> float:
    """Best at gamma 3 with sync."""
    return 1 - abs(point["loss.gamma"] - 3) / 4 - (point["augment.kind"] == "none") / 2


@pytest.mark.slow
def test_tpe_goes_where_it_is_good_and_random_does_not():
    share = {}
    for method in ("tpe", "random"):
        searches = [dataclasses.replace(SEARCH, method=method, seed=seed) for seed in range(3)]
        late = [point for search in searches for point in run(Sampler(search, SPACE, []), peak, 60)[-20:]]
        share[method] = sum(peak(point) > 0.8 for point in late) / len(late)
    assert share["tpe"] > 0.6 > 0.4 > share["random"], "a fifth of the space is that good"


@pytest.mark.slow
def test_an_error_is_minimised():
    """The same peak as a score that is better when lower: a sampler that goes the wrong way finds none of it."""
    experiment = dataclasses.replace(
        SEARCH.experiment, target=DimensionsConfig(primary="rmse"), loss=LossConfig(kind="mse")
    )
    found = [
        point
        for seed in range(3)
        for point in run(
            Sampler(dataclasses.replace(SEARCH, experiment=experiment, seed=seed), SPACE, []), lambda p: -peak(p), 60
        )[-20:]
    ]
    assert sum(peak(point) > 0.8 for point in found) / len(found) > 0.6


def test_the_seed_of_a_search_decides_its_points():
    first, again, other = (
        run(Sampler(dataclasses.replace(SEARCH, seed=seed), SPACE, []), peak, 5) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_what_ended_before_teaches():
    past = run(Sampler(dataclasses.replace(SEARCH, method="random"), SPACE, []), peak, 60)
    earlier = [trial(number, point, score=peak(point)) for number, point in enumerate(past)]
    earlier += [trial(60, past[0], "pruned", 0.2), trial(61, past[1], "failed", None)]
    points = run(Sampler(SEARCH, SPACE, earlier), peak, 10)
    untaught = run(Sampler(SEARCH, SPACE, []), peak, 10)
    good = [sum(peak(point) > 0.8 for point in found) for found in (points, untaught)]
    assert good[0] >= 6 > good[1], "the first ten draws of an untaught sampler are random"


def test_what_was_left_unfinished_is_drawn_first():
    earlier = [trial(0, {"loss.gamma": 1.0, "augment.kind": "none"})]
    earlier += [trial(1, {"loss.gamma": 2.5, "augment.kind": "sync"}, "running", None)]
    sampler = Sampler(SEARCH, SPACE, earlier)
    assert sampler.draw()[1] == earlier[1].point
    assert sampler.draw()[1] not in [one.point for one in earlier]


def test_a_grid_is_covered_once_in_order():
    space = {"augment.kind": Choice(("none", "sync")), "augment.stretch": Choice(([0.9, 1.1], [0.8, 1.2]))}
    sampler = Sampler(dataclasses.replace(SEARCH, method="grid"), space, [])
    points = run(sampler, lambda point: 0.5, 4)
    assert [(p["augment.kind"], p["augment.stretch"]) for p in points] == [
        ("none", [0.9, 1.1]),
        ("none", [0.8, 1.2]),
        ("sync", [0.9, 1.1]),
        ("sync", [0.8, 1.2]),
    ]
    assert sampler.draw() is None
