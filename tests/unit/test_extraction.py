"""What a worker makes of one batch: each clip a row or a reject with its reason, whatever happens to it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from threadpoolctl import threadpool_limits

from conftest import ROOT
from mien.connection import search_path
from mien.corpora.clip import Clip, Medium, Reject, clips_to_table
from mien.errors import ExperimentError, MienError
from mien.features import media
from mien.features.prepare.content import content_of
from mien.features.prepare.tasks import ClipTask, tasks_from_table, tasks_left
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureFolder, FeatureTable
from mien.features.store.manifest import read_rejects
from mien.folder import Folder
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import SoundExtractor
from tiny_media import write_movie, write_wav

pytestmark = pytest.mark.slow

LOUDNESS = SoundExtractor().spec


def folder_in(tmp_path: Path, spec: FeatureSpec = LOUDNESS) -> FeatureFolder:
    return FeatureFolder(Folder(tmp_path / "features" / spec.name), spec)


def feature(tmp_path: Path, name: str, **settings: object) -> Feature:
    recipe = ExtractorRecipe(f"tiny_extractors:{name}", settings)
    extractor = recipe.build()
    return Feature(folder_in(tmp_path, extractor.spec), recipe, extractor.medium)


def extract(folder: FeatureFolder, name: str, tasks: list[ClipTask], **settings: object) -> list[str]:
    """Reasons of the clips in order, "" for a row."""
    recipe = ExtractorRecipe(f"tiny_extractors:{name}", settings)
    return [outcome.reason for outcome in BatchExtractor([Feature(folder, recipe, "audio")])(tasks)]


def task_of(clip_id: str, path: Path | str, **stretch: object) -> ClipTask:
    return ClipTask(clip_id, {"audio": Medium(path=str(path), **stretch)}, (0,))


def tasks_of(root: Path, n_clips: int) -> list[ClipTask]:
    return [task_of(clip_id, wav_of(root, clip_id)) for clip_id in write_corpus(root, n_clips)]


def path_of(task: ClipTask) -> Path:
    return Path(task.media["audio"].path)


def table_of(folder: FeatureFolder, tasks: list[ClipTask]) -> FeatureTable:
    ids = {task.clip_id for task in tasks}
    return folder.load(folder.finish(ids), ids)


def rejects_of(folder: FeatureFolder, tasks: list[ClipTask]) -> dict[str, Reject]:
    folder.finish({task.clip_id for task in tasks})
    return {reject.id: reject for reject in read_rejects(folder.folder)}


def test_rows_are_what_the_extractor_gives_for_the_decoded_sound(tmp_path):
    tasks = tasks_of(tmp_path, 5)
    folder = folder_in(tmp_path)
    assert extract(folder, "Loudness", tasks) == [""] * 5
    table = table_of(folder, tasks)
    for row, clip_id in enumerate(table.clip_ids):
        path = wav_of(tmp_path, clip_id)
        samples = soundfile.read(path, dtype="float32")[0]
        windows = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        np.testing.assert_allclose(table.frames(row).values[:, 1], np.abs(windows).max(axis=1), rtol=1e-6)
        assert table.content[row] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (table.start_s[row], table.end_s[row]) == (0.0, None)


def test_a_stretch_is_cut_out_and_kept_in_its_row(tmp_path):
    (task,) = tasks_of(tmp_path, 1)
    folder = folder_in(tmp_path)
    extract(folder, "Loudness", [task_of("a", path_of(task), start_s=0.02, end_s=0.07)])
    table = table_of(folder, [task_of("a", "")])
    assert (table.start_s, table.end_s, len(table.values)) == ([0.02], [0.07], 5)


def test_bad_media_become_rejects_and_the_others_come_through(tmp_path):
    tasks = tasks_of(tmp_path, 6)
    path_of(tasks[0]).write_bytes(b"")
    path_of(tasks[1]).write_text("this is no sound")
    path_of(tasks[2]).unlink()
    tasks[3] = tasks[3]._replace(media={})
    folder = folder_in(tmp_path)
    reasons = extract(folder, "Loudness", tasks)
    assert [bool(reason) for reason in reasons] == [True, True, True, True, False, False]
    assert reasons[2:4] == ["missing", "no-audio"]
    rejects = rejects_of(folder, tasks)
    assert {clip_id: reject.reason for clip_id, reject in rejects.items()} == {
        task.clip_id: reason for task, reason in zip(tasks, reasons) if reason
    }
    for task in tasks[:3]:
        reject = rejects[task.clip_id]
        assert (reject.path, reject.stage) == (str(path_of(task)), "extract")
        assert reject.path in reject.detail


def test_an_unexpected_error_carries_the_tail_of_its_traceback(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    folder = folder_in(tmp_path)
    assert extract(folder, "Faulty", tasks) == ["unexpected-error"] * 2
    detail = rejects_of(folder, tasks)[tasks[0].clip_id].detail
    assert "tiny_extractors.py" in detail and detail.endswith("KeyError: 'no such key'\n")


@pytest.mark.parametrize(
    ("kind", "reason", "detail"),
    [
        ("shape", "bad-frames", "loudness gave (5, 2) and (5,), expected (T, 3) and (T,)"),
        ("empty", "no-frames", "loudness gave no frames"),
        ("nan", "not-finite", "loudness gave values that are no numbers in largest"),
    ],
)
def test_frames_that_break_their_spec_become_rejects(tmp_path, kind, reason, detail):
    tasks = tasks_of(tmp_path, 1)
    folder = folder_in(tmp_path)
    assert extract(folder, "Flawed", tasks, flaw=kind) == [reason]
    path = tasks[0].media["audio"].path
    assert rejects_of(folder, tasks)[tasks[0].clip_id].detail == f"{path}: {detail}"


def test_a_worker_with_another_version_refuses(tmp_path):
    folder = folder_in(tmp_path, replace(LOUDNESS, version=2))
    with pytest.raises(ExperimentError, match="this worker has loudness-v1.*, the job was started for loudness-v2"):
        extract(folder, "Loudness", tasks_of(tmp_path, 1))


def test_the_extractor_is_built_once_and_held_to_one_thread(tmp_path):
    tasks = tasks_of(tmp_path, 4)
    worker = feature(tmp_path, "Worker")
    extractor = BatchExtractor([worker])
    with threadpool_limits(2):
        extractor(tasks[:2])
        extractor(tasks[2:])
    table = table_of(worker.folder, tasks)
    assert sorted(table.values[:, 1].tolist()) == [1, 2, 3, 4]
    assert set(table.values[:, 2]) == {1}  # threads


# ---------------------------------------------------------------------- a clip that kills its process

ATTEMPT = """
import json, sys
from mien.corpora.clip import Medium
from mien.features.recipe import ExtractorRecipe
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.store import FeatureFolder
from mien.folder import Folder
from tiny_extractors import SoundExtractor
limits, clips, *asked = json.loads(sys.argv[1])
features = [
    Feature(FeatureFolder(Folder(folder), SoundExtractor(name).spec), ExtractorRecipe(f"tiny_extractors:{kind}", settings), "audio")
    for folder, name, kind, settings in asked
]
todo = tuple(range(len(features)))
tasks = [ClipTask(clip_id, {"audio": Medium(path=path)}, todo) for clip_id, path in clips]
BatchExtractor(features, ClipLimits(*limits))(tasks)
"""


USUAL = ClipLimits()


def attempt(folder: FeatureFolder, tasks: list[ClipTask], kind: str, **settings: object) -> int:
    """One process that extracts the batch; its exit status."""
    return attempt_all([(folder, kind, settings)], tasks)


def attempt_all(
    features: list[tuple[FeatureFolder, str, dict]], tasks: list[ClipTask], limits: ClipLimits = USUAL
) -> int:
    clips = [(task.clip_id, task.media["audio"].path) for task in tasks]
    asked = [(folder.folder.uri, folder.spec.name, kind, settings) for folder, kind, settings in features]
    command = [sys.executable, "-c", ATTEMPT, json.dumps([limits, clips, *asked])]
    return subprocess.run(command, env={"PYTHONPATH": search_path()}, cwd=ROOT).returncode


def test_a_clip_that_kills_its_processes_is_left_out_and_no_other(tmp_path):
    tasks = tasks_of(tmp_path, 5)
    folder = folder_in(tmp_path)
    length = soundfile.info(path_of(tasks[2])).frames
    assert [attempt(folder, tasks, "Deadly", length=length) for _ in range(4)] == [1, 1, 1, 0]
    rejects = rejects_of(folder, tasks)
    assert {clip_id: reject.reason for clip_id, reject in rejects.items()} == {tasks[2].clip_id: "worker-crashed"}
    assert rejects[tasks[2].clip_id].detail == f"{path_of(tasks[2])}: killed 2 processes that tried to extract loudness"
    assert not folder.attempts.exists()


# No other clip of these tests takes a second or grows by half a gigabyte; the wicked ones go on until they are ended.
SHORT, SMALL = ClipLimits(time_s=4.0), ClipLimits(memory_bytes=2**29)


@pytest.mark.parametrize(
    ("kind", "limits", "reason", "detail"),
    [
        (
            "Endless",
            SHORT,
            "took-too-long",
            "loudness took longer than 4 s of it; cut it into stretches, or raise clip_",
        ),
        ("Greedy", SMALL, "too-large", "loudness took more than 512 MB for it; cut it into stretches, or raise clip_"),
    ],
)
def test_a_clip_without_end_is_ended_and_left_out(tmp_path, kind, limits, reason, detail):
    tasks = tasks_of(tmp_path, 4)
    folder = folder_in(tmp_path)
    settings = {"length": soundfile.info(path_of(tasks[1])).frames}
    assert [attempt_all([(folder, kind, settings)], tasks, limits) for _ in range(2)] == [-signal.SIGKILL, 0]
    (reject,) = rejects_of(folder, tasks).values()
    assert (reject.id, reject.reason) == (tasks[1].clip_id, reason)
    assert reject.detail.startswith(f"{path_of(tasks[1])}: {detail}")
    assert len(table_of(folder, tasks)) == 3
    assert not folder.attempts.exists()


def test_a_clip_without_end_in_one_feature_has_all_the_others(tmp_path):
    tasks = tasks_of(tmp_path, 3)
    length = soundfile.info(path_of(tasks[1])).frames
    good, endless = (folder_in(tmp_path, SoundExtractor(name).spec) for name in ("good", "endless"))
    features = [(good, "Counted", {"log": str(tmp_path / "log"), "called": "good"})]
    features += [(endless, "Endless", {"called": "endless", "length": length})]
    codes = [attempt_all(features, tasks, SHORT) for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]  # together, then each by itself, then without it
    tasks = [task._replace(todo=(0, 1)) for task in tasks]
    assert rejects_of(good, tasks) == {} and len(table_of(good, tasks)) == 3
    assert {clip_id: reject.reason for clip_id, reject in rejects_of(endless, tasks).items()} == {
        tasks[1].clip_id: "took-too-long"
    }


def test_memory_that_is_not_there_is_a_reject(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    folder = folder_in(tmp_path)
    assert extract(folder, "Boundless", tasks) == ["too-large"] * 2
    assert path_of(tasks[0]).name in rejects_of(folder, tasks)[tasks[0].clip_id].detail


def test_a_watch_ends_with_its_worker(tmp_path):
    (task,) = tasks_of(tmp_path, 1)
    worker = BatchExtractor([feature(tmp_path, "Loudness")])
    worker([task])
    process = worker._watch._process
    assert process.poll() is None
    del worker
    assert process.poll() == 0


def test_a_clip_that_kills_in_one_feature_has_all_the_others(tmp_path):
    tasks = tasks_of(tmp_path, 5)
    length = soundfile.info(path_of(tasks[2])).frames
    good, deadly = (folder_in(tmp_path, SoundExtractor(name).spec) for name in ("good", "deadly"))
    features = [(good, "Counted", {"log": str(tmp_path / "log"), "called": "good"})]
    features += [(deadly, "Deadly", {"called": "deadly", "length": length})]
    assert [attempt_all(features, tasks) for _ in range(4)] == [1, 1, 1, 0]
    tasks = [task._replace(todo=(0, 1)) for task in tasks]
    assert rejects_of(good, tasks) == {} and len(table_of(good, tasks)) == 5
    assert {clip_id: reject.reason for clip_id, reject in rejects_of(deadly, tasks).items()} == {
        tasks[2].clip_id: "worker-crashed"
    }
    assert len(table_of(deadly, tasks)) == 4


def test_a_process_that_something_else_killed_accuses_no_clip(tmp_path):
    tasks = tasks_of(tmp_path, 3)
    folder = folder_in(tmp_path)
    assert attempt(folder, tasks, "Deadly", length=soundfile.info(path_of(tasks[0])).frames) == 1
    assert folder.attempts.names()
    assert attempt(folder, tasks, "Loudness") == 0
    assert not folder.attempts.names()
    assert rejects_of(folder, tasks) == {}


def test_a_job_that_was_killed_from_outside_accuses_nobody(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    folder = folder_in(tmp_path)
    for _ in range(4):  # jobs, each killed while it was at the first clip
        folder.reopen()
        assert attempt(folder, tasks, "Deadly", length=soundfile.info(path_of(tasks[0])).frames) == 1
    folder.reopen()
    assert attempt(folder, tasks, "Loudness") == 0
    assert rejects_of(folder, tasks) == {}


def test_processes_that_die_between_clips_end_the_job(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    folder = folder_in(tmp_path)
    assert [attempt(folder, tasks, "Stillborn") for _ in range(3)] == [1, 1, 1]
    with pytest.raises(MienError, match="were killed 3 times between clips; most likely memory ran out"):
        extract(folder, "Loudness", tasks)


# ---------------------------------------------------------------------- one pass


def test_features_of_one_medium_are_extracted_in_one_pass_and_are_as_alone(tmp_path, monkeypatch):
    films = [write_movie(tmp_path / f"{n}.mp4", seconds=1.2 + 0.2 * n) for n in range(3)]
    tasks = [ClipTask(f"v/{n}", {"video": Medium(path=film)}, (0, 1)) for n, film in enumerate(films)]
    both = [
        feature(tmp_path / "both", "Brightness"),
        feature(tmp_path / "both", "Brightness", called="quick", rate_hz=11.0),
    ]
    opened = count_opens(monkeypatch)
    outcomes = BatchExtractor(both)(tasks)
    assert opened == dict.fromkeys(films, 2)  # once to decode it, once to hash it
    assert [(outcome.clip_id, outcome.feature, outcome.reason) for outcome in outcomes] == [
        (f"v/{n}", number, "") for n in range(3) for number in (0, 1)
    ]
    for together, settings in zip(both, ({}, {"called": "quick", "rate_hz": 11.0})):
        alone = feature(tmp_path / "alone", "Brightness", **settings)
        BatchExtractor([alone])([task._replace(todo=(0,)) for task in tasks])
        one, other = table_of(together.folder, tasks), table_of(alone.folder, tasks)
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.offsets, other.offsets)
    assert len(table_of(both[1].folder, tasks).values) > 2 * len(table_of(both[0].folder, tasks).values)


def test_sound_is_decoded_once_for_all_that_hear_it(tmp_path, monkeypatch):
    tasks = [task._replace(todo=(0, 1, 2)) for task in tasks_of(tmp_path, 3)]
    features = [feature(tmp_path, "Counted", called=name, log=str(tmp_path / name)) for name in ("a", "b", "c")]
    opened = count_opens(monkeypatch)
    BatchExtractor(features)(tasks)
    assert opened == {str(path_of(task)): 2 for task in tasks}
    for one in features:
        np.testing.assert_array_equal(table_of(one.folder, tasks).values, table_of(features[0].folder, tasks).values)
        assert len(Path(one.recipe.settings["log"]).read_text().splitlines()) == 3


def test_one_cannot_change_the_sound_of_another(tmp_path):
    tasks = [task._replace(todo=(0, 1)) for task in tasks_of(tmp_path, 2)]
    vandal, loudness = feature(tmp_path, "Vandal"), feature(tmp_path, "Loudness")
    BatchExtractor([vandal, loudness])(tasks)
    assert {reject.reason for reject in rejects_of(vandal.folder, tasks).values()} == {"unexpected-error"}
    alone = feature(tmp_path / "alone", "Loudness")
    BatchExtractor([alone])([task._replace(todo=(0,)) for task in tasks])
    np.testing.assert_array_equal(table_of(loudness.folder, tasks).values, table_of(alone.folder, tasks).values)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_failing_feature_spoils_it_for_no_other(tmp_path, order):
    film = write_movie(tmp_path / "a.mp4", seconds=2.0)
    tasks = [ClipTask("v/0", {"video": Medium(path=film)}, order)]
    features = [feature(tmp_path, "Blind"), feature(tmp_path, "Brightness")]
    features = [features[i] for i in order]
    BatchExtractor(features)(tasks)
    rejects = {one.folder.spec.name: rejects_of(one.folder, tasks) for one in features}
    assert rejects["blind"]["v/0"].reason == "unexpected-error"
    assert rejects["blind"]["v/0"].detail.endswith("KeyError: 'no such key'\n")
    assert rejects["brightness"] == {}
    assert len(table_of(folder_in(tmp_path, feature(tmp_path, "Brightness").folder.spec), tasks).values) == 10


def test_a_film_that_stops_is_a_reject_of_all_that_see_it(tmp_path):
    film = Path(write_movie(tmp_path / "a.mp4", seconds=2.0, options={"movflags": "faststart"}))
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * 0.6)])
    tasks = [ClipTask("v/0", {"video": Medium(path=str(film))}, (0, 1))]
    features = [feature(tmp_path, "Brightness", called=name) for name in ("a", "b")]
    assert [outcome.reason for outcome in BatchExtractor(features)(tasks)] == ["truncated", "truncated"]


def test_clips_lack_different_features(tmp_path):
    tasks = tasks_of(tmp_path, 4)
    tasks = [task._replace(todo=todo) for task, todo in zip(tasks, ((0,), (0, 1), (1,), (1,)))]
    features = [feature(tmp_path, "Counted", called=name, log=str(tmp_path / name)) for name in ("a", "b")]
    BatchExtractor(features)(tasks)
    for number, one in enumerate(features):
        ids = {task.clip_id for task in tasks if number in task.todo}
        assert len(one.folder.load(one.folder.finish(ids), ids)) == len(ids) == 2 + number
        (part,) = [name for name in one.folder.folder.names() if name.startswith("part-")]
        assert part == f"part-{hashlib.sha256(chr(10).join(sorted(ids)).encode()).hexdigest()[:16]}.parquet"


def test_the_time_of_what_was_extracted_together_is_shared(tmp_path):
    tasks = [task._replace(todo=(0, 1)) for task in tasks_of(tmp_path, 2)]
    features = [
        feature(tmp_path, "Counted", called=name, log=str(tmp_path / name), seconds=0.02) for name in ("a", "b")
    ]
    first, second, *_ = BatchExtractor(features)(tasks)
    assert (first.started_s, first.ended_s) == (second.started_s, second.ended_s)
    assert first.busy_s == second.busy_s == pytest.approx((first.ended_s - first.started_s) / 2)
    assert first.busy_s >= 0.02


# ---------------------------------------------------------------------- names, content, tables


def count_opens(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each file is opened from now on to be decoded or hashed."""
    counts: dict[str, int] = {}
    original = media.source.pafs.LocalFileSystem.open_input_file

    class Counting(media.source.pafs.LocalFileSystem):
        def open_input_file(self, name: str):
            counts[name] = counts.get(name, 0) + 1
            return original(self, name)

    monkeypatch.setattr(media.source.pafs, "LocalFileSystem", Counting)
    media.source._hash.cache_clear()
    return counts


