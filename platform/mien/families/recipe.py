"""Recipe: all that makes a finished run's model usable beside its arrays, as recipe.json in the run's model/ folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mien import __version__
from mien.errors import MienError
from mien.experiment import LossConfig, ModelConfig, TrainingConfig
from mien.experiment.experiment import adapter
from mien.experiment.target import TargetSpec
from mien.families.contract import ALONE, Group, Task
from mien.features.spec import FeatureSpec
from mien.folder import damaged

RECIPE, NORMALISER, PARENTS = "recipe.json", "normaliser.npz", "parents"  # in model/, beside the learner's files
FORMAT = 1  # raised when an older mien could misread what a newer one writes


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecipe:
    """How a model was built and what it reads.

    inputs: feature to spec, in the order in which the model was built. extractors: feature to {"name", "settings",
    "medium"} as `prepare` was asked, None where it is not known (a store that another program wrote). normalise:
    "train" or "speaker", see `mien.data.normalise`. is_synthetic: whether a corpus that it learned from was. pictures,
    picture_step: which of a clip's pictures it sees, see `mien.data.pictures`. temperature: what makes its confidence
    that of its validation clips (`mien.results.calibration.at_temperature`), None where none was held out.
    """

    model: ModelConfig
    training: TrainingConfig
    loss: LossConfig
    seed: int
    target: TargetSpec
    inputs: Mapping[str, FeatureSpec]
    extractors: Mapping[str, Mapping[str, Any] | None]
    normalise: str
    is_synthetic: bool
    pictures: int = 0
    picture_step: int = 0
    temperature: float | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """Inputs that are the predictions of other runs, whose models lie in parents/<input>/ beside this."""
        return tuple(name for name, spec in self.inputs.items() if "parent" in spec.settings)

    def task(self, group: Group = ALONE) -> Task:
        """What to build the learner for, to restore it."""
        weights = np.ones(len(self.target.names), np.float32)  # they count in training only
        return Task(self.model, self.training, self.loss, self.inputs, self.target, weights, self.seed, group)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "mien": __version__,
            "model": adapter(ModelConfig).dump_python(self.model, mode="json"),
            "training": adapter(TrainingConfig).dump_python(self.training, mode="json"),
            "loss": adapter(LossConfig).dump_python(self.loss, mode="json"),
            "seed": self.seed,
            "target": asdict(self.target),
            "inputs": {name: spec.to_json() for name, spec in self.inputs.items()},
            "extractors": dict(self.extractors),
            "normalise": self.normalise,
            "is_synthetic": self.is_synthetic,
            "pictures": self.pictures,
            "picture_step": self.picture_step,
            "temperature": self.temperature,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: str = "recipe.json") -> ModelRecipe:
        """The recipe of a JSON object. Raises MienError for another format, DamagedError for what is no recipe."""
        if value.get("format", FORMAT) != FORMAT:
            raise MienError(
                f"{path}: format {value['format']} of a model, this mien {__version__} reads format {FORMAT}: use "
                f"the mien that wrote it ({value.get('mien', 'unknown')}), or train again"
            )
        try:
            target = value["target"]
            return cls(
                model=adapter(ModelConfig).validate_python(value["model"]),
                training=adapter(TrainingConfig).validate_python(value["training"]),
                loss=adapter(LossConfig).validate_python(value["loss"]),
                seed=int(value["seed"]),
                target=TargetSpec(target["kind"], tuple(target["names"]), target["primary"]),
                inputs={name: FeatureSpec.from_json(spec) for name, spec in value["inputs"].items()},
                extractors=dict(value["extractors"]),
                normalise=str(value["normalise"]),
                is_synthetic=bool(value["is_synthetic"]),
                pictures=int(value.get("pictures", 0)),
                picture_step=int(value.get("picture_step", 0)),
                temperature=None if (found := value.get("temperature")) is None else float(found),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, f"not a model's recipe: {error}") from error
