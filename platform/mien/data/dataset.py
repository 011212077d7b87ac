"""Dataset: the clips that an experiment reads, joined with their features and labels, in memory.

Values are views into the store's Arrow buffers: nothing is copied until a batch is padded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import LABEL_SOURCES, Clip
from mien.corpora.emotions import VOCABULARIES, class_index
from mien.data.splits import Split, inner_splits, make_splits
from mien.errors import ExperimentError, nearest
from mien.experiment import DataConfig, ProtocolConfig
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore


@dataclass(frozen=True, slots=True)
class Dataset:
    """N clips, sorted by id.

    truth: (N,) class index. targets: (N, K) float32, what is learnt: one-hot, or the raters' shares. contents: equal
    for clips that have a medium of the same bytes, so that copies can be kept together. frames: feature name to N
    Frames; a clip without that feature has (0, D). left_out: reason to number of the store's clips that are not among
    the N.
    """

    clip_ids: list[str]
    subjects: list[str]
    corpora: list[str]
    contents: list[str]
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    targets: NDArray[np.float32]
    specs: dict[str, FeatureSpec]
    frames: dict[str, list[Frames]]
    left_out: dict[str, int]
    fingerprints: dict[str, str]
    synthetic: dict[str, bool]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def lengths(self) -> NDArray[np.int64]:
        """(N,) frames of each clip's longest feature, at least 1."""
        return np.max([[max(1, len(f.valid)) for f in frames] for frames in self.frames.values()], axis=0)

    def splits(self, protocol: ProtocolConfig) -> list[Split]:
        """The folds of a protocol over these clips."""
        return make_splits(**self._columns(), protocol=protocol)

    def inner_splits(self, split: Split, protocol: ProtocolConfig) -> list[Split]:
        """Cross-validation within one of those folds, its own validation first."""
        return inner_splits(split, **self._columns(), protocol=protocol)

    def _columns(self) -> dict[str, Any]:
        return {
            "clip_ids": self.clip_ids,
            "subjects": self.subjects,
            "corpora": self.corpora,
            "contents": self.contents,
            "classes": self.truth,
        }

    def summary(self) -> dict[str, Any]:
        """What a report says of the data, as JSON."""
        by_corpus = {
            name: {
                "n_clips": self.corpora.count(name),
                "n_subjects": len({s for s, c in zip(self.subjects, self.corpora) if c == name}),
                "synthetic": synthetic,
            }
            for name, synthetic in self.synthetic.items()
        }
        counts = np.bincount(self.truth, minlength=len(self.classes)).tolist()
        return {
            "corpora": by_corpus,
            "features": {name: spec.to_json() for name, spec in self.specs.items()},
            "fingerprints": self.fingerprints,
            "classes": list(self.classes),
            "n_clips": len(self),
            "n_subjects": len(set(self.subjects)),
            "class_counts": dict(zip(self.classes, counts)),
            "left_out": self.left_out,
            "identical": self.identical(),
        }

    def identical(self) -> list[list[str]]:
        """Groups of clips whose media are the same bytes."""
        groups: dict[str, list[str]] = {}
        for clip_id, content in zip(self.clip_ids, self.contents):
            groups.setdefault(content, []).append(clip_id)
        return [group for content, group in sorted(groups.items()) if content and len(group) > 1]


