"""Effects: which settings of an experiment decide nothing, because another setting switches them off.

Two experiments that differ only in such settings learn the same, so these settings do not enter the signature, and a
search refuses to search what can never have an effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mien.experiment.loss import LossConfig
from mien.experiment.model import AffectEnsembleConfig, AvTransformerConfig, LstmAttentionConfig, SvmConfig
from mien.experiment.training import TrainingConfig

if TYPE_CHECKING:
    from mien.experiment.experiment import Experiment

# The settings that switch others on and off.
SWITCHES = (
    *("augment.kind", "augment.factor", "augment.probability", "loss.kind", "model.conv_filters", "model.conv"),
    *("model.fusion", "training.keep", "training.schedule"),
)
SYNC_ONLY = ("stretch", "noise", "reference")
AUDIO_ONLY = ("audio_noise", "audio_pitch", "audio_tempo")
PIXELS_ONLY = ("flip", "brightness", "contrast")
OF_SEVERAL = ("cross_layers", "modality_dropout", "auxiliary")  # what inputs are to each other
CLASSES_ONLY = ("gamma", "alpha", "label_smoothing")


def without_effect(experiment: Experiment) -> dict[str, str]:
    """The paths of the settings that decide nothing here, and why.

    >>> from mien.experiment import Experiment, LossConfig
    >>> without_effect(Experiment(name="x", loss=LossConfig(kind="cross-entropy")))["loss.gamma"]
    'loss.kind is cross-entropy'
    """
    found: dict[str, str] = {}

    def switched_off(page: str, names: Iterable[str], why: str) -> None:
        for name in names:
            found.setdefault(f"{page}.{name}", why)

    if not experiment.data.pictures:
        # pictures itself as well: the signatures of experiments from before there was such a choice stay what they were
        switched_off("data", ["pictures", "picture_step"], "data.pictures is 0: all pictures are read")

    augment, loss, model, training = experiment.augment, experiment.loss, experiment.model, experiment.training
    if augment.kind == "none":
        switched_off("augment", _names(augment) - {"kind"}, "augment.kind is none")
    elif augment.kind == "pixels":
        switched_off("augment", _names(augment) - {"kind", *PIXELS_ONLY}, "augment.kind is pixels")
    elif augment.factor == 1:
        switched_off("augment", _names(augment) - {"factor"}, "augment.factor is 1: it adds no copies")
    elif augment.probability == 0:
        switched_off("augment", _names(augment) - {"probability"}, "augment.probability is 0: it adds no copies")
    elif augment.kind == "audio":
        switched_off("augment", (*SYNC_ONLY, *PIXELS_ONLY), "augment.kind is audio")
    else:
        switched_off("augment", (*AUDIO_ONLY, *PIXELS_ONLY), f"augment.kind is {augment.kind}")

    if loss.kind in ("mse", "ccc"):
        switched_off("loss", CLASSES_ONLY, f"loss.kind is {loss.kind}")
    elif experiment.target.kind == "dimensions":  # a support vector machine, which has a loss of its own
        switched_off("loss", CLASSES_ONLY, "target.kind is dimensions")
    elif loss.kind != "focal":
        switched_off("loss", ["gamma"], f"loss.kind is {loss.kind}")
    if loss.kind != "ccc":
        switched_off("loss", ["mse"], f"loss.kind is {loss.kind}")

    keeps_last = training.keep == "last"
    if isinstance(model, SvmConfig):
        keeps_last = True
        switched_off("training", _names(TrainingConfig), "a support vector machine is fitted in one pass")
        switched_off("loss", _names(LossConfig) - {"alpha"}, "a support vector machine has a loss of its own")
    if not experiment.learns:
        keeps_last = True
        switched_off("training", _names(TrainingConfig), "model.late is equal: nothing is learnt")
        switched_off("loss", _names(LossConfig), "model.late is equal: nothing is learnt")
    if keeps_last:
        switched_off("training", ["patience"], "training.keep is last")
        switched_off("protocol", ["validation"], "nothing is held out: the validation clips are trained on as well")
    if training.schedule != "one-cycle":
        switched_off("training", ["warmup"], f"training.schedule is {training.schedule}")
    is_alone = len(experiment.data.features) + len(experiment.parents) == 1
    if is_alone and isinstance(model, AvTransformerConfig | AffectEnsembleConfig):
        switched_off("model", _names(model) & set(OF_SEVERAL), "there is one input")
    if isinstance(model, AffectEnsembleConfig):
        if model.fusion == "late":
            switched_off("model", _names(model) - {"family", "fusion", "late"}, "model.fusion is late")
        else:
            switched_off("model", ["late"], f"model.fusion is {model.fusion}")
        if model.fusion == "early":
            switched_off("model", ["modality_dropout", "auxiliary"], "model.fusion is early")
        else:
            switched_off("model", ["step_s"], f"model.fusion is {model.fusion}")
    if isinstance(model, LstmAttentionConfig):
        if not model.conv_filters:
            switched_off("model", ["conv", "conv_kernel"], "model.conv_filters is 0")
        elif not model.conv:
            switched_off("model", ["conv_filters", "conv_kernel"], "model.conv is empty")

    kind = experiment.protocol.kind
    if kind in ("loso", "leave-one-corpus-out", "official"):
        switched_off("protocol", ["folds"], f"protocol.kind is {kind}")
        if keeps_last:
            switched_off("protocol", ["seed"], f"protocol.kind is {kind} and nothing is held out: nothing is drawn")
    return found


def set_in_vain(experiment: Experiment) -> dict[str, tuple[Any, str]]:
    """Those of them that somebody has set: path to its value, which is not the default, and why it decides nothing."""
    found = {}
    for path, why in without_effect(experiment).items():
        page, _, name = path.partition(".")
        config = getattr(experiment, page)
        value = getattr(config, name)
        if value != getattr(type(config)(), name):
            found[path] = (value, why)
    return found


def setting(path: str) -> str:
    """The setting that a path of a search lies in.

    >>> setting("augment.stretch.0")
    'augment.stretch'
    """
    return ".".join(path.split(".")[:2])


def _names(page: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(page)}
