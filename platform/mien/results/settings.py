"""The settings of experiments in words: which differ from the defaults, which from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mien.experiment import Experiment, LossConfig
from mien.experiment.experiment import NOT_LEARNT

if TYPE_CHECKING:
    from mien.results.run import Series

ABSENT = "–"
LONGEST_LABEL = 60


class Setting(NamedTuple):
    """One field, as text. is_learnt: it decides what is learnt, and not only where."""

    name: str
    value: str
    default: str
    is_learnt: bool

    @property
    def is_default(self) -> bool:
        return self.value == self.default


def settings(experiment: Experiment) -> list[Setting]:
    """All fields but name and question, in the order of the configuration pages."""
    plain = Experiment(name=experiment.name)
    # The defaults of its own family and kind of target; that they were chosen is no default.
    same = Experiment(
        name=experiment.name,
        model=type(experiment.model)(),
        target=type(experiment.target)(),
        loss=LossConfig(kind=experiment.loss.kind),
    )
    defaults = _flat(same)
    defaults |= {"model.family": plain.model.family, "target.kind": plain.target.kind, "loss.kind": plain.loss.kind}
    return [
        Setting(name, text(value), text(defaults[name]), name.partition(".")[0] not in NOT_LEARNT)
        for name, value in _flat(experiment).items()
        if name not in ("name", "question")
    ]


def differing(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """Settings that decide what is learnt and are not the same in all: name to the value in each, as text.

    A dash stands for a setting that another family does not have; that alone makes no difference.
    """
    flat = [_flat(experiment) for experiment in experiments]
    names = {name: None for fields in flat for name in fields if name.partition(".")[0] not in NOT_LEARNT}
    values = {name: [text(fields[name]) if name in fields else ABSENT for fields in flat] for name in names}
    return {name: row for name, row in values.items() if len(set(row) - {ABSENT}) > 1}


def labels(series: Sequence[Series]) -> list[str]:
    """A name for each that tells it from the others: its experiment's; where several have that, with the settings in
    which these differ, or with its signature where they are more than can be read at a glance."""
    found = []
    for one in series:
        name = one.experiment.name
        same = [other for other in series if other.experiment.name == name]
        values = ", ".join(apart(same)[same.index(one)])
        told = f"{name}: {values}" if 0 < len(values) <= LONGEST_LABEL else f"{name} {one.signature}"
        found.append(name if len(same) == 1 else told)
    return found if len(set(found)) == len(found) else [f"{one.experiment.name} {one.signature}" for one in series]


def apart(series: Sequence[Series]) -> list[list[str]]:
    """Of each the settings in which they differ, as "loss.gamma 2.0"."""
    rows = differing([one.experiment for one in series])
    return [[f"{setting} {row[number]}" for setting, row in rows.items()] for number in range(len(series))]


def text(value: Any) -> str:
    """A JSON value in words.

    >>> text(["egemaps", "facenet"]), text([]), text(True), text(0.001), text({"channel": "speech"})
    ('egemaps, facenet', 'none', 'yes', '0.001', 'channel: speech')
    """
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(v)}" for key, v in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(f"({text(v)})" if isinstance(v, list | tuple) else text(v) for v in value) or "none"
    return "none" if value is None else str(value)


def _flat(experiment: Experiment) -> dict[str, Any]:
    """Dotted names to values, one level deep: that is how deep an experiment is."""
    flat: dict[str, Any] = {}
    for name, value in experiment.to_json().items():
        flat |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat
