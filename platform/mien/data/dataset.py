"""Dataset: the clips that an experiment reads, joined with their features and their target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Clip
from mien.data.columns import Column, InMemory, Mapped
from mien.data.contents import Contents
from mien.data.leaks import check_leak
from mien.data.mapped_table import Source, mapped_table, source_of
from mien.data.splits import Split, inner_splits, make_splits
from mien.data.targets import NO_CLASS, Target, read_target, reason_without_target, target_spec
from mien.errors import ExperimentError, LeakError
from mien.experiment import MEETING, STIMULUS, DataConfig, ProtocolConfig, TargetConfig
from mien.experiment.protocol import is_unknown
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore, FeatureTable
from mien.results.clips import ATTRIBUTES, Clips

SIDE = "split"  # the attribute of a clip that says on which side of the corpus's own split it stands


@dataclass(frozen=True, slots=True)
class Dataset:
    """N clips, sorted by corpus and id.

    groups: name to the group of each clip, "" where it is in none. contents: what each was extracted from. columns:
    feature name to its column, in the order of the experiment's features. left_out: reason to number of the store's
    clips that are not among the N. fingerprints: "<corpus>/<feature>" to that of its rows. synthetic: corpus to
    whether any of its clips is. recipes: feature name to how it was asked for (extractor, settings, medium), None
    where that is not known. sides: where the corpus itself puts each clip (its attribute split), "" where it does not;
    empty where it puts none. starts_s: where each clip begins in its recording. attributes: each of
    `mien.results.clips.ATTRIBUTES` to what the corpus says of each clip, "" where it does not; none where it was not
    read.
    """

    clip_ids: list[str]
    subjects: list[str]
    corpora: list[str]
    groups: dict[str, list[str]]
    contents: Contents
    target: Target
    columns: dict[str, Column]
    left_out: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    synthetic: dict[str, bool] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    sides: list[str] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    attributes: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Feature name to spec."""
        return {name: column.spec for name, column in self.columns.items()}

    def lengths(self) -> NDArray[np.int64]:
        """(N,) frames of each clip's longest feature, at least 1."""
        return np.max([np.ones(len(self), np.int64), *(column.lengths for column in self.columns.values())], axis=0)

    def splits(self, protocol: ProtocolConfig) -> list[Split]:
        """The folds of a protocol over these clips."""
        return make_splits(**self._for_splits(), protocol=protocol)

    def inner_splits(self, split: Split, protocol: ProtocolConfig) -> list[Split]:
        """Cross-validation within one of those folds, its own validation first."""
        return inner_splits(split, **self._for_splits(), protocol=protocol)

    def check(self, split: Split, protocol: ProtocolConfig) -> None:
        """Raises LeakError should a subject, a group or a recording stand on two sides of a split."""
        columns = self._for_splits()
        check_leak(
            split,
            **{name: columns[name] for name in ("clip_ids", "subjects", "groups", "copies", "overlaps")},
            protocol=protocol,
            shared_s=self.contents.shared_s,
        )

    def _for_splits(self) -> dict[str, Any]:
        return {
            "clip_ids": self.clip_ids,
            "subjects": self.subjects,
            "corpora": self.corpora,
            "groups": self.groups,
            "copies": self.contents.copies(),
            "overlaps": self.contents.overlaps(),
            "strata": self.target.strata,
            "sides": self.sides,
        }

    def summary(self) -> dict[str, Any]:
        """What a report says of the data, as JSON."""
        by_corpus = {
            name: {
                "n_clips": self.corpora.count(name),
                "n_subjects": len({s for s, c in zip(self.subjects, self.corpora) if c == name and not is_unknown(s)}),
                "synthetic": synthetic,
            }
            for name, synthetic in self.synthetic.items()
        }
        target = self.target.spec
        return {
            "corpora": by_corpus,
            "features": {name: spec.to_json() for name, spec in self.specs.items()},
            "recipes": self.recipes,
            "fingerprints": self.fingerprints,
            "target": {"kind": target.kind, "names": list(target.names), "primary": target.primary},
            "n_clips": len(self),
            "n_subjects": len(set(self.subjects)),
            "groups": {name: len(set(groups) - {""}) for name, groups in self.groups.items()},
            "n_met": self._n_together(MEETING),
            "n_same_stimulus": self._n_together(STIMULUS),
            "n_sharing": self._n_sharing(),
            **self.target.summary(),
            "left_out": self.left_out,
            "identical": self.contents.identical(self.clip_ids),
        }

    def told(self) -> Clips:
        """What the corpora tell of the clips besides their labels."""
        untold = [""] * len(self)
        return Clips(
            np.array(self.clip_ids, str),
            np.array(self.subjects, str),
            np.array(self.corpora, str),
            np.array(self.starts_s or [0.0] * len(self), np.float64),
            {name: np.array(self.attributes.get(name, untold), str) for name in ATTRIBUTES},
            {name: np.array(groups, str) for name, groups in self.groups.items()},
        )

    def _n_together(self, group: str) -> int:
        """Subjects of whom there are clips of one meeting, or of one stimulus, with those of another subject."""
        people: dict[str, set[str]] = {}
        for name, subject in zip(self.groups.get(group, ()), self.subjects):
            people.setdefault(name, set()).add(subject)
        together = (found for name, found in people.items() if name and len(found) > 1)
        return len(set[str]().union(*together))

    def _n_sharing(self) -> int:
        """Subjects with a clip that holds the same seconds of one recording as a clip of another; at least so many."""
        subjects = np.unique(self.subjects, return_inverse=True)[1]
        copies = self.contents.copies()
        of_copies = np.stack([np.arange(len(self)), np.unique(copies, return_index=True)[1][copies]], axis=1)
        people = subjects[np.concatenate([self.contents.overlaps(), of_copies])]
        return len(np.unique(people[people[:, 0] != people[:, 1]]))


