"""The model card of a run (Mitchell et al. 2019) as Markdown with the YAML front matter of Hugging Face.

Every number in it comes from the files of the run, or from what was read of the store for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mien.experiment import Experiment
from mien.experiment.target import TargetSpec
from mien.results.clips import Clips
from mien.results.intervals import Scored
from mien.results.json_values import Json, as_json
from mien.results.metrics import METRICS
from mien.results.predictions import SIDES, Predicted, read_predictions
from mien.results.report import groups, temperature
from mien.results.report.caveats import caveats_of_data, caveats_of_protocol, caveats_of_subjects
from mien.results.report.estimates import estimate
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits, family, interval, render_text
from mien.results.report.summary import n_on_both_sides
from mien.results.report.wording import LABELS, run_statement
from mien.results.run import Run, target_spec
from mien.results.settings import settings

LIMITS = {
    "intended": "Its labels are what actors were asked to show. Played emotion is clearer and more alike than emotion "
    "in life; what people felt is not known.",
    "perceived-voice": "Its labels are what most raters heard. They say what a display looks like to others, not what "
    "was felt; raters of another culture may hear something else.",
    "perceived-face": "Its labels are what most raters saw. They say what a display looks like to others, not what was "
    "felt; raters of another culture may see something else.",
    "perceived-both": "Its labels are what most raters heard and saw. They say what a display looks like to others, "
    "not what was felt; raters of another culture may judge otherwise.",
    "self-report": "Its labels are what people said to have felt, once per recording: words and scales mean different "
    "things to different people.",
    "annotated": "Its labels are the judgements of observers after the fact. They say what a display looks like to "
    "others, not what was felt.",
    "proxy": "Its labels were derived from something else than emotion, such as laughter. It predicts that, and no "
    "emotion.",
}


class CorpusFacts(NamedTuple):
    """What a card says of a corpus besides its numbers."""

    title: str
    licence: str
    citation: str


def model_card(
    run: Run, experiment: Experiment, data: Json, clips: Clips | None, corpora: Mapping[str, CorpusFacts]
) -> str:
    """The card of a run whose model/, predictions, metrics, history and split are written.

    data: as data.json of its series. clips: what is known of people and recordings, None where nothing is. corpora:
    name to what its importer states of it; of one that is not here the licence is said to be its owner's.
    """
    target = target_spec(data["target"])
    kind, metrics = KINDS[target.kind], METRICS[target.kind]
    sides = {side: read_predictions(run, target, side) for side in SIDES}
    tested, split, history = sides["test"], run.split, run.history()
    held_out = bool(len(sides["validation"].clip_ids))
    scored = Scored(tested.truth, tested.values, tested.subjects)
    scores: Json = {name: as_json(estimate(scored, metric)) for name, metric in metrics.items()}
    name = f"{experiment.name} {run.label}"
    modalities = sorted({spec["modality"] for spec in data["features"].values()})
    environment = run.read_json("environment.json")
    found = as_json(groups.groups(scored, tested.clip_ids, clips, target)) or {}
    return render_text(
        "card.md",
        {
            "front_matter": _front_matter(name, experiment, data, target, scores, split["name"], modalities),
            "name": name,
            "summary": f"Predicts {' and '.join(target.names) if target.kind == 'dimensions' else 'emotion'} from "
            f"{' and '.join(modalities) or 'the predictions of other models'}; {metrics[target.primary].label} "
            f"{digits(scores[target.primary]['value'])} ({interval(scores[target.primary])}) on its test "
            "clips.",
            "caveats": [
                *caveats_of_protocol(experiment.protocol.kind, n_on_both_sides(split)),
                *caveats_of_data(data, experiment),
                *caveats_of_subjects(len(np.unique(tested.subjects))),
            ],
            "predicts": _predicts(target),
            "reads": "; ".join(
                [
                    *(_feature(name, spec) for name, spec in data["features"].items()),
                    *(f"the predictions of {parent}" for parent in experiment.parents),
                ]
            ),
            "parents": experiment.parents,
            "normalise": experiment.data.normalise,
            "family": family(experiment.model.family),
            "chosen": ", ".join(
                f"{setting.name} {setting.value}"
                for setting in settings(experiment)
                if setting.is_learnt and not setting.is_default
            ),
            "seed": run.seed,
            "metrics": run.metrics(),
            "n_epochs": len(history),
            "environment": environment,
            "software": [(part, environment[part]) for part in SOFTWARE if part in environment],
            "question": experiment.question,
            "corpora": [_corpus_row(name, corpus, corpora.get(name)) for name, corpus in data["corpora"].items()],
            "citations": [corpora[name].citation for name in data["corpora"] if name in corpora],
            "labels": LABELS.get(experiment.target.source, experiment.target.source),
            "label_limit": LIMITS.get(experiment.target.source, "Who gave its labels is not known."),
            "counts_of": "Clips by class" if target.kind == "classes" else "Ratings, from −1 to 1",
            "counts": _counts(data),
            "left_out": [(reason, f"{n:,} clips") for reason, n in data["left_out"].items()],
            "statement": run_statement(experiment.protocol, split),
            "split": split,
            "held_out": held_out,
            "n_tested": f"{len(tested.clip_ids):,}",
            "n_subjects": len(np.unique(tested.subjects)),
            "scores": [(metrics[key].label, digits(one["value"]), interval(one)) for key, one in scores.items()],
            "parts": _parts(kind, tested, target),
            "of_classes": target.kind == "classes",
            "label": metrics[target.primary].label,
            **_calibration(run, experiment, tested, target, scores, held_out),
            "grouped": [
                (groups.NAMES[attribute], [_group_row(group, row) for group, row in rows.items()])
                for attribute, rows in found.items()
            ],
            "groups_caution": groups.caution(found, len(np.unique(tested.subjects))),
        },
    )


SOFTWARE = ("python", "numpy", "tensorflow", "torch", "scikit-learn")


def _front_matter(
    name: str, experiment: Experiment, data: Json, target: TargetSpec, scores: Json, fold: str, modalities: list[str]
) -> str:
    import yaml

    corpora = list(data["corpora"])
    of_metrics = [
        {"type": key, "name": METRICS[target.kind][key].label, "value": one["value"]}
        for key, one in scores.items()
        if one["value"] is not None
    ]
    tested = {
        "task": {"type": "emotion-recognition", "name": "Emotion recognition"},
        "dataset": {"type": "+".join(corpora), "name": f"{', '.join(corpora)}, test clips of {fold}"},
        "metrics": of_metrics,
    }
    front: Json = {
        "library_name": "mien",
        "license": "other",
        "license_name": "those-of-the-corpora",
        "tags": ["emotion-recognition", "affective-computing", experiment.model.family, *modalities],
        "datasets": corpora,
        "metrics": list(scores),
    }
    if of_metrics:
        front["model-index"] = [{"name": name, "results": [tested]}]
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _predicts(target: TargetSpec) -> str:
    names = ", ".join(target.names)
    if target.kind == "classes":
        return f"the probability of each of {len(target.names)} emotions: {names}"
    return f"{names}, each on a scale from −1 to 1"


def _feature(name: str, spec: Mapping[str, Any]) -> str:
    shape = " × ".join(map(str, spec["shape"]))
    hop = "one row per clip" if spec["hop_s"] is None else f"a row every {spec['hop_s']:g} s"
    return f"{name} version {spec['version']} ({spec['modality']}, {shape}, {hop})"


def _corpus_row(name: str, corpus: Mapping[str, Any], facts: CorpusFacts | None) -> tuple[str, ...]:
    return (
        f"{name}: {facts.title}" if facts else name,
        f"{corpus['n_clips']:,}",
        str(corpus["n_subjects"] or "not known"),
        "SYNTHETIC" if corpus["synthetic"] else "recorded",
        facts.licence if facts else "its owner's",
    )


def _counts(data: Json) -> str:
    if "class_counts" in data:
        return ", ".join(f"{name} {n:,}" for name, n in data["class_counts"].items())
    ratings = data.get("ratings", {}).items()
    return ", ".join(
        f"{name} {one['n_clips']:,} (mean {digits(one['mean'])}, sd {digits(one['sd'])})" for name, one in ratings
    )


def _parts(kind: Any, tested: Predicted, target: TargetSpec) -> list[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """By class or by dimension; none where a prediction is not finite, because the model diverged."""
    if not len(tested.clip_ids) or not np.isfinite(tested.values).all():
        return []
    title = "By class" if target.kind == "classes" else "By dimension"
    return [(title, *kind.part_table(tested, target))]


def _calibration(
    run: Run, experiment: Experiment, tested: Predicted, target: TargetSpec, scores: Json, held_out: bool
) -> Json:
    kind = KINDS[target.kind]
    scaled = kind.scaled(run, tested)
    values: Json = {
        "calibrated": scaled,
        "both_sure": kind.both_sure(tested, scaled),
        "why_uncalibrated": temperature.why_none(held_out, experiment.training.keep),
    }
    if scaled:
        values["temperature"] = temperature.temperature_text(scaled["temperature"])
        values["calibration"] = [
            (
                METRICS["classes"][key].label,
                *(f"{digits(one['value'])} ({interval(one)})" for one in (scores[key], scaled[key])),
            )
            for key in temperature.SCALED
        ]
    return values


def _group_row(name: str, row: Json) -> tuple[str, ...]:
    spoken = groups.no_interval(row) if row["low"] is None else interval(row)
    return name, digits(row["value"]), spoken, f"{row['n_clips']:,}", str(row["n_subjects"])
