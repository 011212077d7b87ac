"""Builders of what the platform writes, for tests that read it: true layouts, made-up content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.emotions import VOCABULARIES
from mien.experiment import Experiment, SvcConfig, TrainingConfig
from mien.experiment.protocol import ProtocolKind
from mien.features import FeatureSpec
from mien.metrics import classification_metrics
from mien.runs import Run, Series

Clips = list[dict[str, Any]]


def series_directory(
    storage: str | Path,
    *,
    name: str = "trial",
    n_subjects: int = 8,
    clips_per_class: int = 2,
    folds: int = 4,
    seeds: Sequence[int] = (0,),
    skill: float = 1.5,
    protocol: ProtocolKind = "by-subject",
    synthetic: bool = False,
    random_weights: bool = False,
    epochs: int = 6,
    baseline_skill: float | None = None,
    absent_class: str | None = None,
    experiment: Experiment | None = None,
    **data: Any,
) -> Series:
    """A finished Series on disk, written through `mien.runs`, as by a model of stated skill.

    skill: how far the logit of the right class stands above the noise; 0 is chance. The noise of a clip is
    the same for every series, so two of them err on the same clips, as real models do. baseline_skill: None
    trains no SVC beside it. absent_class: no clip of subject 01, whom fold 0 tests, shows it. data: fields of
    DataConfig. experiment: taken as it is, but for what the arguments above name.
    """
    asked = experiment or Experiment(name=name, question="Does the factory write what a report can read?")
    asked = replace(
        asked,
        name=name,
        data=replace(asked.data, **({"corpora": ("ravdess",)} | data)),
        protocol=replace(asked.protocol, kind=protocol, folds=folds),
        training=replace(asked.training, epochs=epochs),
        execution=replace(asked.execution, storage=str(storage), seeds=tuple(seeds)),
    )
    classes = VOCABULARIES[asked.data.vocabulary]
    clips = _clips(asked.data.corpora, classes, n_subjects, clips_per_class, absent_class)
    fingerprints = {
        f"{corpus}/{feature}": "0123456789abcdef" for corpus in asked.data.corpora for feature in asked.data.features
    }
    series = Series.create(asked, asked.signature(fingerprints))
    series.folder.write_json(
        "data.json",
        _data(asked, clips, classes, fingerprints, synthetic=synthetic, random_weights=random_weights),
    )
    for seed in seeds:
        for fold in range(folds):
            _write_run(series.run(seed, fold), asked, clips, classes, skill)
    if baseline_skill is not None:
        svc = series_directory(
            storage,
            name=f"{name}-svc",
            n_subjects=n_subjects,
            clips_per_class=clips_per_class,
            folds=folds,
            skill=baseline_skill,
            protocol=protocol,
            synthetic=synthetic,
            absent_class=absent_class,
            experiment=replace(asked, model=SvcConfig()),
            **data,
        )
        series.folder.write_json("baseline.json", {"experiment": svc.experiment.name, "signature": svc.signature})
    return series


def _clips(
    corpora: Sequence[str],
    classes: Sequence[str],
    n_subjects: int,
    clips_per_class: int,
    absent_class: str | None,
) -> Clips:
    """Subjects dealt to corpora in turn; each performs each class equally often."""
    clips: Clips = []
    for person in range(1, n_subjects + 1):
        corpus = corpora[person % len(corpora)]
        for truth, emotion in enumerate(classes):
            if person == 1 and emotion == absent_class:
                continue
            for take in range(clips_per_class):
                clips.append(
                    {
                        "clip_id": f"{corpus}/{person:02d}-{truth + 1:02d}-{take + 1:02d}",
                        "subject": f"{corpus}/{person:02d}",
                        "corpus": corpus,
                        "truth": truth,
                        "noise": np.random.default_rng((person, truth, take)).normal(size=len(classes)),
                        "ease": np.random.default_rng(person).normal(),  # some people are easier to read
                    }
                )
    return clips


def _sides(run: Run, experiment: Experiment, clips: Clips) -> dict[str, Clips]:
    """Fold f tests every n-th subject (random-leaky: clip) from the f-th on and validates on the next."""
    n_folds = experiment.protocol.folds
    if experiment.protocol.kind == "random-leaky":
        unit = list(range(len(clips)))
    else:
        subjects = sorted({clip["subject"] for clip in clips})
        unit = [subjects.index(clip["subject"]) for clip in clips]
    sides: dict[str, Clips] = {"train": [], "validation": [], "test": []}
    for clip, number in zip(clips, unit, strict=True):
        turn = (number - run.fold) % n_folds
        sides[{0: "test", 1: "validation"}.get(turn, "train")].append(clip)
    return sides


def _write_run(run: Run, experiment: Experiment, clips: Clips, classes: Sequence[str], skill: float) -> None:
    rng = np.random.default_rng((run.seed, run.fold, round(1000 * skill)))
    sides = _sides(run, experiment, clips)
    run.folder.write_json("experiment.json", experiment.to_json())
    run.folder.write_json(
        "environment.json",
        {
            "mien": "0.1.0",
            "python": "3.11.9",
            "ray": "2.60.0",
            "tensorflow": "2.21.0",
            "cpus": 2,
            "workers": 0,
        },
    )
    described = {
        side: {"n_clips": len(held), "subjects": sorted({clip["subject"] for clip in held})}
        for side, held in sides.items()
    }
    run.folder.write_json("split.json", {"name": f"fold {run.fold}", **described})
    scored = {side: _probabilities(sides[side], skill, rng) for side in ("validation", "test")}
    run.write_predictions(_table(sides, scored, classes))
    # An SVC is fitted in one pass: one record, as the training loop writes it.
    run.write_history(_history(experiment.training, len(sides["train"]), skill, rng))
    if experiment.model.family == "svc":
        run.write_history(run.history()[:1])
    best = max(run.history(), key=lambda record: record["validation_uar"])["epoch"]
    scores = {
        side: classification_metrics([clip["truth"] for clip in sides[side]], probabilities, classes)
        for side, probabilities in scored.items()
    }
    run.write_metrics({"best_epoch": best, "stopped": f"all {len(run.history())} epochs done", **scores})
    run.finish()


def _probabilities(clips: Clips, skill: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, K): softmax of skill on the right class, the clip's own noise and a little of this run's."""
    right = np.array([np.arange(len(clip["noise"])) == clip["truth"] for clip in clips])
    noise = np.array([clip["noise"] for clip in clips])
    ease = np.array([[clip["ease"]] for clip in clips])
    logits = noise + (skill + 0.8 * ease) * right
    logits = logits + 0.4 * rng.normal(size=logits.shape)
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _table(sides: dict[str, Clips], scored: dict[str, NDArray[np.float64]], classes: Sequence[str]) -> pa.Table:
    rows = [(side, clip, p) for side in scored for clip, p in zip(sides[side], scored[side], strict=True)]
    columns: dict[str, Any] = {
        key: [clip[key] for _, clip, _ in rows] for key in ("clip_id", "subject", "corpus", "truth")
    }
    columns["side"] = [side for side, _, _ in rows]
    for k, emotion in enumerate(classes):
        columns[f"p_{emotion}"] = [float(p[k]) for _, _, p in rows]
    return pa.table(columns)


