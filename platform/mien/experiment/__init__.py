"""Frozen configurations: all that decides what is learnt, one page for each concern. No numpy, no ray, no framework."""

from mien.experiment.augment import AugmentConfig
from mien.experiment.data import DataConfig
from mien.experiment.execution import ExecutionConfig
from mien.experiment.experiment import Experiment
from mien.experiment.loss import LossConfig
from mien.experiment.model import (
    AffectEnsembleConfig,
    AvTransformerConfig,
    LstmAttentionConfig,
    MlpConfig,
    ModelConfig,
    Resnet3dLstmConfig,
    SvmConfig,
)
from mien.experiment.protocol import MEETING, STIMULUS, ProtocolConfig
from mien.experiment.target import ClassesConfig, DimensionsConfig, TargetConfig
from mien.experiment.training import TrainingConfig

__all__ = [
    "MEETING",
    "STIMULUS",
    "AffectEnsembleConfig",
    "AugmentConfig",
    "AvTransformerConfig",
    "ClassesConfig",
    "DataConfig",
    "DimensionsConfig",
    "ExecutionConfig",
    "Experiment",
    "LossConfig",
    "LstmAttentionConfig",
    "MlpConfig",
    "ModelConfig",
    "ProtocolConfig",
    "Resnet3dLstmConfig",
    "SvmConfig",
    "TargetConfig",
    "TrainingConfig",
]
