"""Experiment: everything that decides what is learnt, on one page, with a name made of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from tyro.conf import arg

from mien.errors import ExperimentError
from mien.experiment.augment import AugmentConfig
from mien.experiment.data import DataConfig
from mien.experiment.effects import without_effect
from mien.experiment.execution import ExecutionConfig
from mien.experiment.loss import LossConfig
from mien.experiment.model import AffectEnsembleConfig, LstmAttentionConfig, ModelConfig, SvmConfig
from mien.experiment.protocol import ProtocolConfig
from mien.experiment.target import ClassesConfig, DimensionsConfig, TargetConfig
from mien.experiment.training import TrainingConfig

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Declared = TypeVar("Declared")


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A question to the data, frozen. Two experiments with one signature are the same experiment."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    name: str
    """Folder of its runs; letters, digits and dashes."""
    question: str = ""
    """What it is meant to find out, in one sentence; shown on top of the report."""
    data: DataConfig = field(default_factory=DataConfig)
    target: TargetConfig = field(default_factory=ClassesConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=LstmAttentionConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    parents: tuple[str, ...] = ()
    """Series that this experiment builds on, as <experiment>/<signature> in the same storage. Its model reads their
    predictions of clips that they were not trained on, one row per clip, beside data.features. Of each the run of the
    same seed is read, of <experiment>/<signature>/seed-<n> that of seed n."""
    execution: Annotated[ExecutionConfig, arg(name="")] = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum():
            raise ValueError(f"experiment name {self.name!r}: letters, digits and dashes only, it names a folder")
        is_of_dimensions = isinstance(self.target, DimensionsConfig)
        has_a_loss = not isinstance(self.model, SvmConfig)  # of its own, whatever is said here
        if has_a_loss and is_of_dimensions != (self.loss.kind in ("mse", "ccc")):
            remedy = "mse or ccc" if is_of_dimensions else "focal or cross-entropy"
            raise ValueError(f"loss.kind is {self.loss.kind} and the target is of {self.target.kind}: choose {remedy}")
        if not self.data.features and not self.parents:
            raise ValueError("data.features is empty and there are no parents: name at least one feature")

    @property
    def learns(self) -> bool:
        """False where the model is a fixed rule over what its parents predict."""
        model = self.model
        return not (isinstance(model, AffectEnsembleConfig) and model.fusion == "late" and model.late == "equal")

    def to_json(self) -> dict[str, Any]:
        return adapter(Experiment).dump_python(self, mode="json")

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: str = "") -> Experiment:
        """The experiment of a JSON object; an unknown key or a wrong value raises ExperimentError naming it.

        path: where it was read, to be named as well.
        """
        return validated(cls, value, "an experiment", path)

    def signature(self, fingerprints: Mapping[str, str]) -> str:
        """Eight hex digits of everything that decides what is learnt.

        Name, question and execution are left out: asking the same again, elsewhere or wider, resumes. So are settings
        without effect (`mien.experiment.effects`). fingerprints: "<corpus>/<feature>" to the fingerprint of those rows
        in the store.
        """
        content = {key: value for key, value in self.to_json().items() if key not in NOT_LEARNT}
        for path in without_effect(self):
            page, _, name = path.partition(".")
            del content[page][name]
        text = json.dumps([content, dict(fingerprints)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


NOT_LEARNT = ("name", "question", "execution")


def validated(declared: type[Declared], value: Mapping[str, Any], what: str, path: str) -> Declared:
    """A dataclass of a JSON object; ExperimentError names each key that is wrong. what: "an experiment"."""
    from pydantic import ValidationError

    try:
        return adapter(declared).validate_python(value)  # type: ignore[arg-type]  # typeshed: a type is no Hashable
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()]
        raise ExperimentError(f"{path}{': ' if path else ''}not {what}: {'; '.join(lines)}") from None


@cache
def adapter(declared: type[Declared]) -> TypeAdapter[Declared]:
    """Built on first use: pydantic is not needed to declare an experiment."""
    from pydantic import TypeAdapter

    return TypeAdapter(declared)
