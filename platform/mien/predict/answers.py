"""Answers: what an ensemble makes of the features of many clips or windows, as tables with a row for each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.corpora.clip import Clip, Reject
from mien.experiment.protocol import is_unknown
from mien.experiment.target import TargetSpec
from mien.predict.ensemble import Ensemble, uncertainty
from mien.predict.extracted import Extracted
from mien.predict.recordings import Part, Recordings
from mien.predict.truths import scores, truth_of

CLIPS_AT_ONCE = 512  # whose features and samples are in memory
ENOUGH_CLIPS = 8  # of a person, to be standardised by them


@dataclass(slots=True)
class Answers:
    """What was predicted of N parts, and of the clips that they are of.

    values: (N, K), NaN where there is no answer. unsure: name of an uncertainty to that of each part, (N,). used: its
    modalities; missing: feature to reason; reject: reason and sentence, or "", of each part. of_clip: clip to the sum
    of its parts' samples, (S, K), and how many they are.
    """

    target: TargetSpec
    parts: Sequence[Part]
    values: NDArray[np.float64]
    unsure: dict[str, NDArray[np.float64]]
    used: list[tuple[str, ...]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    reject: list[tuple[str, str]] = field(default_factory=list)
    of_clip: dict[str, tuple[NDArray[np.float64], int]] = field(default_factory=dict)

    def files(self, recordings: Recordings, rejects: Sequence[Reject]) -> pa.Table:
        """A row for each clip and each reject of the import."""
        rows_of: dict[str, list[int]] = {}
        for row, part in enumerate(self.parts):
            rows_of.setdefault(part.of, []).append(row)
        lost: dict[str, list[str]] = {}  # files of clips that are answered by their others
        for reject in rejects:
            lost.setdefault(reject.id, []).append(f"{reject.path}: {reject.reason}")
        rows = []
        for name, clip in recordings.clips.items():
            own = rows_of[name]
            answered = [row for row in own if not self.reject[row][0]]
            judged = answered or own[:1]
            used = sorted({modality for row in judged for modality in self.used[row]})
            about = {"clip": name, "file": _files(clip), "subject": None if is_unknown(clip.subject) else clip.subject}
            values: dict[str, Any] = {}
            if answered:
                total, n_parts = self.of_clip[name]
                samples = (total / n_parts)[:, None, :].astype(np.float32)
                values = self._said(samples.mean(axis=0)[0]) | {
                    key: float(one[0]) for key, one in uncertainty(samples, self.target).items()
                }
            found = Counter(f"{feature}: {why}" for r in judged for feature, why in self.missing[r].items())
            missing = [_times(text, n, len(judged)) for text, n in found.items()]
            if answered and len(answered) < len(own):
                why = Counter(self.reject[r][0] for r in own if self.reject[r][0])
                told = ", ".join(f"{n} {reason}" for reason, n in why.most_common())
                missing.append(f"{len(own) - len(answered)} of {len(own)} windows without an answer: {told}")
            rows.append(
                about
                | values
                | {
                    "used": ", ".join(used),
                    "missing": "; ".join([*missing, *lost.get(name, [])]),
                    "reject": None if answered else self.reject[own[0]][0],
                    "detail": None if answered else self.reject[own[0]][1],
                }
                | self._truth(clip)
            )
        for reject in rejects:
            if reject.id not in recordings.clips:
                rows.append({"clip": reject.id, "file": reject.path, "reject": reject.reason, "detail": reject.detail})
        return pa.Table.from_pylist(rows, schema=self._schema(is_track=False))

    def track(self) -> pa.Table:
        """A row for each window."""
        rows = []
        for number, part in enumerate(self.parts):
            reason, detail = self.reject[number]
            values = {}
            if not reason:
                values = self._said(self.values[number]) | {key: float(one[number]) for key, one in self.unsure.items()}
            rows.append(
                {"clip": part.of, "start_s": part.start_s, "end_s": part.end_s}
                | values
                | {
                    "used": ", ".join(sorted(self.used[number])),
                    "missing": "; ".join(f"{name}: {why}" for name, why in self.missing[number].items()),
                    "reject": reason or None,
                    "detail": detail or None,
                }
            )
        return pa.Table.from_pylist(rows, schema=self._schema(is_track=True))

    def scores(self, recordings: Recordings) -> dict[str, Any] | None:
        """Of the clips that a table labels."""
        clips = list(recordings.clips.values())
        nothing = np.full(len(self.target.names), np.nan)
        means = [
            self.of_clip[clip.id][0].mean(axis=0) / self.of_clip[clip.id][1] if clip.id in self.of_clip else nothing
            for clip in clips
        ]
        truths = [truth_of(clip, self.target) for clip in clips]
        return scores(truths, np.array(means, np.float64), [clip.subject for clip in clips], self.target)

    def _said(self, values: NDArray[Any]) -> dict[str, Any]:
        numbers = dict(zip(self._value_names(), map(float, values)))
        if self.target.kind == "classes":
            return {"prediction": self.target.names[int(np.argmax(values))], **numbers}
        return numbers

    def _value_names(self) -> list[str]:
        prefix = "p_" if self.target.kind == "classes" else ""
        return [f"{prefix}{name}" for name in self.target.names]

    def _truth(self, clip: Clip) -> dict[str, Any]:
        truth = truth_of(clip, self.target)
        if isinstance(truth, int):
            return {"truth": self.target.names[truth]}
        if truth is None:
            return {}
        return {
            f"truth_{name}": None if math.isnan(value) else float(value)
            for name, value in zip(self.target.names, truth)
        }

    def _schema(self, *, is_track: bool) -> pa.Schema:
        text, number = pa.string(), pa.float64()
        is_classes = self.target.kind == "classes"
        columns = [("clip", text)]
        columns += [("start_s", number), ("end_s", number)] if is_track else [("file", text), ("subject", text)]
        columns += [("prediction", text)] if is_classes else []
        columns += [(name, number) for name in (*self._value_names(), *self.unsure)]
        columns += [("used", text), ("missing", text)]
        if not is_track:
            columns += [("truth", text)] if is_classes else [(f"truth_{name}", number) for name in self.target.names]
        return pa.schema([*columns, ("reject", text), ("detail", text)])


def _files(clip: Clip) -> str:
    return " + ".join(dict.fromkeys(medium.path for medium in clip.media.values()))


def _times(text: str, n: int, n_all: int) -> str:
    return text if n == n_all else f"{text} (in {n} of {n_all} windows)"


def predict_parts(
    ensemble: Ensemble,
    extracted: Extracted,
    parts: Sequence[Part],
    draws: int,
    seed: int,
    on_predicted: Callable[[int, int], None],
) -> Answers:
    """Predicts all parts, some at a time."""
    subjects = [part.clip.subject for part in parts]
    ensemble.get_to_know(extracted.columns, subjects, known_well(subjects))
    target = ensemble.target
    answers = Answers(target, parts, np.full((len(parts), len(target.names)), np.nan), {})
    for start in range(0, len(parts), CLIPS_AT_ONCE):
        rows = range(start, min(start + CLIPS_AT_ONCE, len(parts)))
        given = []
        kept = []
        for row in rows:
            frames = _take(answers, ensemble, extracted, parts[row], row)
            if frames is not None:
                given.append(frames)
                kept.append(row)
        samples = (
            ensemble.samples(given, [subjects[row] for row in kept], draws, seed)
            if kept
            else np.zeros((1, 0, len(target.names)), np.float32)
        )
        answers.values[kept] = samples.mean(axis=0)
        for name, values in uncertainty(samples, target).items():
            answers.unsure.setdefault(name, np.full(len(parts), np.nan))[kept] = values
        for number, row in enumerate(kept):
            total, n_parts = answers.of_clip.get(parts[row].of, (0.0, 0))
            answers.of_clip[parts[row].of] = (total + samples[:, number].astype(np.float64), n_parts + 1)
        on_predicted(rows.stop, len(parts))
    return answers


def _take(answers: Answers, ensemble: Ensemble, extracted: Extracted, part: Part, row: int) -> dict[str, Any] | None:
    """The features of a part, None where there is no answer to be had; notes what is used, what is missing, and why."""
    frames: dict[str, Any] = {}
    used: set[str] = set()
    missing: dict[str, str] = {}
    first = ""
    for name, spec in ensemble.specs.items():
        column = extracted.columns.get(name)
        if column is None:
            missing[name] = f"no-{ensemble.extractors[name]['medium']}"  # type: ignore[index]
        elif not column.lengths[row]:
            reject = extracted.rejects[name].get(part.clip.id)
            missing[name] = reject.reason if reject else "no-frames"
            first = first or (reject.detail if reject else "")
        else:
            frames[name] = one = column[row]
            if one.valid.any():
                used.add(spec.modality)
            else:
                missing[name] = "no-face" if spec.modality == "video" else "nothing-valid"
                first = first or f"{_files(part.clip)}: {_NOTHING.get(missing[name])}"
    lacking = sorted(ensemble.needed & missing.keys())
    reason = detail = ""
    if not used or lacking:
        reason = next(iter(dict.fromkeys(missing[name] for name in lacking or missing)))
        detail = first or f"{_files(part.clip)}: has none of the media that this run reads"
    answers.used.append(tuple(used))
    answers.missing.append(missing)
    answers.reject.append((reason, detail))
    return None if reason else frames


_NOTHING = {"no-face": "no face was seen in any picture", "nothing-valid": "nothing in it could be measured"}


def known_well(subjects: Sequence[str]) -> frozenset[str]:
    """People of whom there are clips enough to be standardised by them."""
    counts = Counter(subject for subject in subjects if not is_unknown(subject))
    return frozenset(subject for subject, n in counts.items() if n >= ENOUGH_CLIPS)
