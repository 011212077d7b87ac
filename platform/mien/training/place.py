"""Place: where one worker stands in the training of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mien.errors import ExperimentError
from mien.experiment import Experiment
from mien.families import FAMILIES, frameworks
from mien.families.contract import ALONE, Group


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place. group: those that train one model together. leaving: whether a node of one of them is about to
    be taken away; all workers ask equally often and get the same answer."""

    group: Group = ALONE
    leaving: Callable[[], bool] = lambda: False


HERE = Place()  # alone, in this process


def place_of(
    experiment: Experiment, rank: int = 0, world: int = 1, leaving: Callable[[], bool] = lambda: False
) -> Place:
    """The place of this process. Raises ExperimentError where a GPU is asked for and the framework sees none."""
    framework = FAMILIES[experiment.model.family].framework
    group = frameworks.group(framework, rank, world)
    if experiment.execution.gpu and group.device == "cpu":
        raise ExperimentError(
            f"execution.gpu: {framework} sees no GPU in the process that was given one; `mien cluster doctor` says "
            "what each node lacks, or train without it"
        )
    return Place(group, leaving)