def read_dataset(store: FeatureStore, data: DataConfig, target: TargetConfig, *, mapped: bool = False) -> Dataset:
    """The clips of a store that an experiment asks for.

    mapped: features in memory-mapped files of this node, for corpora that are larger than its memory and for workers
    that are sent the dataset; otherwise in memory. Raises StoreError where the store lacks a corpus or feature,
    ExperimentError where no clip of a corpus is left, or one feature was extracted with different settings for two
    corpora, LeakError where a corpus names a person of another one whom that one does not know.
    """
    target_spec(target)  # what is wrong with it is known before anything is read
    clips: list[Clip] = []
    tables: dict[str, list[_Table]] = {name: [] for name in data.features}
    left_out: Counter[str] = Counter()
    synthetic: dict[str, bool] = {}
    people: dict[str, set[str]] = {}
    for corpus in sorted(data.corpora):
        of_corpus = sorted(store.clips(corpus), key=lambda clip: clip.id)
        people[corpus] = {clip.subject for clip in of_corpus}
        synthetic[corpus] = any(clip.synthetic for clip in of_corpus)
        for name, before in tables.items():
            spec = store.spec(corpus, name)
            if before and spec != before[0].spec:
                raise ExperimentError(
                    f"feature {name!r}: {corpus} was prepared with other settings than {before[0].corpus}; prepare "
                    "both alike"
                )
            before.append(_read_table(store, corpus, spec, mapped=mapped))
        kept, reasons = _kept(of_corpus, [before[-1] for before in tables.values()], data, target)
        if not kept:
            raise ExperimentError(
                f"no clip is left of {corpus} ({_in_words(reasons)}); check "
                f"target.source, data.only and the store's rejects{_words_of(of_corpus, reasons, target)}, or leave it "
                "out of data.corpora"
            )
        clips += kept
        left_out += reasons
    _check_people(people)
    _check_classes(clips, left_out, target)
    clip_ids = [clip.id for clip in clips]
    group_names = sorted({name for clip in clips for name in clip.groups})
    return Dataset(
        clip_ids=clip_ids,
        subjects=[clip.subject for clip in clips],
        corpora=[clip.corpus for clip in clips],
        groups={name: [clip.groups.get(name, "") for clip in clips] for name in group_names},
        contents=_contents(clip_ids, [table for of_feature in tables.values() for table in of_feature]),
        target=read_target(clips, target),
        columns={name: _column(of_feature, clip_ids) for name, of_feature in tables.items()},
        left_out=dict(sorted(left_out.items())),
        fingerprints={f"{t.corpus}/{name}": t.fingerprint for name, of_feature in tables.items() for t in of_feature},
        synthetic=synthetic,
        recipes={name: of_feature[0].recipe for name, of_feature in tables.items()},
        starts_s=[min((medium.start_s for medium in clip.media.values()), default=0.0) for clip in clips],
        attributes={name: [clip.attributes.get(name, "") for clip in clips] for name in ATTRIBUTES},
        sides=[clip.attributes.get(SIDE, "") for clip in clips]
        if any(SIDE in clip.attributes for clip in clips)
        else [],
    )


class _Table(NamedTuple):
    """One feature of one corpus. row_of: clip id to its row in content, start_s and end_s. values: the frames, or where
    they come from."""

    corpus: str
    spec: FeatureSpec
    fingerprint: str
    recipe: dict[str, Any] | None
    row_of: dict[str, int]
    content: Sequence[str]
    start_s: Sequence[float]
    end_s: Sequence[float | None]
    values: FeatureTable | Source


