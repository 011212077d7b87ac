"""Recordings to measure extractors on, and networks of the size of published ones, for who has none of her own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mien import corpora
from mien.cluster.cost.corpora import medium_of
from mien.connection import search_path
from mien.corpora.clip import Clip, Medium
from mien.corpora.sample.mahnob import Watching, write_sensors
from mien.corpora.sample.performance import Person
from mien.corpora.sample.write import write_sample
from mien.errors import MienError

TRIAL_S = 81.0  # of MAHNOB-HCI, whose films last 35 to 117 s
TABLE_ROWS = 110  # of a clip of RAVDESS
_CORPUS_OF = {"audio": "ravdess", "video": "ravdess", "openface": "openface", "eeg": "mahnob", "physio": "mahnob"}
# Their published configurations, by the settings in which transformers' defaults differ.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "speech-encoder": ("WavLM base", {}),
    "image-encoder": (
        "DINOv2 small",
        {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14},
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What one extractor is measured on. settings: what it is built with. weights, recordings: in words."""

    media: tuple[Medium, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    recordings: str = "synthetic"


def subject(
    feature: str, folder: Path, *, root: Path | None = None, weights: str | None = None, n_clips: int = 8
) -> Subject:
    """Clips of the corpora below root, of ravdess and mahnob as `mien sample` lays them out and the tables of openface;
    where root is None or lacks the folder, synthetic ones, which are written below folder.

    weights: of the network; without them, random ones of its published size. Raises MienError where there is nothing to
    measure it on, and for blendshapes without a model.
    """
    medium = medium_of(feature)
    settings, named = _network(feature, folder, weights)
    corpus = _CORPUS_OF[medium]
    if root is not None and (root / corpus).is_dir():
        media = _imported(corpus, root / corpus, medium, n_clips)
        return Subject(media=media, settings=settings, weights=named, recordings=f"{corpus} in --corpora-root")
    if medium == "openface":
        media = tuple(_table(folder / f"{number}.csv") for number in range(n_clips))
    elif corpus == "mahnob":
        media = tuple(_trial(folder, number) for number in range(min(n_clips, 2)))
    else:
        roots = write_sample(folder / "sample", [corpus], n_subjects=2, n_per_emotion=1)
        media = _imported(corpus, roots[corpus], medium, n_clips)
    return Subject(media=media, settings=settings, weights=named)


def _imported(corpus: str, root: Path, medium: str, n_clips: int) -> tuple[Medium, ...]:
    """The first clips of a corpus that have this medium; of openface, the first tables."""
    if corpus == "openface":
        return tuple(Medium(path=str(path)) for path in sorted(root.rglob("*.csv"))[:n_clips])
    found = (clip for clip in corpora.load(corpus).import_clips(root) if isinstance(clip, Clip))
    media = tuple(islice((clip.media[medium] for clip in found if medium in clip.media), n_clips))
    if not media:
        raise MienError(
            f"{root}: no clip of {corpus} has {medium}; give a folder with some, or leave --corpora-root out"
        )
    return media


def _trial(folder: Path, number: int) -> Medium:
    """A synthetic trial of MAHNOB-HCI, as long as the real ones are in the mean: BDF, 47 channels, 256 Hz."""
    watching = _Long(Person(0, "mahnob 1", "male"), f"film {1 + number}", "neutral", 1.0, 2, 1 + number, 1 + number)
    path = folder / f"trial-{number}.bdf"
    write_sensors(path, watching)
    return Medium(path=str(path), start_s=4.0, end_s=4.0 + TRIAL_S)


class _Long(Watching):
    film_s = TRIAL_S


def _table(path: Path) -> Medium:
    """A table as OpenFace writes it of a clip of RAVDESS, of made-up numbers."""
    from mien.features.extractors.openface import ACTION_UNITS, HOP_S

    random = np.random.default_rng(0)
    lines = [", ".join(["frame", "timestamp", "confidence", "success", *ACTION_UNITS])]
    for row in range(TABLE_ROWS):
        units = ", ".join(f"{value:.2f}" for value in random.uniform(0, 1, len(ACTION_UNITS)))
        lines.append(f"{row + 1}, {row * HOP_S:.3f}, 0.98, 1, {units}")
    path.write_text("\n".join(lines) + "\n")
    return Medium(path=str(path))


def _network(feature: str, folder: Path, weights: str | None) -> tuple[dict[str, Any], str]:
    """Settings that give an extractor its network, and what that is in words."""
    setting = {"facenet": "weights", "speech-encoder": "model", "image-encoder": "model", "blendshapes": "model"}
    if feature not in setting:
        if weights is not None:
            raise MienError(f"--weights {feature}={weights}: {feature} has none; they are of {', '.join(setting)}")
        return {}, ""
    if weights is not None:
        return {setting[feature]: weights}, Path(weights).name
    if feature == "blendshapes":
        raise MienError("blendshapes: no model is given; skipped without --weights blendshapes=FILE")
    if feature == "facenet":
        return {"weights": "random"}, "random, of FaceNet's size"
    name, _ = NETWORKS[feature]
    network = folder / feature
    if not network.exists():
        # In a process of its own: torch is to be loaded where it is measured and not here.
        program = f"from mien.bench.media import write_network; write_network({feature!r}, {str(network)!r})"
        environment = os.environ | {"PYTHONPATH": search_path()}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.DEVNULL)
    return {"model": str(network)}, f"random, of {name}'s size"


def write_network(feature: str, folder: str) -> None:
    """A network of published size with seeded random weights, as transformers' save_pretrained writes it."""
    import torch
    import transformers as hf

    hf.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    _, settings = NETWORKS[feature]
    network: Any
    preprocessor: Any
    if feature == "speech-encoder":
        network, preprocessor = hf.WavLMModel(hf.WavLMConfig(**settings)), hf.Wav2Vec2FeatureExtractor()
    else:
        network = hf.Dinov2Model(hf.Dinov2Config(**settings))
        preprocessor = hf.BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    network.save_pretrained(folder)
    preprocessor.save_pretrained(folder)
