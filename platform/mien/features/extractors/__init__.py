"""The extractors by name: one frozen dataclass of settings each, imported only when asked for.

Its fields are what can be chosen, its `build()` gives the `Extractor` (see `mien.features.spec`). An extractor of your
own needs no entry here: name it "module:Settings".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from typing import Any, TypeVar, cast, get_type_hints

from mien.errors import ExperimentError, nearest
from mien.features.spec import Extractor, Settings

Made = TypeVar("Made")

EXTRACTORS: dict[str, str] = {
    "egemaps": "mien.features.extractors.opensmile:EgemapsSettings",
    "egemaps-clip": "mien.features.extractors.opensmile:EgemapsClipSettings",
    "egemaps-lld": "mien.features.extractors.opensmile:EgemapsLldSettings",
    "compare-clip": "mien.features.extractors.opensmile:CompareClipSettings",
    "logmel": "mien.features.extractors.spectral:LogMelSettings",
    "speech-encoder": "mien.features.extractors.speech_encoder:SpeechEncoderSettings",
    "facenet": "mien.features.extractors.facenet:FaceNetSettings",
    "frames": "mien.features.extractors.frames:FramesSettings",
    "image-encoder": "mien.features.extractors.image_encoder:ImageEncoderSettings",
    "blendshapes": "mien.features.extractors.blendshapes:BlendshapesSettings",
    "openface": "mien.features.extractors.openface:OpenFaceSettings",
    "openface-clip": "mien.features.extractors.openface:OpenFaceClipSettings",
    "eeg-bands": "mien.features.extractors.eeg_bands:EegBandsSettings",
    "eeg-connectivity": "mien.features.extractors.eeg_connectivity:EegConnectivitySettings",
    "eeg-raw": "mien.features.extractors.eeg_raw:EegRawSettings",
    "physio": "mien.features.extractors.physio:PhysioSettings",
    "physio-raw": "mien.features.extractors.physio_raw:PhysioRawSettings",
}


def settings_of(name: str) -> type[Settings]:
    """The dataclass of an extractor's settings, by its name or as "module:Settings".

    An unknown name raises ExperimentError with the known ones.
    """
    module, _, attribute = EXTRACTORS.get(name, name).partition(":")
    if not attribute:
        raise ExperimentError(
            f"unknown features {name!r}: {nearest(name, EXTRACTORS)}, or name your own module:Settings"
        )
    try:
        found = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith(error.name or ""):
            raise  # found, but it imports what is not installed
        raise ExperimentError(f"features {name!r}: {error}; is its module on PYTHONPATH?") from error
    if not (isinstance(found, type) and is_dataclass(found) and hasattr(found, "build")):
        raise ExperimentError(f"features {name!r}: {attribute} is no dataclass of settings with a build()")
    return cast(type[Settings], found)


def choose(name: str, /, **settings: Any) -> Settings:
    """The settings of an extractor, those given and the usual ones for the rest: what a MANIFEST records as asked.

    Raises ExperimentError for an unknown name, and for a setting that it does not have, that is of another type or that
    is lacking.
    """
    declared = settings_of(name)
    known = [field for field in fields(cast(Any, declared)) if field.init]
    has = f"its settings are {', '.join(field.name for field in known)}" if known else "it has no settings"
    for key in settings:
        if key not in (field.name for field in known):
            raise ExperimentError(f"features {name!r}: unknown setting {key!r}; {has}")
    for field in known:
        if field.name not in settings and field.default is MISSING and field.default_factory is MISSING:
            raise ExperimentError(f"features {name!r}: setting {field.name} is lacking; {has}")
    hints = get_type_hints(declared)
    checked = {}
    for key, value in settings.items():
        try:
            checked[key] = _of_type(hints[key], value)
        except ValueError as error:
            raise ExperimentError(f"features {name!r}: setting {key} is {value!r}: {error}; {has}") from None
    return _named(name, lambda: declared(**checked))


def build(name: str, /, **settings: Any) -> Extractor:
    """An extractor by name, with settings where others than the usual are wanted.

    Raises ExperimentError as `choose` does and for settings that do not fit each other; MienError where weights cannot
    be had.
    """
    return _named(name, choose(name, **settings).build)


def _named(name: str, make: Callable[[], Made]) -> Made:
    """What make returns; its ExperimentError, which names the setting, names the extractor too."""
    try:
        return make()
    except ExperimentError as error:
        prefix = f"features {name!r}: "
        raise ExperimentError(f"{prefix}{str(error).removeprefix(prefix)}") from error


def _of_type(hint: Any, value: Any) -> Any:
    """The value, if it is of the declared type: no text for a number. A list stands for a tuple, as in JSON. Else
    ValueError."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(tuple(value) if isinstance(value, list) else value, strict=True)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"])
        raise ValueError(message[0].lower() + message[1:]) from None
