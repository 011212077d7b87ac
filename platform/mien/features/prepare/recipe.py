"""Recipe: what an extractor is built from. A process that only asks builds it in another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from mien import connection
from mien.errors import ExperimentError, MienError
from mien.features import extractors
from mien.features.spec import Extractor, FeatureSpec


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an extractor is built from: a name of `mien.features.extractors` or "module:Settings", and its settings.

    settings: fields of its Settings, JSON values only; those left out have their defaults.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: str | tuple[str, Any]) -> Recipe:
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
    def from_json(cls, value: Mapping[str, Any]) -> Description:
        return cls(**{**value, "spec": FeatureSpec.from_json(value["spec"])})


def describe(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A `Description` as JSON, or {"error"} with the sentence for the user; the extractor is built here."""
    try:
        extractor = extractors.build(name, **settings)
    except MienError as error:
        return {"error": str(error)}
    return {
        "spec": extractor.spec.to_json(),
        "medium": extractor.medium,
        "is_heavy": extractor.is_heavy,
        "settings": asdict(extractors.settings_of(name)(**settings)),  # type: ignore[call-overload]
    }


_DESCRIBE = (
    "import json, sys; from mien.features.prepare.recipe import describe; "
    "print(json.dumps(describe(*json.load(sys.stdin))))"
)


def described(recipe: Recipe) -> Description:
    """The extractor's description, from a process of its own.

    It may load torch, and this process may have to load TensorFlow after it: the two in one abort. Raises
    ExperimentError where it cannot be built.
    """
    done = subprocess.run(
        [sys.executable, "-c", _DESCRIBE],
        input=json.dumps([recipe.name, dict(recipe.settings)]),
        env=os.environ | {"PYTHONPATH": connection.search_path()},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ExperimentError(f"features {recipe.name!r} cannot be built: {last}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if "error" in answer:
        raise ExperimentError(answer["error"])
    return Description.from_json(answer)
