"""Official folds: which subject is tested in which fold, as published, or as a file of one's own has it.

`official_folds.csv` holds the lists of test subjects of HiCMAE (Sun et al. 2024, github.com/sunlicai/HiCMAE,
saved/data: RAVDESS in 6 folds, CREMA-D in 5) and of EmoBox (Ma et al. 2024, github.com/emo-box/EmoBox, data/ravdess:
RAVDESS in 6). EmoBox's one fold of CREMA-D has all 91 actors in training and in test, so it is no protocol by subject
and is not here.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

PUBLISHED = Path(__file__).with_name("official_folds.csv")


def official_folds(*lists: str) -> dict[str, int]:
    """Subject ("ravdess/07") to the fold that tests it, of published lists together or of CSV files.

    lists: names, such as "hicmae-ravdess", or paths of a CSV with the columns subject and fold. Raises ValueError: a
    name that there is not, a file that cannot be read, a subject in two folds, folds not numbered from 0.

    >>> sorted(subject for subject, fold in official_folds("emobox-ravdess").items() if fold == 0)
    ['ravdess/01', 'ravdess/11', 'ravdess/20', 'ravdess/21']
    """
    merged: dict[str, int] = {}
    for name in lists:
        fold_of = _published().get(name)
        for subject, fold in (_read(name) if fold_of is None else fold_of).items():
            if merged.setdefault(subject, fold) != fold:
                raise ValueError(f"{name}: {subject} is in fold {fold} and in fold {merged[subject]}")
    return merged


def lists_in(fold_of: Mapping[str, int]) -> list[str]:
    """The names of the published lists that folds are made of; none where one of the subjects is in none of them.

    >>> lists_in(official_folds("hicmae-ravdess", "hicmae-cremad"))
    ['hicmae-cremad', 'hicmae-ravdess']
    """
    found = [name for name, known in _published().items() if known.items() <= fold_of.items()]
    return found if fold_of.keys() <= {subject for name in found for subject in _published()[name]} else []


@cache
def _published() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["list"], {})[row["subject"]] = int(row["fold"])
    return found


def _read(path: str) -> dict[str, int]:
    """The folds of a file of one's own."""
    if not Path(path).is_file():
        known = ", ".join(_published())
        raise ValueError(f"{path}: no published list ({known}) and no file; give a CSV with the columns subject, fold")
    found: dict[str, int] = {}
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"subject", "fold"} <= set(table.fieldnames or ()):
            raise ValueError(f"{path}: its first line must name the columns subject and fold")
        for row in table:
            subject, fold = (row["subject"] or "").strip(), (row["fold"] or "").strip()
            where = f"{path}, line {table.line_num}"
            if not subject or not fold.isdecimal():
                raise ValueError(f"{where}: give a subject, such as ravdess/07, and the number of its fold, from 0")
            if found.setdefault(subject, int(fold)) != int(fold):
                raise ValueError(f"{where}: {subject} is in fold {fold} and in fold {found[subject]}")
    if not found:
        raise ValueError(f"{path}: names no subject: give a line for each")
    return found


def _to_words(fold_of: Mapping[str, int]) -> list[str]:
    """What the help shows."""
    return lists_in(fold_of) or ([f"{len(fold_of)} subjects"] if fold_of else [])


def _is_fold_of(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(fold, int) for fold in value.values())


def _from_words(words: Sequence[str]) -> dict[str, int]:
    return official_folds(*words)


FoldOf = Annotated[
    Mapping[str, int],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="[LIST|CSV ...]",
        instance_from_str=_from_words,
        is_instance=_is_fold_of,
        str_from_instance=_to_words,
    ),
]
