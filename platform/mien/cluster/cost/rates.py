"""Rates: how fast this project's own benchmarks extracted and trained, and extractors on a user's machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

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
    prepare: Mapping[str, PrepareRate]
    samples_per_s: float = 1.0
    run_startup_s: float = 0.0
    pruned_share: float = 1.0


def load_rates(files: Iterable[Path] = ()) -> Rates:
    """The rates of this package, those of extractors replaced by what `mien bench extract --json` printed into the
    files, the last one first of all. Raises MienError for a file that is none of these."""
    told = json.loads(package_files("mien.cluster.cost").joinpath("rates.json").read_text())
    train, known = told["train"], PrepareRate.__dataclass_fields__
    rates = Rates(
        machine=told["machine"],
        uncertainty=told["uncertainty"],
        prepare={
            feature: PrepareRate(**{key: value for key, value in rate.items() if key in known})
            for feature, rate in told["prepare"].items()
        },
        samples_per_s=train["samples_per_s"] / train["cores"],
        run_startup_s=train["run_startup_s"],
        pruned_share=train["pruned_share"],
    )
    for file in files:
        try:
            told = json.loads(file.read_text())
            measured = {
                name: PrepareRate(
                    clips_per_s=1 / one["cpu_s"],
                    clip_s=one["clip_s"],
                    bytes_per_clip=one["bytes_per_clip"],
                    is_row=one["is_row"],
                )
                for name, one in told["extractors"].items()
            }
            rates = replace(rates, prepare={**rates.prepare, **measured}, machine=told["machine"])
        except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            wanted = "what `mien bench extract` printed with --json"
            raise MienError(f"--rates {file}: {type(error).__name__} {error}: give {wanted}") from None
    return rates