def read_dataset(store: FeatureStore, config: DataConfig) -> Dataset:
    """The clips of a store that an experiment asks for.

    Raises StoreError where the store lacks a corpus or feature, ExperimentError where no clip of a corpus is left
    or one feature was extracted with different settings for two corpora.
    """
    classes = VOCABULARIES.get(config.vocabulary)
    if classes is None:
        raise ExperimentError(f"data.vocabulary {config.vocabulary!r}: choose from {', '.join(VOCABULARIES)}")
    if config.label_source not in LABEL_SOURCES:
        raise ExperimentError(
            f"data.label_source {config.label_source!r}: {nearest(config.label_source, LABEL_SOURCES)}"
        )
    specs: dict[str, FeatureSpec] = {}
    fingerprints: dict[str, str] = {}
    synthetic: dict[str, bool] = {}
    rows: list[tuple[Clip, int, set[str], dict[str, Frames]]] = []
    left_out: Counter[str] = Counter()
    for corpus in sorted(config.corpora):
        clips = store.clips(corpus)
        reasons: Counter[str] = Counter()
        synthetic[corpus] = any(clip.synthetic for clip in clips)
        tables = {}
        for name in config.features:
            spec = store.spec(corpus, name)
            if specs.setdefault(name, spec) != spec:
                raise ExperimentError(
                    f"feature {name!r}: {corpus} was prepared with other settings than the corpora before it; "
                    "prepare both alike"
                )
            table = store.load(corpus, spec)
            tables[name] = (table, {clip_id: row for row, clip_id in enumerate(table.clip_ids)})
            fingerprints[f"{corpus}/{name}"] = store.fingerprint(corpus, spec)
        for clip in sorted(clips, key=lambda clip: clip.id):
            found = {name: table.frames(where[clip.id]) for name, (table, where) in tables.items() if clip.id in where}
            reason, index = _place(clip, config, found)
            if reason:
                reasons[reason] += 1
                continue
            contents = {tables[name][0].content[tables[name][1][clip.id]] for name in found}
            rows.append((clip, index, contents, found))
        if reasons.total() == len(clips):
            raise ExperimentError(
                f"no clip is left of {corpus} ({_in_words(reasons)}); check "
                "data.label_source, data.channel and the store's rejects, or leave it out of data.corpora"
            )
        left_out += reasons
    truth = np.array([index for _, index, _, _ in rows], np.int64)
    targets = np.eye(len(classes), dtype=np.float32)[truth]
    if config.soft_labels:
        for row, (clip, _, _, _) in enumerate(rows):
            targets[row] = _shares(clip, config) if _has_votes(clip, config) else targets[row]
    return Dataset(
        clip_ids=[clip.id for clip, *_ in rows],
        subjects=[clip.subject for clip, *_ in rows],
        corpora=[clip.corpus for clip, *_ in rows],
        contents=_components([contents for _, _, contents, _ in rows]),
        classes=classes,
        truth=truth,
        targets=targets,
        specs=specs,
        frames={name: [found.get(name) or _absent(spec.dim) for *_, found in rows] for name, spec in specs.items()},
        left_out=dict(sorted(left_out.items())),
        fingerprints=fingerprints,
        synthetic=synthetic,
    )


def _place(clip: Clip, config: DataConfig, found: dict[str, Frames]) -> tuple[str, int]:
    """Why a clip is left out ("" if it stays), and its class."""
    if config.channel != "all" and clip.attributes.get("channel", config.channel) != config.channel:
        return f"channel is not {config.channel}", -1
    label = clip.label(config.label_source)
    if label is None or label.emotion is None:
        return f"no {config.label_source} label", -1
    index = class_index(label.emotion, config.vocabulary, config.calm)
    if index is None:
        return f"{label.emotion} is not among the classes", -1
    if not found:
        return "no features (see the store's rejects)", -1
    if config.missing == "drop" and len(found) < len(config.features):
        return "lacks one of the features", -1
    return "", index


def _in_words(left_out: Mapping[str, int]) -> str:
    """
    >>> _in_words({"no perceived-face label": 168, "lacks one of the features": 1})
    '168 clips: no perceived-face label; 1 clip: lacks one of the features'
    """
    found = [f"{n} clip{'s' if n > 1 else ''}: {reason}" for reason, n in left_out.items()]
    return "; ".join(found) or "the store holds none"


def _has_votes(clip: Clip, config: DataConfig) -> bool:
    label = clip.label(config.label_source)
    return label is not None and bool(label.votes)


def _shares(clip: Clip, config: DataConfig) -> NDArray[np.float32]:
    """The raters' shares over the vocabulary, summing to 1; votes outside it are left out."""
    label = clip.label(config.label_source)
    shares = np.zeros(len(VOCABULARIES[config.vocabulary]), np.float32)
    for emotion, share in label.votes.items() if label else ():
        index = class_index(emotion, config.vocabulary, config.calm)
        if index is not None:
            shares[index] += share
    return shares / shares.sum()


def _components(contents: list[set[str]]) -> list[str]:
    """One hash for each clip, equal for clips that share a medium directly or through others."""
    parent: dict[str, str] = {}

    def root(content: str) -> str:
        while parent.setdefault(content, content) != content:
            content = parent[content]
        return content

    for hashes in contents:
        first, *others = sorted(root(content) for content in hashes)
        parent.update(dict.fromkeys(others, first))
    return [root(min(hashes)) for hashes in contents]


def _absent(dim: int) -> Frames:
    return Frames(np.zeros((0, dim), np.float32), np.zeros(0, bool))