def test_two_hundred_utterances_of_one_recording_hash_it_once(tmp_path, monkeypatch):
    recording = write_wav(
        tmp_path / "meeting.wav", np.random.default_rng(0).normal(0, 0.1, 16_000).astype("f4"), 16_000
    )
    tasks = [task_of(f"ami/{n:03}", recording, start_s=n / 250, end_s=n / 250 + 0.1) for n in range(200)]
    opened = count_opens(monkeypatch)
    folder = folder_in(tmp_path)
    extractor = BatchExtractor([Feature(folder, ExtractorRecipe("tiny_extractors:Loudness"), "audio")])
    for start in range(0, 200, 64):
        assert {outcome.reason for outcome in extractor(tasks[start : start + 64])} == {""}
    assert opened == {recording: 200 + 1}  # to be decoded, and to be hashed
    table = table_of(folder, tasks)
    assert set(table.content) == {hashlib.sha256(Path(recording).read_bytes()).hexdigest()}
    assert len(set(zip(table.content, table.start_s, table.end_s))) == 200


def test_a_file_that_was_written_again_is_hashed_again(tmp_path):
    path = tmp_path / "a.wav"
    for data in (b"one", b"two", b"three"):
        path.write_bytes(data)
        os.utime(path, ns=(len(data), path.stat().st_mtime_ns + 1_000_000_000 * data[1]))
        assert content_of(Medium(path=str(path))) == hashlib.sha256(data).hexdigest()


