"""By group of people and recordings: the primary score of the test clips by sex, age, intensity, statement, corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mien.experiment.target import TargetSpec
from mien.results.clips import ATTRIBUTES, Clips
from mien.results.intervals import Scored
from mien.results.json_values import Json
from mien.results.metrics import METRICS
from mien.results.predictions import Texts
from mien.results.report.estimates import FEWEST_SUBJECTS, estimate

MOST_GROUPS = 20  # of one attribute; a sentence for each clip makes no groups
UNTOLD = "not told"
NAMES = {
    "sex": "Sex",
    "age": "Age, in years",
    "intensity": "Intensity",
    "statement": "Statement",
    "corpus": "Corpus",
}
BAND = 10  # years


def groups(scored: Scored, clip_ids: Texts, clips: Clips | None, target: TargetSpec) -> Json | None:
    """Attribute to group to its score, n_clips, n_subjects, and of classes n_classes, how many of them occur in it.

    scored: rows of the clips of clip_ids, once or once per seed. None where clips is: an older mien wrote none. An
    attribute counts where it parts the clips into 2 to 20 groups. Age is told in tens of years.
    """
    if clips is None:
        return None
    here = clips.of(clip_ids)
    told = dict(here.attributes) | {"age": np.array([age_band(age) for age in here.attributes["age"].tolist()], str)}
    of_corpora = {"corpus": here.corpora} if len(np.unique(here.corpora)) > 1 else {}
    return {
        name: rows
        for name, words in {**{name: told[name] for name in ATTRIBUTES}, **of_corpora}.items()
        if 2 <= len(np.unique(words)) <= MOST_GROUPS and (rows := _rows(scored, words, target))
    }


def age_band(age: str) -> str:
    """
    >>> age_band("34"), age_band("25.5"), age_band(""), age_band("young")
    ('30 to 39', '20 to 29', '', 'young')
    """
    try:
        years = float(age)
    except ValueError:
        return age
    if not 0 <= years < 200:
        return age
    low = int(years // BAND * BAND)
    return f"{low} to {low + BAND - 1}"


def n_groups(found: Mapping[str, Json]) -> int:
    """How many there are of all attributes."""
    return sum(map(len, found.values()))


def caution(found: Mapping[str, Json], n_subjects: int) -> str:
    """What has to be known before one of these is quoted."""
    n = n_groups(found)
    return (
        f"{n} groups are shown, and nothing is corrected for that: of so many intervals of 95 % about "
        f"{max(1, round(n / 20))} would miss by chance, and of so many pairs some lie apart by chance. Groups also "
        f"differ in who is in them ({n_subjects} people in all) and in which classes they hold. Take what stands out "
        "here as a question for new data, and not as a finding."
    )


def page_values(found: Mapping[str, Json] | None, target: TargetSpec, n_subjects: int) -> Json:
    """What groups.html shows. found: of metrics.json."""
    if found is None:
        return {
            "grouped": [],
            "groups_missing": "What the corpora tell of people and clips is not noted here (clips.parquet), because an "
            "older mien trained these runs. The same mien train notes it, and trains nothing that is done.",
        }
    whole = len(target.names)
    shown = [
        (
            NAMES[attribute],
            [
                (name, row, no_interval(row), _of_classes(row.get("n_classes", whole), whole))
                for name, row in rows.items()
            ],
        )
        for attribute, rows in found.items()
    ]
    return {"grouped": shown, "groups_missing": "", "groups_caution": caution(found, n_subjects)}


def _of_classes(n: int, whole: int) -> str:
    """As "5 of 6 classes", where a group lacks some: its score is over those that it has."""
    return f"{n} of {whole} classes" if n < whole else ""


def no_interval(row: Json) -> str:
    """Why a group has no interval, or why it is not to be trusted; empty where neither holds.

    >>> no_interval({"low": None, "n_subjects": 1}), no_interval({"low": 0.1, "n_subjects": 3})
    ('too small for an interval: one person', 'of 3 people only')
    """
    n = row["n_subjects"]
    if row["low"] is None:
        return "too small for an interval: one person" if n == 1 else "no interval: the people in it do not differ"
    return f"of {n} people only" if n < FEWEST_SUBJECTS else ""


def _rows(scored: Scored, words: Texts, target: TargetSpec) -> dict[str, Json]:
    truth, prediction, subjects = map(np.asarray, scored)
    n_seeds = len(truth) // len(words)
    metric = METRICS[target.kind][target.primary]
    rows = {}
    for word in sorted(np.unique(words).tolist(), key=lambda word: (word == "", word)):
        of_seed = words == word
        of_group = np.tile(of_seed, n_seeds)
        own = Scored(truth[of_group], prediction[of_group], subjects[of_group])
        rows[word or UNTOLD] = {
            **estimate(own, metric),
            "n_clips": int(of_seed.sum()),
            "n_subjects": len(np.unique(own.subjects)),
        }
        if target.kind == "classes":
            rows[word or UNTOLD]["n_classes"] = len(np.unique(own.truth))
    return {} if all(math.isnan(row["value"]) for row in rows.values()) else rows
