"""Ensemble: the runs of a series, or one run, that answer together, and how sure they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import Column
from mien.errors import MienError
from mien.experiment.target import TargetSpec
from mien.families import FAMILIES
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder
from mien.predict.recogniser import Recogniser, load_run
from mien.results import calibration
from mien.results.done import DONE
from mien.results.run import Series, numbers
from mien.results.uncertainty import of_classes


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Models of one target on the same inputs. members: at least one, by the path of its run. unfinished: runs of the
    series that are not finished, and do not answer."""

    path: str
    members: Mapping[str, Recogniser]
    unfinished: tuple[str, ...] = ()

    @property
    def first(self) -> Recogniser:
        return next(iter(self.members.values()))

    @property
    def target(self) -> TargetSpec:
        return self.first.recipe.target

    @property
    def extractors(self) -> dict[str, Mapping[str, Any] | None]:
        """Feature to its extractor, of all members, whose parents may differ."""
        return {name: one for member in self.members.values() for name, one in member.extractors.items()}

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Feature to spec."""
        return {name: one for member in self.members.values() for name, one in member.specs.items()}

    @property
    def needed(self) -> frozenset[str]:
        """Features without which a member, or a parent of one, gives no answer."""
        return frozenset(name for member in self.members.values() for name in _needed(member))

    @property
    def is_calibrated(self) -> bool:
        """Whether every member has a temperature."""
        return all(_temperature(member) is not None for member in self.members.values())

    @property
    def has_dropout(self) -> bool:
        """Whether any member can predict with dropout drawn."""
        return any(member.has_dropout for member in self.members.values())

    def get_to_know(self, columns: Mapping[str, Column], subjects: Sequence[str], people: frozenset[str]) -> None:
        """Standardise these people by their own clips, where a model was trained so (`Recogniser.get_to_know`)."""
        for member in self.members.values():
            member.get_to_know(columns, subjects, people)

    def samples(
        self, clips: Sequence[Mapping[str, Frames]], subjects: Sequence[str], draws: int = 0, seed: int = 0
    ) -> NDArray[np.float32]:
        """(S, N, K): what each member says of N clips, at its temperature; S = members, times draws of dropout.

        draws: of Monte Carlo dropout for each member (Gal & Ghahramani, ICML 2016), 0 for none. seed: of the first.
        """
        found = []
        for member in self.members.values():
            if draws:
                for draw in range(draws):
                    found.append(_at_temperature(member, member.predict(clips, subjects, dropout=seed + draw)))
            else:
                found.append(_at_temperature(member, member.predict(clips, subjects)))
        return np.stack(found)


def load_ensemble(path: str | os.PathLike[str]) -> Ensemble:
    """A run alone, or the finished runs of a series (all folds and seeds).

    path: a run, a series, an experiment's folder with one series, or what `mien export` wrote. Raises MienError where
    there is none of these, or none of the runs is finished.
    """
    folder = Folder(path)
    series = _series(folder)
    if series is None:
        return Ensemble(folder.uri, {folder.uri: load_run(folder.uri)})
    runs = [
        series / f"seed-{seed}" / f"fold-{fold}"
        for seed in numbers(series, "seed-")
        for fold in numbers(series / f"seed-{seed}", "fold-")
    ]
    finished = [run for run in runs if run.exists(DONE)]
    if not finished:
        raise MienError(f"{series}: none of its {len(runs)} runs is finished: the same `mien train` goes on with them")
    members = {run.uri: load_run(run.uri) for run in finished}
    ensemble = Ensemble(series.uri, members, tuple(run.uri for run in runs if run not in finished))
    for name, member in members.items():
        if member.recipe.target != ensemble.target:
            raise MienError(
                f"{name}: predicts {', '.join(member.names)}, and {', '.join(ensemble.target.names)} others"
            )
    return ensemble


def _series(folder: Folder) -> Folder | None:
    """The series at a path, or the only one of an experiment's folder; None where a path is neither."""
    if numbers(folder, "seed-"):
        return folder
    below = any(numbers(folder / name, "seed-") for name in folder.folders())
    return Series.open(folder.uri).folder if below else None


def uncertainty(samples: NDArray[np.float32], target: TargetSpec) -> dict[str, NDArray[np.float64]]:
    """How unsure (S, N, K) samples are of N clips, each (N,).

    Of classes, in nats (ln K for guessing evenly): uncertainty, the entropy of the mean probabilities; aleatoric, the
    mean of the members' entropies, what they all see as ambiguous; epistemic, the difference, what they disagree on
    (Depeweg et al., ICML 2018). Of dimensions: sd_<name>, the standard deviation over the samples. One sample cannot
    tell what is not known from what is ambiguous: NaN.
    """
    values = samples.astype(np.float64)
    alone = len(values) == 1
    if target.kind == "dimensions":
        spread = np.full(values.shape[1:], np.nan) if alone else values.std(axis=0, ddof=1)
        return {f"sd_{name}": spread[:, k] for k, name in enumerate(target.names)}
    found = of_classes(values)
    nothing = np.full(len(found.total), np.nan)
    return {
        "uncertainty": found.total,
        "aleatoric": nothing if alone else found.aleatoric,
        "epistemic": nothing if alone else found.epistemic,
    }


def _temperature(member: Recogniser) -> float | None:
    return member.recipe.temperature


def _at_temperature(member: Recogniser, values: NDArray[np.float32]) -> NDArray[np.float32]:
    temperature = _temperature(member)
    if temperature is None or member.recipe.target.kind != "classes":
        return values
    return np.asarray(calibration.at_temperature(values, temperature), np.float32)


def _needed(member: Recogniser) -> frozenset[str]:
    own = member.recipe.inputs.keys() - member.parents.keys()
    needed = frozenset() if FAMILIES[member.recipe.model.family].can_miss else frozenset(own)
    return needed.union(*(_needed(parent) for parent in member.parents.values()))
