"""Builders of what the platform writes, for tests that read it: true layouts, made-up content."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.corpora.emotions import VOCABULARIES
from mien.experiment import Experiment, SvcConfig, TrainingConfig
from mien.experiment.protocol import ProtocolKind
from mien.experiment.search import Search
from mien.experiment.space import Choice, Distribution, read_space, with_point
from mien.features.spec import FeatureSpec
from mien.results.metrics import classification_metrics
from mien.results.run import Run, Series
from mien.results.search_folder import SearchFolder, Trial

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
    """A finished Series on disk, written through `mien.results.run`, as by a model of stated skill.

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


SPACE = {
    "augment.kind": "none | audio | sync",
    "loss.kind": "cross-entropy | focal",
    "training.learning_rate": "1e-4 .. 1e-2 log",
    "model.dropout": "0 .. 0.6",
}
QUESTIONS = {"augment.kind": "none | sync", "loss.kind": "cross-entropy | focal"}


def skill_of(experiment: Experiment) -> float:
    """The truth of a made-up search: sync helps, the learning rate matters most, nothing else does.

    Some thousandths set the others apart: their models err elsewhere, no less and no more.
    """
    skill = 1.2 + {"none": 0.0, "audio": 0.002, "independent": 0.003, "sync": 0.6}[experiment.augment.kind]
    skill += 0.001 * (experiment.loss.kind == "focal")
    return skill - 1.0 * (math.log10(experiment.training.learning_rate) + 2.5) ** 2


def search_directory(
    storage: str | Path,
    *,
    name: str = "search",
    n_subjects: int = 24,
    clips_per_class: int = 2,
    folds: int = 3,
    searched: int | None = None,
    n_trials: int = 15,
    seeds: Sequence[int] = (0, 1),
    epochs: int = 9,
    space: Mapping[str, str] | None = None,
    questions: Mapping[str, str] | None = None,
    skill: Callable[[Experiment], float] = skill_of,
    synthetic: bool = False,
    is_over: bool = True,
) -> SearchFolder:
    """A search on disk, written through `mien.results.search_folder`, whose models are of stated skill.

    Of five trials the third is pruned at epoch 3, of fifteen the fifth has failed; all others are done. searched: how
    many of the protocol's folds. is_over: the winners and all variants are trained again and tested.
    """
    declared = Experiment(name=name, question="Does synchronised augmentation help?")
    declared = replace(
        declared,
        data=replace(declared.data, corpora=("ravdess",)),
        protocol=replace(declared.protocol, folds=folds),
        augment=replace(declared.augment, kind="none"),
        training=replace(declared.training, epochs=epochs),
        execution=replace(declared.execution, storage=str(storage), seeds=tuple(seeds)),
    )
    search = Search(
        experiment=declared,
        space=dict(SPACE if space is None else space),
        questions=dict(QUESTIONS if questions is None else questions),
        trials=n_trials,
    )
    folder = SearchFolder.create(search)
    classes = VOCABULARIES[declared.data.vocabulary]
    clips = _clips(declared.data.corpora, classes, n_subjects, clips_per_class, None)
    fingerprints = {f"ravdess/{feature}": "0123456789abcdef" for feature in declared.data.features}
    data = _data(declared, clips, classes, fingerprints, synthetic=synthetic, random_weights=False)
    numbers = range(folds if searched is None else searched)
    folder.folder.write_json("data.json", data | {"folds": {str(fold): f"fold {fold}" for fold in numbers}})
    for fold in numbers:
        _write_trials(folder, fold, fingerprints, skill)
    if not is_over:
        return folder

    variants: dict[str, dict[str, Any]] = {}

    def train(variant: str, question: str, value: Any, point: Callable[[int], Mapping[str, Any]]) -> None:
        signatures = {}
        for fold in numbers:
            experiment = with_point(declared, point(fold))
            signatures[str(fold)] = signature = experiment.signature(fingerprints)
            series = Series.create(experiment, signature)
            series.folder.write_json("data.json", data)
            for seed in seeds:
                if not series.run(seed, fold).is_done:
                    _write_run(series.run(seed, fold), experiment, clips, classes, skill(experiment))
        variants[variant] = {"question": question, "value": value, "signatures": signatures}

    def won(fold: int) -> dict[str, Any]:
        winner = folder.winner(fold)
        assert winner is not None
        return winner.point

    train("chosen", "", None, won)
    train("as declared", "", None, lambda fold: {})
    for path, distribution in (read_space(declared, search.questions, "questions") if search.questions else {}).items():
        assert isinstance(distribution, Choice)
        for value in distribution.values:
            train(f"{path} = {value}", path, value, lambda fold, path=path, value=value: won(fold) | {path: value})
    folder.folder.write_json("chosen.json", {"variants": variants, "seeds": list(seeds)})
    return folder


def _write_trials(
    folder: SearchFolder, fold: int, fingerprints: dict[str, str], skill: Callable[[Experiment], float]
) -> None:
    declared, n_trials = folder.search.experiment, folder.search.trials
    space = read_space(declared, folder.search.space)
    rng = np.random.default_rng((7, fold))
    ended_s = 1_760_000_000.0
    for number in range(n_trials):
        point = {path: _drawn(distribution, rng) for path, distribution in space.items()}
        experiment = with_point(declared, point)
        history = _history(experiment.training, 80, skill(experiment), rng)
        trial = Trial(fold=fold, number=number, signature=experiment.signature(fingerprints), point=point)
        state, reason = "done", f"all {len(history)} epochs done"
        if number % 5 == 2:
            state, reason, history = "pruned", "not among the best third at epoch 3", history[:3]
        elif number % 15 == 4:
            state, reason, history = "failed", "the loss is not a number at epoch 2", history[:1]
        folder.run(fold, trial.signature).write_history(history)
        best = max(history, key=lambda record: record["validation_uar"])
        started_s, ended_s = ended_s, ended_s + 2.0 * len(history)
        folder.write_trial(
            trial,
            state=state,
            reason=reason,
            score=best["validation_uar"],
            epoch=best["epoch"],
            n_epochs=len(history),
            seconds=2.0 * len(history),
            started_s=started_s,
            ended_s=ended_s,
        )


def _drawn(distribution: Distribution, rng: np.random.Generator) -> Any:
    if isinstance(distribution, Choice):
        return distribution.values[int(rng.integers(len(distribution.values)))]
    low, high = (math.log10(end) if distribution.is_log else end for end in (distribution.low, distribution.high))
    value = rng.uniform(low, high)
    value = 10**value if distribution.is_log else value
    return round(value) if distribution.is_integer else float(np.clip(value, distribution.low, distribution.high))


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
                "data_s": 0.2,
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
