"""predict_files: media files -> what a finished run makes of them, on the way on which it was trained.

The clips go through `mien.features.prepare` into a store, so thousands of files take all cores (or a Ray), a file that
cannot be used is a reject with a reason, and what was extracted when the command was killed is not extracted again. The
predictions are read from there in batches.

    $MIEN_CACHE/predict, or ~/.cache/mien/predict
        <key>/    a store, until the answers are there; the key is of the model's features, the files and the windows
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mien import connection
from mien.corpora.clip import clips_to_table
from mien.corpora.table import Settings
from mien.data.mapped_table import cache_folder
from mien.errors import ExperimentError, MediaError, MienError, above_0
from mien.experiment.target import TargetSpec
from mien.features.media.length import length_s
from mien.features.media.source import stamp
from mien.features.media.unpacked import forget
from mien.features.prepare import Engine, PrepareProgress, prepare_clips
from mien.features.prepare.watch import ClipLimits
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.predict.answers import predict_parts
from mien.predict.ensemble import Ensemble, load_ensemble
from mien.predict.extracted import Extracted
from mien.predict.notes import notes
from mien.predict.recordings import CORPUS, Part, Recordings, read_recordings, windows

_PROBES = 8  # files whose length is read at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What a run, or a series as an ensemble, makes of files.

    files: a row for each file or line of a table, in their order. track: a row for each window, None where none were
    asked for. Columns of both, where they apply:

        clip         the file as it was given, or the name of the clip in its table
        file         its media, " + " between two
        start_s      of a window, seconds on the clip's clock; end_s likewise
        subject      who it is of; null where nothing says so
        prediction   the likeliest class
        p_<class>    its probability, at the model's temperature; or <dimension>, in about [-1, 1]
        uncertainty, aleatoric, epistemic, or sd_<dimension>: see `mien.predict.ensemble.uncertainty`
        used         modalities that the answer rests on
        missing      "feature: reason" of what it does not
        truth        of the label; of dimensions truth_<dimension>
        reject       why there is no answer, a short code, else null; detail: the sentence

    scores: of the labelled clips, None where there are none. notes: what must be known of these answers. n_members,
    n_draws: runs that answer, and draws of dropout of each. work_s: of extraction, from the first clip to the last;
    startup_s before it; predict_s: reading the features, and the model.
    """

    run: str
    target: TargetSpec
    n_members: int
    n_draws: int
    is_calibrated: bool
    notes: tuple[str, ...]
    files: pa.Table
    track: pa.Table | None
    scores: dict[str, Any] | None
    startup_s: float
    work_s: float
    predict_s: float

    @property
    def n_rejects(self) -> int:
        return sum(bool(reason) for reason in self.files["reject"].to_pylist())

    @property
    def reasons(self) -> dict[str, int]:
        """Reject reason to files, most first."""
        return dict(Counter(reason for reason in self.files["reject"].to_pylist() if reason).most_common())


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """seconds: of each window. hop_s: from the start of one to that of the next; None for no overlap."""

    seconds: float
    hop_s: float | None = None

    def __post_init__(self) -> None:
        above_0("window", self.seconds)
        if self.hop_s is not None:
            above_0("hop", self.hop_s)

    @property
    def hop(self) -> float:
        return self.seconds if self.hop_s is None else self.hop_s


