"""Builders of what the platform writes, for tests that read it: true layouts, made-up content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corpora.emotions import VOCABULARIES
from mien.experiment import (
    AugmentConfig,
    DimensionsConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    SvmConfig,
    TargetConfig,
)
from mien.experiment.protocol import OF_GROUPS, ProtocolKind
from mien.experiment.search import Search
from mien.experiment.space import Choice, Distribution, read_space, with_point
from mien.experiment.target import TargetSpec
from mien.families.recipe import ModelRecipe
from mien.features.spec import FeatureSpec
from mien.folder import SEAL
from mien.results import clips as results_clips
from mien.results.calibration import fit_temperature
from mien.results.clips import write_clips
from mien.results.conditions import Condition, Conditioned, write_conditions
from mien.results.history import best_record
from mien.results.metrics import METRICS, evaluate
from mien.results.predictions import Predicted, write_predictions
from mien.results.run import Run, Series
from mien.results.search_folder import SearchFolder, Trial
from mien.results.uncertainty import entropy

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
    group: str = "stimulus",
    target: TargetConfig | None = None,
    unrated: float = 0.0,
    synthetic: bool = False,
    random_weights: bool = False,
    epochs: int = 6,
    baseline_skill: float | None = None,
    absent_class: str | None = None,
    meetings: int = 0,
    older: bool = False,
    experiment: Experiment | None = None,
    conditions: bool = False,
    **data: Any,
) -> Series:
    """A finished Series on disk, written through `mien.results.run`, as by a model of stated skill.

    skill: how far the logit of the right class stands above the noise, or how far the truth above the noise of a
    prediction; 0 is chance. The noise of a clip is the same for every series, so two of them err on the same clips, as
    real models do. target: classes by default. unrated: share of the ratings that are missing. baseline_skill: None
    trains no support vector machine beside it. absent_class: no clip of subject 01, whom fold 0 tests, shows it. data:
    fields of DataConfig. meetings: into how many those of each subject are dealt. older: without clips.parquet, model/
    and confusions in the history, as an older mien wrote it. group: of by-group and crossed. experiment: taken as it is,
    but for what the arguments above name. conditions: each run was asked under conditions: without sound it has half of
    its skill left, without pictures most of it.
    """
    asked = experiment or Experiment(name=name, question="Does the factory write what a report can read?")
    asked = with_target(asked, target or asked.target)
    asked = replace(
        asked,
        name=name,
        data=replace(asked.data, **({"corpora": ("ravdess",)} | data)),
        protocol=ProtocolConfig(kind=protocol, folds=folds, group=group if protocol in OF_GROUPS else ""),
        training=replace(asked.training, epochs=epochs),
        execution=replace(asked.execution, storage=str(storage), seeds=tuple(seeds)),
    )
    clips = _clips(asked, n_subjects, clips_per_class, absent_class, unrated)
    fingerprints = {
        f"{corpus}/{feature}": "0123456789abcdef" for corpus in asked.data.corpora for feature in asked.data.features
    }
    series = Series.create(asked, asked.signature(fingerprints))
    written = _data(asked, clips, fingerprints, synthetic=synthetic, random_weights=random_weights)
    if not older:
        written["clips_sha256"] = write_clips(series.folder, _told(clips, meetings))
    series.folder.write_json("data.json", written)
    for seed in seeds:
        for fold in range(folds):
            _write_run(series.run(seed, fold), asked, clips, skill, older=older, conditions=conditions)
    if baseline_skill is not None:
        svm = series_directory(
            storage,
            name=f"{name}-svm",
            n_subjects=n_subjects,
            clips_per_class=clips_per_class,
            folds=folds,
            skill=baseline_skill,
            protocol=protocol,
            unrated=unrated,
            synthetic=synthetic,
            absent_class=absent_class,
            meetings=meetings,
            older=older,
            experiment=replace(asked, model=SvmConfig()),
            **data,
        )
        series.folder.write_json("baseline.json", {"experiment": svm.experiment.name, "signature": svm.signature})
    return series


def with_target(experiment: Experiment, target: TargetConfig) -> Experiment:
    """The same of another target, with a loss that fits it."""
    if target.kind == experiment.target.kind:
        return replace(experiment, target=target)
    loss = LossConfig(kind="ccc" if target.kind == "dimensions" else "focal")
    return replace(experiment, target=target, loss=loss)


def target_spec(target: TargetConfig) -> TargetSpec:
    names = target.names if isinstance(target, DimensionsConfig) else VOCABULARIES[target.vocabulary]
    return TargetSpec(target.kind, tuple(names), target.primary)


SPACE = {
    "augment.kind": "none | audio | sync",
    "loss.kind": "cross-entropy | focal",
    "training.learning_rate": "1e-4 .. 1e-2 log",
    "model.dropout": "0 .. 0.6",
}
QUESTIONS = {"augment.kind": "none | sync", "loss.kind": "cross-entropy | focal"}
LOSSES = {"classes": "cross-entropy | focal", "dimensions": "mse | ccc"}


def skill_of(experiment: Experiment) -> float:
    """The truth of a made-up search: sync helps, the learning rate matters most, nothing else does.

    Some thousandths set the others apart: their models err elsewhere, no less and no more.
    """
    skill = 1.2 + {"none": 0.0, "audio": 0.002, "independent": 0.003, "sync": 0.6}[experiment.augment.kind]
    skill += 0.001 * (experiment.loss.kind in ("focal", "ccc"))
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
    target: TargetConfig | None = None,
    skill: Callable[[Experiment], float] = skill_of,
    synthetic: bool = False,
    is_over: bool = True,
) -> SearchFolder:
    """A search on disk, written through `mien.results.search_folder`, whose models are of stated skill.

    Of five trials the third is pruned at epoch 3, of fifteen the fifth has failed; all others are done. searched: how
    many of the protocol's folds. is_over: the winners and all variants are trained again and tested.
    """
    declared = Experiment(name=name, question="Does synchronised augmentation help?")
    declared = with_target(declared, target or declared.target)
    declared = replace(
        declared,
        data=replace(declared.data, corpora=("ravdess",)),
        protocol=replace(declared.protocol, folds=folds),
        augment=AugmentConfig(kind="none"),
        training=replace(declared.training, epochs=epochs),
        execution=replace(declared.execution, storage=str(storage), seeds=tuple(seeds)),
    )
    losses = {"loss.kind": LOSSES[declared.target.kind]}
    search = Search(
        experiment=declared,
        space=dict(SPACE | losses if space is None else space),
        questions=dict(QUESTIONS | losses if questions is None else questions),
        trials=n_trials,
    )
    folder = SearchFolder.create(search)
    clips = _clips(declared, n_subjects, clips_per_class, None, 0.0)
    fingerprints = {f"ravdess/{feature}": "0123456789abcdef" for feature in declared.data.features}
    data = _data(declared, clips, fingerprints, synthetic=synthetic, random_weights=False)
    numbers = range(folds if searched is None else searched)
    folder.folder.write_json(
        "data.json", data | {"folds": {str(fold): f"fold {fold}" for fold in numbers}}, sealed=True
    )
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
            series.folder.write_json("data.json", data, sealed=True)
            for seed in seeds:
                if not series.run(seed, fold).is_done:
                    _write_run(series.run(seed, fold), experiment, clips, skill(experiment))
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
    folder.folder.write_json("chosen.json", {"variants": variants, "seeds": list(seeds)}, sealed=True)
    return folder


def rewrite(path: Path, **changes: Any) -> None:
    """Change values of a JSON file, which loses its seal: as somebody who knows it, or an older mien, would write it."""
    value = {key: item for key, item in json.loads(path.read_text()).items() if key != SEAL}
    path.write_text(json.dumps(value | changes))


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
        history = _history(experiment, 80, skill(experiment), rng)
        trial = Trial(fold=fold, number=number, signature=experiment.signature(fingerprints), point=point)
        state, reason = "done", f"all {len(history)} epochs done"
        if number % 5 == 2:
            state, reason, history = "pruned", "not among the best third at epoch 3", history[:3]
        elif number % 15 == 4:
            state, reason, history = "failed", "the loss is not a number at epoch 2", history[:1]
        folder.run(fold, trial.signature).write_history(history)
        best = best_record(history)
        assert best is not None
        started_s, ended_s = ended_s, ended_s + 2.0 * len(history)
        folder.write_trial(
            trial,
            state=state,
            reason=reason,
            score=best["score"],
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
    experiment: Experiment, n_subjects: int, clips_per_class: int, absent_class: str | None, unrated: float
) -> Clips:
    """Subjects dealt to corpora in turn; each performs each class equally often. truth: class index, or ratings."""
    corpora, target = experiment.data.corpora, target_spec(experiment.target)
    classes = target.names if target.kind == "classes" else VOCABULARIES["common6"]
    clips: Clips = []
    for person in range(1, n_subjects + 1):
        corpus = corpora[person % len(corpora)]
        for number, emotion in enumerate(classes):
            if person == 1 and emotion == absent_class:
                continue
            for take in range(clips_per_class):
                rng = np.random.default_rng((person, number, take))
                noise = rng.normal(size=len(target.names))
                truth: Any = number
                if target.kind == "dimensions":
                    turn = 2 * math.pi * number / len(classes) + np.arange(len(target.names)) * math.pi / 2
                    truth = np.clip(0.7 * np.sin(turn) + 0.15 * rng.normal(size=len(target.names)), -1, 1)
                    truth[rng.random(len(target.names)) < unrated] = np.nan
                clips.append(
                    {
                        "clip_id": f"{corpus}/{person:02d}-{number + 1:02d}-{take + 1:02d}",
                        "subject": f"{corpus}/{person:02d}",
                        "corpus": corpus,
                        "emotion": emotion,
                        "truth": truth,
                        "noise": noise,
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


def _told(clips: Clips, meetings: int) -> results_clips.Clips:
    """What a corpus tells: odd people are women, each is three years older than the one before, of each class the first
    take is normal and the others are strong. Age of subject 02 and statement are not told. A clip starts 20 s after the
    one before of the same subject; listed backwards, since nothing may hang on their order."""
    clips = clips[::-1]
    people = [int(clip["subject"].split("/")[1]) for clip in clips]
    takes = [int(clip["clip_id"].rsplit("-", 1)[1]) for clip in clips]
    turns = [sum(other["subject"] == one["subject"] for other in clips[n + 1 :]) for n, one in enumerate(clips)]
    texts = [np.array([clip[key] for clip in clips], str) for key in ("clip_id", "subject", "corpus")]
    attributes = {
        "sex": ["female" if person % 2 else "male" for person in people],
        "age": ["" if person == 2 else str(20 + 3 * person) for person in people],
        "intensity": ["normal" if take == 1 else "strong" for take in takes],
        "statement": [""] * len(clips),
    }
    groups = {"meeting": [f"m{turn % meetings}" for turn in turns]} if meetings else {}
    return results_clips.Clips(
        *texts,
        20.0 * np.array(turns),
        *({name: np.array(words, str) for name, words in told.items()} for told in (attributes, groups)),
    )


def _write_run(
    run: Run, experiment: Experiment, clips: Clips, skill: float, *, older: bool = False, conditions: bool = False
) -> None:
    rng = np.random.default_rng((run.seed, run.fold, round(1000 * skill)))
    target = target_spec(experiment.target)
    sides = _sides(run, experiment, clips)
    run.folder.write_json("experiment.json", experiment.to_json())
    framework = "scikit-learn" if experiment.model.family == "svm" else "tensorflow"
    run.folder.write_json(
        "environment.json",
        {
            "mien": "0.1.0",
            "python": "3.11.9",
            "numpy": "2.4.6",
            "ray": "2.60.0",
            framework: "2.21.0",
            "machine": "x86_64",
            "instance_type": None,
            "cpus": 2,
            "workers": 1,
        },
    )
    described = {
        side: {
            "n_clips": len(held),
            "subjects": sorted({clip["subject"] for clip in held}),
            "clip_ids_sha256": hashlib.sha256("\n".join(sorted(clip["clip_id"] for clip in held)).encode()).hexdigest(),
        }
        for side, held in sides.items()
    }
    run.folder.write_json("split.json", {"name": f"fold {run.fold}", **described})
    predict = _probabilities if target.kind == "classes" else _ratings
    predicted = {
        side: Predicted(
            *(np.array([clip[key] for clip in sides[side]], str) for key in ("clip_id", "subject", "corpus")),
            _truth(sides[side], target),
            predict(sides[side], skill, rng, len(target.names)),
        )
        for side in ("validation", "test")
    }
    write_predictions(run, target, predicted)
    if conditions:
        _write_conditions(run, target, sides["test"], skill, rng)
    history = _history(experiment, len(sides["train"]), skill, rng)
    if not older:
        run.folder.write_json("model/recipe.json", _recipe(experiment, run.seed, predicted["validation"]).to_json())
    if not older and target.kind == "classes":
        for record in history:
            record["validation_confusion"] = _confusion(record["validation_uar"], len(sides["validation"]), target)
    # A support vector machine is fitted in one pass: one record, as the training loop writes it.
    run.write_history(history[:1] if experiment.model.family == "svm" else history)
    best = best_record(run.history())
    assert best is not None
    scores = {side: evaluate(target, clips.truth, clips.values) for side, clips in predicted.items()}
    stopped = f"all {len(run.history())} epochs done"
    run.write_metrics({"best_epoch": best["epoch"], "stopped": stopped, **scores})
    run.finish()


def _recipe(experiment: Experiment, seed: int, held_out: Predicted) -> ModelRecipe:
    target = target_spec(experiment.target)
    has_temperature = target.kind == "classes" and experiment.model.family != "svm"
    return ModelRecipe(
        model=experiment.model,
        training=experiment.training,
        loss=experiment.loss,
        seed=seed,
        target=target,
        inputs={name: feature_spec(name) for name in experiment.data.features},
        extractors=dict.fromkeys(experiment.data.features),
        normalise=experiment.data.normalise,
        is_synthetic=False,
        temperature=fit_temperature(held_out.truth, held_out.values) if has_temperature else None,
    )


def _confusion(recall: float, n_clips: int, target: TargetSpec) -> list[list[int]]:
    """Of as many clips of each class, of which this share is recognised and the others are called the next class."""
    k = len(target.names)
    right = round(recall * n_clips / k)
    counts = right * np.eye(k, dtype=int) + (n_clips // k - right) * np.roll(np.eye(k, dtype=int), 1, axis=1)
    return counts.tolist()


def _write_conditions(run: Run, target: TargetSpec, clips: Clips, skill: float, rng: np.random.Generator) -> None:
    k, is_of_classes = len(target.names), target.kind == "classes"
    predict = _probabilities if is_of_classes else _ratings
    shares = {("audio",): 0.5, ("video",): 0.8}
    found = {Condition(hidden=hidden): Conditioned(predict(clips, skill * s, rng, k)) for hidden, s in shares.items()}
    prior = np.full((len(clips), k), 1 / k if is_of_classes else 0.0)
    found[Condition(hidden=("audio", "video"))] = Conditioned(prior)
    for level in (0.5, 2.0):
        found[Condition(noise=level)] = Conditioned(predict(clips, skill * (1 - level / 3), rng, k))
    values = predict(clips, skill, rng, k)
    within = 0.8 * entropy(values)[:, None] if is_of_classes else rng.uniform(0.01, 0.1, values.shape)
    found[Condition(draws=20)] = Conditioned(values, within)
    write_conditions(run, target, [clip["clip_id"] for clip in clips], found)


def _truth(clips: Clips, target: TargetSpec) -> NDArray[Any]:
    """(N,) class indices or (N, K) ratings."""
    if target.kind == "classes":
        return np.array([clip["truth"] for clip in clips], np.int64)
    return np.array([clip["truth"] for clip in clips], np.float64).reshape(-1, len(target.names))


def _probabilities(clips: Clips, skill: float, rng: np.random.Generator, k: int) -> NDArray[np.float64]:
    """(N, K): softmax of skill on the right class, the clip's own noise and a little of this run's."""
    if not clips:
        return np.empty((0, k))
    right = np.array([np.arange(len(clip["noise"])) == clip["truth"] for clip in clips])
    noise = np.array([clip["noise"] for clip in clips])
    ease = np.array([[clip["ease"]] for clip in clips])
    logits = noise + (skill + 0.8 * ease) * right
    logits = logits + 0.4 * rng.normal(size=logits.shape)
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _ratings(clips: Clips, skill: float, rng: np.random.Generator, k: int) -> NDArray[np.float64]:
    """(N, K): as much of the truth as the skill allows, the clip's own noise and a little of this run's."""
    if not clips:
        return np.empty((0, k))
    truth = np.nan_to_num(np.array([clip["truth"] for clip in clips]))
    noise = np.array([clip["noise"] for clip in clips]) + 0.4 * rng.normal(size=truth.shape)
    ease = np.array([[clip["ease"]] for clip in clips])
    share = 1 / (1 + np.exp(-(skill - 0.7 + 0.3 * ease)))
    return np.clip(share * truth + 0.5 * (1 - share) * noise, -1, 1)


def _history(experiment: Experiment, n_samples: int, skill: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Losses that fall and a score that rises to what the skill allows, with some noise."""
    training, target = experiment.training, experiment.target
    ceiling = 1 / (1 + math.exp(0.8 - skill))
    records = []
    for epoch in range(1, training.epochs + 1):
        progress = 1 - math.exp(-2.5 * epoch / training.epochs)
        quality = float(np.clip(0.17 + (ceiling - 0.17) * progress + 0.02 * rng.normal(), 0, 1))
        # As good on every metric: on errors what is left to 1.
        scores = {
            name: quality if metric.higher_is_better else 1 - quality for name, metric in METRICS[target.kind].items()
        }
        records.append(
            {
                "epoch": epoch,
                "learning_rate": training.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / training.epochs)),
                "train_loss": 1.8 * (1 - 0.8 * progress) + 0.03 * abs(rng.normal()),
                "n_samples": n_samples,
                "seconds": 2.0,
                "data_s": 0.2,
                "samples_per_s": n_samples / 2.0,
                "score": scores[target.primary],
                "score_name": target.primary,
                "validation_loss": 1.8 * (1 - 0.5 * ceiling * progress) + 0.05 * abs(rng.normal()),
                **{f"validation_{name}": value for name, value in scores.items()},
            }
        )
    return records


