"""The hyper-parameters of each model family. The `family` field is the key into `mien.families.FAMILIES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmAttentionConfig:
    """Conv1D -> BiLSTM -> temporal attention for each input, concatenated, then a dense head (system S1)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["lstm_attention"] = "lstm_attention"
    step_s: float = 0.3
    """One clock for all sequences: each is read at this step, in seconds. 0 reads every frame."""
    conv_filters: int = 0
    """Filters of a Conv1D before the BiLSTM of some sequences (conv); 0 leaves it out."""
    conv: tuple[str, ...] = ("audio",)
    """Modalities whose sequences pass the Conv1D."""
    conv_kernel: int = 3
    lstm_units: int = 64
    """Units of the LSTM in each direction."""
    pooling: Literal["attention", "tanh-attention", "mean", "max", "last"] = "attention"
    """What makes one vector of a sequence. attention: weights by a small network (Bahdanau et al. 2015).
    tanh-attention: weights by a single tanh unit, as system S1 has it. mean, max: over the valid frames. last: the last
    state of either direction."""
    row_units: int = 128
    """Units of the dense layer that reads inputs of one row per clip instead of a sequence."""
    dense_units: int = 128
    """Units of the dense layer over all inputs together."""
    dropout: float = 0.4
    """Of the inputs' vectors and of the dense layer."""
    row_dropout: float = 0.1
    """Of the columns of inputs of one row per clip; 0.5 where one has more than a thousand."""
    input_noise: float = 0.2
    """Standard deviation of Gaussian noise on the standardised inputs while training."""
    auxiliary: float = 0.5
    """Weight of the loss of each input's own prediction beside the joint one; 0 leaves it out."""
    experts: tuple[str, ...] = ()
    """Inputs whose own predictions are multiplied with the joint one: a feature, or those of several whole-clip rows
    together, such as egemaps-clip+openface-clip."""
    norm: Literal["layer", "batch", "none"] = "layer"
    """Normalisation of the vectors. batch uses each worker's own part of the batch."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}: from 0 to below 1")
        if self.experts and not self.auxiliary:
            raise ValueError("model.experts need a model.auxiliary above 0: without it they learn nothing")
        if self.step_s < 0:
            raise ValueError(f"model.step_s is {self.step_s}: seconds, 0 or more")
        for name in ("conv_kernel", "lstm_units", "row_units", "dense_units"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SvmConfig:
    """Support vector machine (RBF) on one row per clip: the baseline that a deep model must beat. Of classes a
    classifier (SVC), of dimensions a regression for each (SVR).

    Sequences are reduced to mean and standard deviation over their valid frames.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["svm"] = "svm"
    c: float = 1.0
    """Penalty C; the width of the kernel is scikit-learn's "scale"."""
    members: tuple[str, ...] = ()
    """Late fusion: one machine for each entry, such as egemaps-clip+openface-clip, and their probabilities
    multiplied (of dimensions: their predictions averaged). Empty: one machine on all features."""

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"model.c is {self.c}: above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class MlpConfig:
    """Dense layers over mean and spread of each input's frames, in torch: the reference for new torch families."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["mlp"] = "mlp"
    units: int = 64
    """Units of each hidden layer."""
    layers: int = 2
    """Hidden layers."""
    dropout: float = 0.2
    """Of each hidden layer."""

    def __post_init__(self) -> None:
        for name in ("units", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}: from 0 to below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class AvTransformerConfig:
    """A transformer encoder for each input, attention from each to all others, a head over all (system S2)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["av_transformer"] = "av_transformer"
    width: int = 256
    """Numbers per step within the model."""
    heads: int = 8
    """Attention heads; width is a multiple of it."""
    layers: int = 4
    """Encoder layers of each sequence."""
    cross_layers: int = 1
    """Layers in which each input attends to all others; 0 joins the inputs in the head alone."""
    feedforward: int = 1024
    """Units of the feed-forward part of each layer."""
    dropout: float = 0.1
    """Of attention, feed-forward parts and the head."""
    step_s: float = 0.0
    """Sequences are read at this step, in seconds. 0 reads every frame."""
    max_steps: int = 1000
    """A longer sequence is thinned out evenly to so many steps."""
    row_dropout: float = 0.1
    """Of the columns of inputs of one row per clip; 0.5 where one has more than a thousand."""
    input_noise: float = 0.0
    """Standard deviation of Gaussian noise on the standardised inputs while training."""
    modality_dropout: float = 0.1
    """Probability that an input of a training clip is hidden; never all that it has."""
    auxiliary: float = 0.3
    """Weight of the loss of each input's own prediction beside the joint one; 0 leaves it out."""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers", "feedforward", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")
        if self.width % (2 * self.heads):
            raise ValueError(f"model.width is {self.width}: must be a multiple of twice model.heads ({self.heads})")
        for name in ("dropout", "row_dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: from 0 to below 1")
        for name in ("cross_layers", "step_s", "input_noise", "auxiliary"):
            if getattr(self, name) < 0:
                raise ValueError(f"model.{name} is {getattr(self, name)}: 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resnet3dLstmConfig:
    """3D ResNet over pictures of a face -> BiLSTM over time -> a dense head (system S4)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["resnet3d_lstm"] = "resnet3d_lstm"
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage; 2 2 2 2 is R3D-18."""
    width: int = 64
    """Channels of the first stage; each further one has twice as many. 64 in R3D-18."""
    time_stride: bool = True
    """Whether all stages but the first halve the steps, as R3D does: 48 pictures become 6 steps. Otherwise 48."""
    norm: Literal["group", "frozen"] = "group"
    """group: statistics of each clip, for models that learn from nothing. frozen: those that the weights came with."""
    weights: str = ""
    """File, s3:// URI or URL of the weights of torchvision's r3d_18 (Kinetics-400), a state dict; empty: none. They
    need norm frozen."""
    weights_sha256: str = ""
    """Their SHA-256 in hex; empty: whatever is there is taken."""
    lstm_units: int = 128
    """Units of the LSTM in each direction."""
    dense_units: int = 128
    """Units of the dense layer."""
    dropout: float = 0.5
    """Before the last layer."""
    precision: Literal["float32", "mixed"] = "float32"
    """mixed: convolutions and matrix products in bfloat16 on a GPU that has it; weights stay float32."""
    compiled: bool = False
    """Whether torch compiles the model; on a GPU only."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.blocks) <= 4 or min(self.blocks) < 1:
            raise ValueError(f"model.blocks is {self.blocks}: one to four stages of at least one block")
        for name in ("width", "lstm_units", "dense_units"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}: from 0 to below 1")
        if self.weights and (self.norm != "frozen" or self.blocks != (2, 2, 2, 2) or self.width != 64):
            raise ValueError(
                "model.weights are those of R3D-18: set model.norm to frozen, blocks to 2 2 2 2, width to 64"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AffectEnsembleConfig:
    """A network for each sensor, and their fusion early, late or in the middle (system S3)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["affect_ensemble"] = "affect_ensemble"
    fusion: Literal["early", "hybrid", "late"] = "hybrid"
    """early: all inputs side by side on one clock, one network over them. hybrid: a network for each input, attention
    over what they found. late: of the predictions of parents alone."""
    late: Literal["weighted", "meta", "equal"] = "weighted"
    """late: one learnt weight for each parent; a linear meta-classifier over all that they predict; or equal weights,
    by which nothing is learnt: of classes the geometric mean of what they predict (the product rule of Kittler et al.
    1998, no surer for their number), of dimensions the mean. Parents of equal weights may keep their last epoch."""
    step_s: float = 1.0
    """early: seconds from one step of the common clock to the next."""
    units: int = 64
    """Width of each input's network and of the fusion."""
    kernel: int = 5
    """Steps that a convolution over time reaches over."""
    dropout: float = 0.3
    """Within the networks and of what they found."""
    modality_dropout: float = 0.2
    """hybrid: probability that an input of a training clip is hidden; never all that it has."""
    auxiliary: float = 0.3
    """hybrid: weight of the loss of each input's own prediction beside the joint one; 0 leaves it out."""

    def __post_init__(self) -> None:
        for name in ("units", "kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")
        if self.units % 4:
            raise ValueError(f"model.units is {self.units}: a multiple of 4")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: from 0 to below 1")
        if self.step_s <= 0 or self.auxiliary < 0:
            raise ValueError(
                f"model.step_s is {self.step_s} and model.auxiliary {self.auxiliary}: above 0, and 0 or more"
            )


ModelConfig = (
    LstmAttentionConfig | SvmConfig | MlpConfig | AvTransformerConfig | Resnet3dLstmConfig | AffectEnsembleConfig
)