def _read_table(store: FeatureStore, corpus: str, spec: FeatureSpec, *, mapped: bool) -> _Table:
    values: FeatureTable | Source
    columns: Sequence[Sequence[Any]]
    if mapped:
        values = source_of(store, corpus, spec)
        table = mapped_table(values)
        columns = [table.column(name) for name in ("clip_id", "content", "start_s", "end_s")]
    else:
        values = store.load(corpus, spec)
        columns = [values.clip_ids, values.content, values.start_s, values.end_s]
    clip_ids, content, start_s, end_s = columns
    return _Table(
        corpus=corpus,
        spec=spec,
        fingerprint=store.fingerprint(corpus, spec),
        recipe=store.recipe(corpus, spec),
        row_of={clip_id: row for row, clip_id in enumerate(clip_ids)},
        content=content,
        start_s=start_s,
        end_s=end_s,
        values=values,
    )


def _kept(
    clips: Sequence[Clip], tables: Sequence[_Table], data: DataConfig, target: TargetConfig
) -> tuple[list[Clip], Counter[str]]:
    """The clips that stay, and why the others do not."""
    kept, reasons = [], Counter[str]()
    for clip in clips:
        reason = _reason(clip, sum(clip.id in table.row_of for table in tables), data, target)
        if reason:
            reasons[reason] += 1
        else:
            kept.append(clip)
    return kept, reasons


def _reason(clip: Clip, n_features: int, data: DataConfig, target: TargetConfig) -> str:
    """Why a clip is left out, "" if it stays. n_features: how many of those asked for it has."""
    for name, value in data.only.items():
        if clip.attributes.get(name, value) != value:
            return f"{name} is not {value}"
    reason = reason_without_target(clip, target)
    if reason:
        return reason
    if data.features and not n_features:
        return "no features (see the store's rejects)"
    if data.missing == "drop" and n_features < len(data.features):
        return "lacks one of the features"
    return ""


def _contents(clip_ids: Sequence[str], tables: Sequence[_Table]) -> Contents:
    found = [
        (number, table.content[row], table.start_s[row], table.end_s[row])
        for table in tables
        for number, clip_id in enumerate(clip_ids)
        if (row := table.row_of.get(clip_id)) is not None
    ]
    return Contents.of(len(clip_ids), *([*column] for column in (zip(*found) if found else [()] * 4)))


def _column(tables: Sequence[_Table], clip_ids: Sequence[str]) -> Column:
    spec = tables[0].spec
    sources = [table.values for table in tables if isinstance(table.values, Source)]
    if sources:
        return Mapped(spec, sources, clip_ids)
    return InMemory.of_tables(spec, [t.values for t in tables if isinstance(t.values, FeatureTable)], clip_ids)


def _check_people(people: Mapping[str, set[str]]) -> None:
    """Raises LeakError where a corpus says of a person to be another corpus's, which has nobody of that name.

    A slip of the pen (ravdess/7 for ravdess/07) would make two people of one, and no split would keep them together.
    """
    for corpus, subjects in people.items():
        for subject in sorted(subjects):
            other = subject.partition("/")[0]
            if other != corpus and other in people and subject not in people[other] and not is_unknown(subject):
                raise LeakError(
                    f"{corpus}: subject {subject} is said to be of {other}, where nobody is called so, but "
                    f"{_some(people[other])}: correct the name, prepare all of {other}, or leave one of the two out"
                )


def _some(names: Iterable[str], n: int = 3) -> str:
    """
    >>> _some({"c", "a"}), _some("dabc")
    ('a, c', 'a, b, c and others')
    """
    first = sorted(names)
    return ", ".join(first[:n]) + (" and others" if len(first) > n else "")


def _check_classes(clips: Sequence[Clip], left_out: Iterable[str], target: TargetConfig) -> None:
    """Raises ExperimentError where the vocabulary leaves one emotion only of those that the clips have."""
    others = {reason.removesuffix(NO_CLASS) for reason in left_out if reason.endswith(NO_CLASS)}
    found = {str(label.emotion) for clip in clips if (label := clip.label(target.source)) and label.emotion}
    if target.kind == "classes" and others and len(found) == 1:
        words = ",".join(sorted(others | found))
        raise ExperimentError(
            f"target.vocabulary {target.vocabulary}: of the emotions of these clips only {found.pop()} is among its "
            f"classes; make theirs the classes (target.vocabulary {words})"
        )


def _words_of(clips: Sequence[Clip], reasons: Iterable[str], target: TargetConfig) -> str:
    """How a corpus's own words become the classes, where they are none."""
    if not any(reason.endswith(NO_CLASS) for reason in reasons):
        return ""
    labels = [label for clip in clips if (label := clip.label(target.source)) and label.emotion]
    words = sorted({str(label.emotion) for label in labels})
    return f", make its words the classes (target.vocabulary {','.join(words)})"


def _in_words(left_out: Mapping[str, int]) -> str:
    """
    >>> _in_words({"no perceived-face label": 168, "lacks one of the features": 1})
    '168 clips: no perceived-face label; 1 clip: lacks one of the features'
    """
    found = [f"{n} clip{'s' if n > 1 else ''}: {reason}" for reason, n in left_out.items()]
    return "; ".join(found) or "the store holds none"
