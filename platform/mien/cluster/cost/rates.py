"""Rates: how fast this project's own benchmarks extracted and trained, and what a user measured herself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from mien.errors import MienError


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRate:
    """clips_per_s: of one core. clip_s: mean length of those clips; None where it was measured on clips like those that
    are estimated. bytes_per_clip: of the feature in the store. is_row: one row a clip, however long."""

    clips_per_s: float
    clip_s: float | None = None
    bytes_per_clip: float = 0.0
    is_row: bool = False

    def core_s(self, clip_s: float) -> float:
        """Seconds of one core for a clip of clip_s seconds."""
        return (clip_s / self.clip_s if self.clip_s else 1.0) / self.clips_per_s

    def n_bytes(self, clip_s: float) -> float:
        """Bytes in the store of a clip of clip_s seconds."""
        return self.bytes_per_clip * (clip_s / self.clip_s if self.clip_s and not self.is_row else 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """prepare: by feature. samples_per_s: of one core in training. machine: where they were measured.
    uncertainty: factor by which another machine may be slower or faster. run_startup_s: until a run's first epoch.
    pruned_share: of the epochs of a search's trials, those that are left when asha stops the worse ones."""

    machine: str
    uncertainty: float
    prepare: Mapping[str, PrepareRate] = field(default_factory=dict)
    actors_startup_s: float = 0.0
    samples_per_s: float | None = None
    run_startup_s: float = 0.0
    pruned_share: float = 1.0


def load_rates(files: Iterable[Path] = ()) -> Rates:
    """The rates of this package, replaced by those of the files, the last one first of all.

    A file holds what `mien prepare`, `mien bench extract` or `mien bench train` printed with --json, or has the form of
    mien/cluster/cost/rates.json. Raises MienError for one that is none of them.
    """
    rates = _own(json.loads(package_files("mien.cluster.cost").joinpath("rates.json").read_text()))
    for file in files:
        try:
            told = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise MienError(f"--rates {file}: cannot be read as JSON ({error})") from None
        try:
            rates = _with(rates, told, file)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise MienError(f"--rates {file}: {type(error).__name__} {error}: give {_FORMS}") from None
    return rates


_FORMS = (
    "what `mien prepare`, `mien bench extract` or `mien bench train` printed with --json, or a file like "
    "mien/cluster/cost/rates.json"
)


def _with(rates: Rates, told: Any, file: Path) -> Rates:
    if "features" in told:
        measured = {
            f["name"]: PrepareRate(clips_per_s=f["n_extracted"] / f["work_s"] / f["n_workers"])
            for f in told["features"]
            if f["n_extracted"]
        }
        if not measured:
            raise MienError(
                f"--rates {file}: nothing was extracted in that run; prepare into a new store and give that"
            )
        return replace(rates, prepare={**rates.prepare, **measured}, machine=str(file))
    if "extractors" in told:
        measured = {
            name: PrepareRate(
                clips_per_s=1 / one["cpu_s"],
                clip_s=one["clip_s"],
                bytes_per_clip=one["bytes_per_clip"],
                is_row=one["is_row"],
            )
            for name, one in told["extractors"].items()
        }
        return replace(rates, prepare={**rates.prepare, **measured}, machine=told["machine"])
    if "clips/s, mien" in told:
        if told.get("family", "lstm_attention") != "lstm_attention":
            raise MienError(
                f"--rates {file}: is of {told['family']}, and training is reckoned for lstm_attention alone"
            )
        cores = int(told.get("cores", 1))
        return replace(rates, samples_per_s=told["clips/s, mien"] / cores, run_startup_s=told["start-up of mien, s"])
    own = _own(told)
    return replace(own, prepare={**rates.prepare, **own.prepare})


def _own(told: Mapping[str, Any]) -> Rates:
    train = told["train"]
    return Rates(
        machine=told["machine"],
        uncertainty=float(told["uncertainty"]),
        prepare={
            feature: PrepareRate(**{key: value for key, value in rate.items() if not re.search("command|note", key)})
            for feature, rate in told["prepare"].items()
        },
        actors_startup_s=told["actors_startup_s"],
        samples_per_s=train["samples_per_s"] / train["cores"],
        run_startup_s=train["run_startup_s"],
        pruned_share=train["pruned_share"],
    )