def _data(
    experiment: Experiment, clips: Clips, fingerprints: dict[str, str], *, synthetic: bool, random_weights: bool
) -> dict[str, Any]:
    target = target_spec(experiment.target)
    truth = _truth(clips, target)
    if target.kind == "classes":
        counts = np.bincount(truth, minlength=len(target.names)).tolist()
        of_target = {"class_counts": dict(zip(target.names, counts, strict=True))}
    else:
        of_target = {"ratings": {name: rated(truth[:, k]) for k, name in enumerate(target.names)}}
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
        "target": {"kind": target.kind, "names": list(target.names), "primary": target.primary},
        "n_clips": len(clips),
        "n_subjects": len({clip["subject"] for clip in clips}),
        **of_target,
        "left_out": {"no label of this vocabulary": 8, "channel is song": 4},
        "identical": [[clips[0]["clip_id"], clips[1]["clip_id"]]],
    }


def rated(ratings: NDArray[np.float64]) -> dict[str, Any]:
    known = ratings[~np.isnan(ratings)]
    return {"n_clips": len(known), "mean": float(known.mean()), "sd": float(known.std())}


def feature_spec(name: str, *, random_weights: bool = False) -> FeatureSpec:
    """A small spec: facenet has weights, all others a window."""
    settings: dict[str, Any] = {"window_s": 1.0}
    if name == "facenet":
        settings = {"weights": "random" if random_weights else "vggface2", "size_px": 160}
    columns = tuple(f"{name}_{i}" for i in range(4))
    modality = "video" if name in ("facenet", "openface", "openface-clip") else "audio"
    return FeatureSpec(
        name=name, version=1, modality=modality, shape=(4,), hop_s=0.2, columns=columns, settings=settings
    )
