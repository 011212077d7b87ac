"""Sampler: Optuna draws the points of one fold, knowing how the earlier ones did. Knows no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

from mien.experiment.search import Search
from mien.experiment.space import Choice, Distribution, as_optuna, drawn_value, optuna_value
from mien.results.metrics import METRICS
from mien.results.search_folder import Trial

STATES = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class Sampler:
    """Points by number, in the order drawn.

    earlier: trials of an earlier attempt. Finished ones are what the sampler learns from; unfinished ones are drawn
    first. A grid draws every combination of its lists once, in order. Others may draw a point twice: the caller, who
    knows the points that there are, ends it by `end(number, "failed", None)`.
    """

    def __init__(self, search: Search, space: Mapping[str, Distribution], earlier: Sequence[Trial]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._distributions = {path: as_optuna(of) for path, of in space.items()}
        self._study = optuna.create_study(direction=_direction(search), sampler=_sampler(search))
        for trial in earlier:
            if trial.state in STATES:
                self._study.add_trial(self._frozen(trial))
        self._first: Iterator[Mapping[str, Any]] = iter([t.point for t in earlier if t.state not in STATES])
        self._is_grid = search.method == "grid"
        if self._is_grid:
            lists = [of.values for of in space.values() if isinstance(of, Choice)]
            self._first = iter([*self._first, *(dict(zip(space, values)) for values in product(*lists))])
        self._drawn: dict[int, Any] = {}

    def draw(self) -> tuple[int, dict[str, Any]] | None:
        """Number and point of the next trial; None where a grid is used up."""
        point = next(self._first, None)
        if point is not None:
            self._study.enqueue_trial(self._encoded(point))
        elif self._is_grid:
            return None
        drawn = self._study.ask(self._distributions)
        self._drawn[drawn.number] = drawn
        values = {path: drawn_value(self._space[path], value) for path, value in drawn.params.items()}
        return drawn.number, values

    def report(self, number: int, score: float, epoch: int) -> None:
        """The score of a trial after an epoch: what a pruned one is remembered by."""
        self._drawn[number].report(score, epoch)

    def end(self, number: int, state: str, score: float | None) -> None:
        """How a trial ended; an unfinished one teaches nothing."""
        import optuna

        state = STATES.get(state, "FAIL")
        value = score if state == "COMPLETE" else None
        self._study.tell(self._drawn.pop(number), value, state=optuna.trial.TrialState[state])

    def _frozen(self, trial: Trial) -> Any:
        from optuna.trial import TrialState, create_trial

        scored = {trial.epoch: trial.score} if trial.score is not None else {}
        return create_trial(
            params=self._encoded(trial.point),
            distributions=self._distributions,
            value=trial.score if trial.state == "done" else None,
            state=TrialState[STATES[trial.state]],
            intermediate_values=scored if trial.state == "pruned" else {},
        )

    def _encoded(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return {path: optuna_value(self._space[path], value) for path, value in point.items()}


def _direction(search: Search) -> Literal["maximize", "minimize"]:
    target = search.experiment.target
    return "maximize" if METRICS[target.kind][target.primary].higher_is_better else "minimize"


def _sampler(search: Search) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    if search.method == "tpe":
        # A trial that still runs is taken for a bad one, so that the next is not drawn beside it.
        return TPESampler(seed=search.seed, constant_liar=True)
    return RandomSampler(seed=search.seed)
