"""The space of a search: which fields of an experiment are drawn, from what, and the experiment that a point makes.

A distribution is a line of text, the same in a script, on the command line and in search.json:

    0.0001 .. 0.01 log      a real number, evenly on a logarithmic scale
    0 .. 4                  a real number if the field holds one, else an integer; both ends included
    none | audio | sync     one of these; [0.9, 1.1] | [0.8, 1.2] for a field that holds several numbers
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.errors import ExperimentError
from mien.experiment.effects import SWITCHES, setting, without_effect
from mien.experiment.experiment import NOT_LEARNT, Experiment

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str | list[Any] | bool | None
Point = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Range:
    """A number from low to high, both included. is_log: evenly on a logarithmic scale."""

    low: float
    high: float
    is_log: bool
    is_integer: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, in the order given."""

    values: tuple[Any, ...]


Distribution = Range | Choice


def read_space(experiment: Experiment, space: Mapping[str, str], what: str = "space") -> dict[str, Distribution]:
    """The distributions by path, each tried on the experiment at its ends.

    Raises ExperimentError naming the path: a field that there is not, one that decides nothing, a line that is no
    distribution, inverted ends, a logarithm of 0, a value that the field does not take.
    """
    if not space:
        raise ExperimentError(f"{what} is empty: give at least one field, such as --{what} loss.gamma '0 .. 4'")
    read: dict[str, Distribution] = {}
    for path, text in space.items():
        name = f"{what} {path!r}"
        now = _value_at(experiment.to_json(), path, name)
        if path.partition(".")[0] in NOT_LEARNT:
            raise ExperimentError(f"{name}: it decides nothing that is learnt, so there is nothing to search")
        if path.startswith(("data.", "protocol.")) and path != "data.normalise":
            raise ExperimentError(f"{name}: a search compares on the same clips and folds; search it by experiments")
        if path.startswith("target.") and path != "target.soft":
            raise ExperimentError(f"{name}: a search compares by one score of one target; search it by experiments")
        distribution = read_distribution(text, name, is_integer=isinstance(now, int) and not isinstance(now, bool))
        for value in _ends(distribution):
            try:
                with_point(experiment, {path: value})
            except ExperimentError as error:
                raise ExperimentError(f"{name}: {json.dumps(value)} is refused: {error}") from None
        read[path] = distribution
    return read


def check_effects(
    experiment: Experiment,
    space: Mapping[str, Distribution],
    what: str = "space",
    beside: Mapping[str, Distribution] | None = None,
) -> None:
    """Raises ExperimentError naming a field of the space that decides nothing, whatever the others are.

    beside: another space, whose fields vary as well.
    """
    inert = _without_effect_at_all(experiment, {**(beside or {}), **space})
    for path in space:
        if why := inert.get(setting(path)):
            raise ExperimentError(f"{what} {path!r}: it has no effect: {why}. Leave it out, or search that as well")


def _ends(distribution: Distribution) -> tuple[Any, ...]:
    return distribution.values if isinstance(distribution, Choice) else (distribution.low, distribution.high)


def _without_effect_at_all(experiment: Experiment, space: Mapping[str, Distribution]) -> dict[str, str]:
    """The settings that decide nothing, whatever the switches are that the space varies; and why, at one of its
    points."""
    switches = {path: _ends(distribution) for path, distribution in space.items() if path in SWITCHES}
    found: dict[str, str] | None = None
    for values in itertools.product(*switches.values()):
        try:
            there = without_effect(with_point(experiment, dict(zip(switches, values))))
        except ExperimentError:  # two values that do not go together: such a trial fails
            continue
        found = there if found is None else {path: why for path, why in found.items() if path in there}
    return found or {}


def read_distribution(text: str, name: str = "distribution", *, is_integer: bool = False) -> Distribution:
    """One line of text as a distribution.

    >>> read_distribution("1e-4 .. 1e-2 log")
    Range(low=0.0001, high=0.01, is_log=True, is_integer=False)
    >>> read_distribution("none | sync")
    Choice(values=('none', 'sync'))
    """
    if ".." not in text:
        values = tuple(_parsed(part.strip()) for part in text.split("|"))
        if len(values) < 2 or len({json.dumps(value) for value in values}) < len(values):
            raise ExperimentError(f"{name}: {text!r}: give two or more different values with | between, or low .. high")
        return Choice(values)
    low_text, _, rest = text.partition("..")
    high_text, _, scale = rest.strip().partition(" ")
    low, high = _parsed(low_text.strip()), _parsed(high_text)
    if scale.strip() not in ("", "log") or not all(_is_number(end) for end in (low, high)):
        raise ExperimentError(f"{name}: {text!r} is no distribution: write low .. high, low .. high log, or a | b | c")
    if not low < high:
        raise ExperimentError(f"{name}: {text!r} runs from {low} to {high}: give the lower end first")
    if scale and low <= 0:
        raise ExperimentError(f"{name}: {text!r}: a logarithmic range must start above 0")
    if is_integer and not all(float(end).is_integer() for end in (low, high)):
        raise ExperimentError(f"{name}: {text!r}: the field holds whole numbers")
    number = int if is_integer else float
    return Range(number(low), number(high), bool(scale), is_integer)


def as_optuna(distribution: Distribution) -> BaseDistribution:
    """The distribution as Optuna has it; of several values each as JSON, since lists cannot be its categories."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, Choice):
        return CategoricalDistribution([json.dumps(value) for value in distribution.values])
    if distribution.is_integer:
        return IntDistribution(int(distribution.low), int(distribution.high), log=distribution.is_log)
    return FloatDistribution(distribution.low, distribution.high, log=distribution.is_log)


def optuna_value(distribution: Distribution, value: Any) -> Any:
    """A value of a distribution as Optuna keeps it."""
    return json.dumps(value) if isinstance(distribution, Choice) else value


def drawn_value(distribution: Distribution, value: Any) -> Any:
    """What `optuna_value` was made of."""
    return json.loads(value) if isinstance(distribution, Choice) else value


def with_point(experiment: Experiment, point: Point) -> Experiment:
    """The experiment with these fields set; ExperimentError where one of them does not take its value."""
    value = experiment.to_json()
    for path, new in point.items():
        _value_at(value, path, f"field {path!r}")
        *parents, last = path.split(".")
        place: Any = value
        for part in parents:
            place = place[_key(place, part)]
        place[_key(place, last)] = new
    return Experiment.from_json(value)


def value_of(experiment: Experiment, path: str) -> Value:
    """What a field holds, as JSON."""
    return _value_at(experiment.to_json(), path, f"field {path!r}")


def _value_at(value: Any, path: str, name: str) -> Any:
    for part in path.split("."):
        key = _key(value, part)
        known = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if key not in known:
            raise ExperimentError(f"{name}: no such field; here are {', '.join(map(str, known)) or 'no fields'}")
        value = value[key]
    return value


def _key(place: Any, part: str) -> str | int:
    return int(part) if isinstance(place, list) and part.isdecimal() else part


def _parsed(text: str) -> Any:
    """A JSON value; else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