def test_rows_of_a_table_and_tracks_of_a_recording_are_contents_of_their_own(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("clip,AU01_r\na,1\nb,2\n")
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    assert [content_of(Medium(path=f"{table}#{row}"), is_table=True) for row in "ab"] == [f"{digest}#a", f"{digest}#b"]
    recording = tmp_path / "take #3.wav"
    recording.write_bytes(table.read_bytes())
    assert content_of(Medium(path=str(recording))) == digest
    assert content_of(Medium(path=str(recording), track=2)) == f"{digest}#2"


def test_what_is_left_to_do_is_what_workers_must_know():
    both = {
        "audio": Medium(path="0.wav", start_s=1.5, track=1),
        "video": Medium(path="0.mp4", end_s=2.5, offset_s=0.25),
    }
    media_of = [both, {"video": both["video"]}, {"audio": both["audio"]}, {}]
    clips = [
        Clip(id=f"c/{n}", corpus="c", subject="c/0", media={"other": Medium(path="x"), **some})
        for n, some in enumerate(media_of)
    ]
    done = [{"c/2", "gone/1"}, {"c/0", "c/2"}, None]
    left = tasks_left(clips_to_table(clips), ["audio", "video", "audio"], done)
    expected = [ClipTask("c/0", both, (0,)), ClipTask("c/1", media_of[1], (0, 1)), ClipTask("c/3", {}, (0, 1))]
    assert tasks_from_table(left) == expected
    assert tasks_from_table(left[1:2]) == expected[1:2]
    assert not len(tasks_left(clips_to_table([]), ["audio"], [()]))
    assert not len(tasks_left(clips_to_table(clips), ["audio"], [None]))
