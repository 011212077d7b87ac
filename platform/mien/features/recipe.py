"""Recipe: what an extractor is built from; Description: what is to be known of it without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from mien.errors import ExperimentError
from mien.features import extractors
from mien.features.spec import Extractor, FeatureSpec


@dataclass(frozen=True, slots=True)
class ExtractorRecipe:
    """What an extractor is built from: a name of `mien.features.extractors` or "module:Settings", and its settings.

    settings: fields of its Settings, JSON values only; those left out have their defaults.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: str | tuple[str, Any]) -> ExtractorRecipe:
        """From a name, or from a name with settings: a mapping or the Settings themselves."""
        name, settings = (asked, {}) if isinstance(asked, str) else asked
        return cls(name, asdict(settings) if is_dataclass(settings) else dict(settings))  # type: ignore[arg-type]

    def build(self) -> Extractor:
        """The extractor. Raises MienError for an unknown name, and where its settings do not fit."""
        return extractors.build(self.name, **self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What is to be known of an extractor without building it. settings: all of them, with their defaults."""

    spec: FeatureSpec
    medium: str
    is_heavy: bool
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: ExtractorRecipe, extractor: Extractor) -> Description:
        """Of an extractor that was built from this recipe."""
        settings = asdict(extractors.choose(recipe.name, **recipe.settings))  # type: ignore[call-overload]
        return cls(spec=extractor.spec, medium=extractor.medium, is_heavy=extractor.is_heavy, settings=settings)

    def check(self, wanted: FeatureSpec) -> None:
        """Raises ExperimentError where it gives other features than those that a model was trained on."""
        if self.spec != wanted:
            raise ExperimentError(
                f"{wanted.name}: extracted here as {self.spec.folder}, and this run was trained on {wanted.folder}: "
                "use the mien and the weights that it was trained with"
            )
