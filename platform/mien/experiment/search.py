"""Search: an experiment, the fields of it that are searched, and how the search is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tyro.conf import arg

from mien.experiment.experiment import Experiment, adapter, validated


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A nested search: in each fold of the protocol, configurations compete on the validation subjects of its training
    side; the winner of a fold alone is trained again, with several seeds, and meets the fold's test subjects."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    experiment: Annotated[Experiment, arg(name="")]
    """What is searched; its name names the folder. Its seeds train the winner of a fold, and the answers to questions,
    again."""
    space: dict[str, str] = field(default_factory=dict)
    """Field to distribution: '0 .. 4', '1e-4 .. 1e-2 log', 'none | audio | sync'."""
    questions: dict[str, str] = field(default_factory=dict)
    """Field to values, such as loss.kind 'cross-entropy | focal': each is tested, all else as chosen, on the same folds
    and seeds."""
    method: Literal["tpe", "random", "grid"] = "tpe"
    """How points are drawn: Optuna's tree-structured Parzen estimator, at random, or all combinations of lists."""
    pruner: Literal["asha", "median", "none"] = "asha"
    """Which trials are stopped early: those not among the best third at epochs 3, 9, 27 (asha, Li et al. 2020), those
    below the median of the others (median), none."""
    trials: int = 20
    """Trials of a fold."""
    minutes: float = 0.0
    """Start no trial of a fold, and stop those that run, after so many minutes; 0: no limit."""
    retries: int = 2
    """Times that a trial whose process died goes on from its last checkpoint."""
    finalists: int = 1
    """The best trials of a fold, so many, are trained again on the other parts of its training side, until each of its
    subjects has validated them; the best mean wins. 1: the best trial wins."""
    grace_epochs: int = 3
    """Epochs that every trial may train before it can be stopped."""
    seed: int = 0
    """Draws the points, and the weights of all trials."""

    mlflow: str = ""
    """Tracking URI of an MLflow that logs the trials as well, such as http://host:5000; needs mlflow installed."""

    def __post_init__(self) -> None:
        for name in ("trials", "finalists", "grace_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1")
        for name in ("minutes", "retries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: 0 or more")

    def to_json(self) -> dict[str, Any]:
        return adapter(Search).dump_python(self, mode="json")

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: str = "") -> Search:
        """The search of a JSON object; an unknown key or a wrong value raises ExperimentError naming it.

        path: where it was read, to be named as well.
        """
        return validated(cls, value, "a search", path)
