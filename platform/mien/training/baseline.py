"""The baseline: what every other model is reported beside, on the same clips, features and folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mien.experiment import AugmentConfig, ClassesConfig, Experiment, LossConfig, SvmConfig, TrainingConfig
from mien.families import BASELINE, FAMILIES
from mien.features.spec import FeatureSpec
from mien.training.refusals import reads


def has_baseline(experiment: Experiment, specs: Mapping[str, FeatureSpec]) -> bool:
    """Whether there is one: not of a baseline, of parents alone, or of pictures, which it does not read."""
    if experiment.model.family == BASELINE or not specs:
        return False
    return all(reads(spec) in FAMILIES[BASELINE].reads for spec in specs.values())


def baseline_of(experiment: Experiment) -> Experiment:
    """Support vector machines on the data, target and protocol of an experiment; one seed, no augmentation.

    Of classes a machine for each feature, their probabilities multiplied: a single one on all features is too easy to
    beat where a wide feature carries little (docs/lab-log.md). Where the experiment trains on workers, the baseline's
    folds are tasks on as many of them, so that a cluster's head computes nothing.
    """
    execution = experiment.execution
    is_of_classes = isinstance(experiment.target, ClassesConfig)
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-svm",
        question=f"What do support vector machines reach on the features and folds of {experiment.name}?",
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy", label_smoothing=0.0) if is_of_classes else LossConfig(kind="mse"),
        model=SvmConfig(c=3.0, members=experiment.data.features),
        training=TrainingConfig(epochs=1),
        parents=(),
        execution=dataclasses.replace(
            execution,
            seeds=(0,),
            workers=0,
            min_workers=0,
            cpus_per_worker=1,
            gpu=False,
            parallel=max(execution.parallel, execution.workers),
        ),
    )
