"""The extractors: one factory each, found by name and imported only when asked for.

A factory takes its settings as keywords and returns an `Extractor` (see `mien.features.spec`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mien.errors import ExperimentError
from mien.features.spec import Extractor

EXTRACTORS: dict[str, str] = {
    "egemaps": "mien.features.extractors.opensmile:egemaps",
    "egemaps-clip": "mien.features.extractors.opensmile:egemaps_clip",
    "compare-clip": "mien.features.extractors.opensmile:compare_clip",
    "facenet": "mien.features.extractors.facenet:facenet",
    "openface": "mien.features.extractors.openface:openface",
    "openface-clip": "mien.features.extractors.openface:openface_clip",
}


def build(name: str, **settings: Any) -> Extractor:
    """An extractor by name; an unknown name raises ExperimentError with the known ones."""
    if name not in EXTRACTORS:
        raise ExperimentError(f"unknown features {name!r}: choose from {', '.join(EXTRACTORS)}")
    module, _, factory = EXTRACTORS[name].partition(":")
    return getattr(import_module(module), factory)(**settings)