def _history(training: TrainingConfig, n_samples: int, skill: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Losses that fall and a UAR that rises to what the skill allows, with some noise."""
    ceiling = 1 / (1 + math.exp(0.8 - skill))
    records = []
    for epoch in range(1, training.epochs + 1):
        progress = 1 - math.exp(-2.5 * epoch / training.epochs)
        uar = float(np.clip(0.17 + (ceiling - 0.17) * progress + 0.02 * rng.normal(), 0, 1))
        records.append(
            {
                "epoch": epoch,
                "train_loss": 1.8 * (1 - 0.8 * progress) + 0.03 * abs(rng.normal()),
                "learning_rate": training.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / training.epochs)),
                "validation_loss": 1.8 * (1 - 0.5 * ceiling * progress) + 0.05 * abs(rng.normal()),
                "validation_uar": uar,
                "validation_wa": uar,
                "n_samples": n_samples,
                "seconds": 2.0,
                "samples_per_s": n_samples / 2.0,
            }
        )
    return records


def _data(
    experiment: Experiment,
    clips: Clips,
    classes: Sequence[str],
    fingerprints: dict[str, str],
    *,
    synthetic: bool,
    random_weights: bool,
) -> dict[str, Any]:
    return {
        "corpora": {
            corpus: {
                "n_clips": sum(clip["corpus"] == corpus for clip in clips),
                "n_subjects": len({clip["subject"] for clip in clips if clip["corpus"] == corpus}),
                "synthetic": synthetic,
            }
            for corpus in experiment.data.corpora
        },
        "features": {
            feature: feature_spec(feature, random_weights=random_weights).to_json()
            for feature in experiment.data.features
        },
        "fingerprints": fingerprints,
        "classes": list(classes),
        "label_source": experiment.data.label_source,
        "n_clips": len(clips),
        "n_subjects": len({clip["subject"] for clip in clips}),
        "class_counts": {emotion: sum(clip["truth"] == k for clip in clips) for k, emotion in enumerate(classes)},
        "left_out": {"no label of this vocabulary": 8, "channel is song": 4},
        "identical": [[clips[0]["clip_id"], clips[1]["clip_id"]]],
    }


def feature_spec(name: str, *, random_weights: bool = False) -> FeatureSpec:
    """A small spec: facenet has weights, all others a window."""
    settings: dict[str, Any] = {"window_s": 1.0}
    if name == "facenet":
        settings = {"weights": "random" if random_weights else "vggface2", "size_px": 160}
    columns = tuple(f"{name}_{i}" for i in range(4))
    return FeatureSpec(name=name, version=1, dim=4, hop_s=0.2, columns=columns, settings=settings)