def predict_files(
    run: str | os.PathLike[str] | Ensemble,
    files: Sequence[str | os.PathLike[str]],
    *,
    settings: Settings | None = None,
    window: Windows | None = None,
    dropout: int = 0,
    seed: int = 0,
    weights: Mapping[str, str] | None = None,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    engine: Engine = "auto",
    clip_limit_s: float = ClipLimits().time_s,
    clip_limit_mb: int = ClipLimits().memory_bytes // 2**20,
    on_progress: Callable[[PrepareProgress], None] | None = None,
    on_predicted: Callable[[int, int], None] = lambda n_done, n_all: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Predicted:
    """What a finished run makes of media files; a broken one among them is a reject, and all others are answered.

    run: a run, a series (its folds and seeds answer together), or an `Ensemble`. files: recordings, folders, globs,
    tables of clips. settings: how tables are read. window: predict windows, too; a file's answer is then the mean of
    its windows. dropout: draws of Monte Carlo dropout of each member. seed: of the first of them. weights: feature to
    the file of its network, where it lies elsewhere than where the run was trained. store: keep the features there, for
    another model of the same ones; with a cluster, a place that every node reaches, as the files must be. workers,
    engine, clip_limit_s, clip_limit_mb, on_progress: as for `mien.features.prepare.prepare`. on_predicted: called with
    clips that are predicted, and all. on_note: called with who extracts, and with what is being waited for.

    Killed and asked again with the same files, it goes on with the extraction. Raises MienError for a run that cannot
    be used and files that are not there; ExperimentError where none of the files has a medium that the run reads.
    """
    if dropout < 0:
        raise MienError(f"dropout {dropout}: give how often it is drawn, or 0 for not at all")
    if store is None and engine != "processes" and (cluster := connection.named()):
        raise MienError(
            f"store: {cluster}, and the nodes of a cluster cannot reach this machine's cache: give a place that all of "
            "them reach (--store s3://bucket/prefix), or engine processes for this machine alone"
        )
    recordings = read_recordings(files, settings)
    ensemble = run if isinstance(run, Ensemble) else load_ensemble(run)
    if dropout and not ensemble.has_dropout:
        raise MienError(
            f"dropout {dropout}: the models of this run ({ensemble.first.recipe.model.family}) have none to draw; the "
            "runs of a series tell how unsure they are without"
        )
    features = _readable(ensemble, recordings, weights or {})
    parts, cut = _parts(recordings, window)
    table = clips_to_table(part.clip for part in parts)
    key = _key(table, [ensemble.specs[name] for name in features])
    place = Folder(store) if store is not None else Folder(cache_folder().parent / "predict" / key)
    corpus = f"{CORPUS}-{key}"
    prepared = prepare_clips(
        corpus,
        table,
        cut.rejects,
        place.uri,
        list(features.values()),
        specs=[ensemble.specs[name] for name in features],
        workers=workers,
        engine=engine,
        clip_limit_s=clip_limit_s,
        clip_limit_mb=clip_limit_mb,
        on_progress=on_progress,
        on_note=on_note,
    )
    began_s = time.perf_counter()
    extracted = Extracted(FeatureStore(place.uri), corpus, {name: ensemble.specs[name] for name in features}, parts)
    try:
        answers = predict_parts(ensemble, extracted, parts, dropout, seed, on_predicted)
    finally:
        extracted.close()
    predict_s = time.perf_counter() - began_s
    predicted = Predicted(
        run=ensemble.path,
        target=ensemble.target,
        n_members=len(ensemble.members),
        n_draws=dropout,
        is_calibrated=ensemble.is_calibrated,
        notes=tuple(notes(ensemble, recordings, extracted, parts, is_cut=window is not None)),
        files=answers.files(recordings, cut.rejects),
        track=None if window is None else answers.track(),
        scores=answers.scores(recordings),
        startup_s=prepared.ray_startup_s + max(feature.startup_s for feature in prepared.features),
        work_s=sum(feature.work_s for feature in prepared.features),
        predict_s=predict_s,
    )
    if store is None:
        place.remove()
    for path in {medium.path for clip in recordings.clips.values() for medium in clip.media.values()}:
        if window is not None and "://" not in path:
            forget(path)
    return predicted


# ---------------------------------------------------------------------- what is extracted


def _readable(
    ensemble: Ensemble, recordings: Recordings, weights: Mapping[str, str]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Feature to how `prepare` is asked for it, of those whose medium any of the clips has."""
    unknown = [name for name, one in ensemble.extractors.items() if one is None]
    if unknown:
        raise ExperimentError(
            f"features {', '.join(unknown)}: the store that this run was trained on did not say how they were "
            "extracted, so they cannot be extracted from files"
        )
    for name in weights:
        if name not in ensemble.extractors:
            raise MienError(f"weights {name}: this run reads {', '.join(ensemble.extractors)}")
    media = {medium for clip in recordings.clips.values() for medium in clip.media}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, one in ensemble.extractors.items():
        assert one is not None
        if one["medium"] in media:
            settings = dict(one["settings"])
            if name in weights:
                settings["weights" if "weights" in settings else "model"] = weights[name]
            found[name] = (str(one["name"]), settings)
    wanted = sorted({str(one["medium"]) for one in ensemble.extractors.values() if one})
    if not found:
        raise ExperimentError(
            f"media {', '.join(sorted(media))}: none of the files has what this run reads, which is {', '.join(wanted)}"
        )
    if lacking := ensemble.needed - found.keys():
        of = {str(ensemble.extractors[name]["medium"]) for name in lacking}  # type: ignore[index]
        raise ExperimentError(
            f"media {', '.join(sorted(media))}: this run gives no answer without {', '.join(sorted(of))}, for its "
            f"{', '.join(sorted(lacking))}"
        )
    return found


def _parts(recordings: Recordings, window: Windows | None) -> tuple[list[Part], Recordings]:
    """What is predicted one by one, and the clips and rejects of that; a file whose length cannot be told stays whole,
    and its extraction says why."""
    if window is None:
        parts = [Part(clip, name, 0.0, math.nan) for name, clip in recordings.clips.items()]
        return parts, recordings
    paths = sorted({medium.path for clip in recordings.clips.values() for medium in clip.media.values()})
    with ThreadPoolExecutor(_PROBES) as pool:
        lengths = dict(zip(paths, pool.map(_length, paths)))
    parts = [
        Part(clip, name, start_s, end_s)
        for name, whole in recordings.clips.items()
        for start_s, end_s, clip in windows(whole, window.seconds, window.hop, lengths.__getitem__)
    ]
    return parts, replace(recordings, clips={part.clip.id: part.clip for part in parts})


def _length(path: str) -> float | None:
    try:
        return length_s(path)
    except MediaError:
        return None


def _key(clips: pa.Table, specs: Sequence[FeatureSpec]) -> str:
    """16 hex digits of these features of these clips, whose files are as they are now."""
    media = clips["media"].to_pylist()
    paths = sorted({medium["path"] for of_clip in media for _, medium in of_clip})
    stamps = {}
    for path in paths:
        with suppress(MediaError):
            stamps[path] = stamp(path.partition("#")[0])
    said = [[spec.folder for spec in specs], clips["id"].to_pylist(), media, stamps]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
