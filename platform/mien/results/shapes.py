"""Shapes of the JSON files of runs and searches: what every reader relies on. They may hold more, and older ones less.

docs/reference/run-directory.md and search-directory.md describe them in full.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic wants it before Python 3.12


class Epoch(TypedDict):
    """What every reader of a history relies on; `mien.results.history` says what else a record holds."""

    epoch: int
    score: float | None
    score_name: str
    validation_loss: float | None
    train_loss: float | None
    seconds: float


class Side(TypedDict):
    """A side of split.json."""

    n_clips: int
    subjects: list[str]
    clip_ids_sha256: NotRequired[str]  # an older mien wrote none


class SplitRecord(TypedDict):
    """split.json."""

    name: str
    train: Side
    validation: Side
    test: Side


class Corpus(TypedDict):
    """A corpus in data.json."""

    n_clips: int
    n_subjects: int
    synthetic: bool


class Environment(TypedDict):
    """environment.json, as far as its parts are not only shown."""

    workers: int
    instance_type: NotRequired[str | None]  # an older mien wrote none


class TargetRecord(TypedDict):
    """What is predicted, in data.json and in model/recipe.json."""

    kind: Literal["classes", "dimensions"]
    names: list[str]
    primary: Literal["uar", "wa", "macro_f1", "ccc", "pearson", "rmse", "mae"]


class Targeted(TypedDict):
    """model/recipe.json, as far as those read it that do not use the model."""

    target: TargetRecord
    temperature: NotRequired[float | None]  # an older mien wrote none


class Data(TypedDict):
    """What every reader of data.json relies on."""

    corpora: dict[str, Corpus]
    features: dict[str, dict[str, Any]]
    fingerprints: dict[str, str]
    n_clips: int
    left_out: dict[str, int]
    target: NotRequired[TargetRecord]  # an older mien wrote none
    n_met: NotRequired[int]
    n_same_stimulus: NotRequired[int]
    n_sharing: NotRequired[int]
    clips_sha256: NotRequired[str]  # of clips.parquet


class Named(TypedDict):
    """baseline.json."""

    experiment: str
    signature: str


class State(TypedDict):
    """What the loop needs besides the model, in a checkpoint's manifest."""

    history: list[Epoch]


class CheckpointManifest(TypedDict):
    """MANIFEST.json of a checkpoint."""

    epoch: int
    files: dict[str, str]
    state: State
    state_sha256: NotRequired[str]  # an older mien wrote none


class Metrics(TypedDict):
    """metrics.json of a Series, as far as a list of series reads it."""

    test: dict[str, dict[str, Any]]
    baseline: NotRequired[dict[str, Any] | None]


class ComparedSeries(TypedDict):
    folder: str


class Compared(TypedDict):
    """compare.json, as far as the next comparison reads it."""

    series: list[ComparedSeries]


class SearchData(Data):
    """The same of a search. folds: number to name of those that are searched."""

    folds: dict[str, str]


class Variant(TypedDict):
    """What was trained again and tested. signatures: fold to the Series whose run of that fold counts."""

    question: str
    value: Any
    signatures: dict[str, str]


class Chosen(TypedDict):
    """chosen.json of a search."""

    variants: dict[str, Variant]
    seeds: list[int]
