"""Experiments whose parts do not fit each other, the data or the machine, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from mien.data.dataset import Dataset
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import Experiment
from mien.families import FAMILIES
from mien.features.spec import FeatureSpec


def check_launch(experiment: Experiment, dataset: Dataset, splits: Sequence[Split]) -> None:
    """Raises ExperimentError naming the setting that does not fit, and what would."""
    execution, name = experiment.execution, experiment.model.family
    family = FAMILIES[name]
    if family.framework == "sklearn":
        if execution.workers:
            raise ExperimentError(f"{name} is fitted in one process: set execution.workers to 0")
        if execution.gpu:
            raise ExperimentError(f"{name} has no use for a GPU: leave out execution.gpu")
    if experiment.target.kind not in family.targets:
        able = ", ".join(other for other, one in FAMILIES.items() if experiment.target.kind in one.targets)
        raise ExperimentError(f"{name} does not learn {experiment.target.kind}: choose from {able}")
    specs = {feature: column.spec for feature, column in dataset.columns.items()}
    for feature, spec in specs.items():
        if reads(spec) not in family.reads:
            raise ExperimentError(f"{name} does not read {feature} ({reads(spec)}): it reads {', '.join(family.reads)}")
    if experiment.data.pictures and all(spec.is_numeric for spec in specs.values()):
        raise ExperimentError(
            f"data.pictures is {experiment.data.pictures}, and none of {', '.join(specs)} is of pictures: leave it out"
        )
    lacking = set(family.needs) - {spec.modality for spec in specs.values()}
    if lacking:
        raise ExperimentError(f"{name} needs a feature of {', '.join(sorted(lacking))}: add one to data.features")
    if not family.can_miss and experiment.data.missing != "drop":
        raise ExperimentError(f"{name} cannot do without one of its inputs: set data.missing to drop")
    unknown = set(execution.only_folds) - {split.fold for split in splits}
    if unknown:
        raise ExperimentError(f"execution.only_folds names {sorted(unknown)}: there are folds 0 to {len(splits) - 1}")
    if experiment.parents and family.is_iterative and experiment.learns and experiment.training.keep == "best":
        raise ExperimentError(
            "parents: a model learns from the validation clips of its parents, so none are left to stop by: set "
            "training.keep to last"
        )


def reads(spec: FeatureSpec) -> str:
    """What kind of input a feature is: "row", "sequence" or "pictures".

    >>> reads(FeatureSpec(name="x", version=1, modality="audio", shape=(3,), hop_s=None))
    'row'
    """
    if not spec.is_numeric:
        return "pictures"
    return "row" if spec.hop_s is None else "sequence"
