"""The model families, by name. Learners are imported only when built."""

from __future__ import annotations

from mien.experiment import (
    AffectEnsembleConfig,
    AvTransformerConfig,
    LstmAttentionConfig,
    MlpConfig,
    Resnet3dLstmConfig,
    SvmConfig,
)
from mien.families.contract import Family

FAMILIES: dict[str, Family] = {
    "lstm_attention": Family(
        config=LstmAttentionConfig,
        framework="tensorflow",
        learner="mien.families.lstm_attention:LstmAttention",
    ),
    "av_transformer": Family(
        config=AvTransformerConfig,
        framework="torch",
        learner="mien.families.av_transformer:learner",
        reading="steps",
    ),
    "affect_ensemble": Family(
        config=AffectEnsembleConfig,
        framework="torch",
        learner="mien.families.affect_ensemble:learner",
        reads=("row", "sequence", "pictures"),
        reading="fused",
    ),
    "mlp": Family(config=MlpConfig, framework="torch", learner="mien.families.mlp:learner", reading="rows"),
    "resnet3d_lstm": Family(
        config=Resnet3dLstmConfig,
        framework="torch",
        learner="mien.families.resnet3d_lstm:learner",
        reads=("pictures",),
        reading="pictures",
        can_miss=False,
    ),
    "svm": Family(
        config=SvmConfig,
        framework="sklearn",
        learner="mien.families.svm:Svm",
        is_iterative=False,
        reading="members",
        has_dropout=False,
    ),
}
BASELINE = "svm"  # what every other family is reported beside
