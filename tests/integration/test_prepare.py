"""prepare: raw media to features through a real Ray and through processes of its own, to a local store and to S3 (a
moto server on this machine)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from mien import connection as cluster
from mien.corpora.clip import Medium
from mien.errors import CorpusError, ExperimentError, MienError, StoreError
from mien.features import prepare as prepare_module
from mien.features.prepare import Prepared, PrepareProgress, prepare
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore, FeatureTable
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import SoundExtractor

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LOUDNESS = "tiny_extractors:Loudness"
SPEC = SoundExtractor().spec
N_CLIPS = 23
each_engine = pytest.mark.parametrize("engine", ["ray", "processes"])


@pytest.fixture(scope="module", autouse=True)
def ray_of_two(s3: str) -> Iterator[cluster.Cluster]:
    """One Ray for all tests here: `prepare` shares the one in use."""
    with cluster.connected(workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ravdess")
    write_corpus(folder, N_CLIPS)
    return folder


def quiet(root: Path, store: str | Path, *features: str, engine: str = "processes", **options: object) -> Prepared:
    return prepare("ravdess", root, store, features or (LOUDNESS,), workers=2, engine=engine, **options)  # type: ignore[arg-type]


def table_of(store: str | Path, name: str = "loudness") -> FeatureTable:
    opened = FeatureStore(store)
    assert [finding for finding in opened.verify("ravdess") if finding.severity == "error"] == []
    return opened.load("ravdess", opened.spec("ravdess", name))


def assert_complete(table: FeatureTable, root: Path, clip_ids: list[str], tmp_path: Path) -> None:
    """The table is what one plain loop in this process gives, bit by bit."""
    tasks = [ClipTask(clip_id, {"audio": Medium(path=str(wav_of(root, clip_id)))}, (0,)) for clip_id in clip_ids]
    folder = FeatureStore(tmp_path / "plain").feature_folder("ravdess", SPEC)
    BatchExtractor([Feature(folder, ExtractorRecipe(LOUDNESS), "audio")])(tasks)
    expected = folder.load(folder.finish(set(clip_ids)), set(clip_ids))
    assert table.clip_ids == expected.clip_ids == sorted(clip_ids)
    assert table.content == expected.content
    np.testing.assert_array_equal(table.offsets, expected.offsets)
    np.testing.assert_array_equal(table.values, expected.values)


@each_engine
def test_every_clip_lands_in_the_store_and_asking_again_does_nothing(engine, root, tmp_path):
    seen: list[PrepareProgress] = []
    prepared = quiet(root, tmp_path / "store", engine=engine, on_progress=seen.append)
    assert prepared.engine == engine
    (feature,) = prepared.features
    assert (prepared.n_clips, prepared.n_import_rejects) == (N_CLIPS, 0)
    assert (feature.name, feature.n_rows, feature.n_rejects, feature.n_extracted) == (
        "loudness",
        N_CLIPS,
        0,
        N_CLIPS,
    )
    assert feature.startup_s > 0 and feature.work_s > 0 and feature.worker_peak_bytes > 1e7
    assert_complete(table_of(tmp_path / "store"), root, write_corpus(root, N_CLIPS), tmp_path)

    done = [progress.n_done for progress in seen]
    assert done[0] == 0 and done[-1] == N_CLIPS and done == sorted(done)
    assert seen[0].left_s is None and seen[-1].left_s == 0 and seen[-1].clips_per_s > 0

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    again = quiet(root, tmp_path / "store", engine=engine)
    assert (again.engine, again.features[0].n_extracted) == ("", 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == files


def test_both_engines_write_the_same_bytes(root, tmp_path):
    parts = []
    for engine in ("ray", "processes"):
        quiet(root, tmp_path / engine, LOUDNESS, "egemaps", engine=engine)
        found = {
            path.relative_to(tmp_path / engine): path.read_bytes() for path in (tmp_path / engine).rglob("*.parquet")
        }
        parts.append(found)
    assert parts[0] == parts[1] and len(parts[0]) > 6


def test_who_extracts_is_told_and_why(root, tmp_path, monkeypatch):
    notes: list[str] = []

    def note(text: str) -> None:
        if not text.startswith("waiting for "):  # told where the first clip takes over ten seconds
            notes.append(text)

    quiet(root, tmp_path / "a", engine="auto", on_note=note)
    quiet(root, tmp_path / "b", engine="processes", on_note=note)
    assert notes == [
        f"{N_CLIPS} clips by 2 processes of Ray Data: a Ray is in use",
        f"{N_CLIPS} clips by 2 processes of this machine: engine is processes",
    ]
    monkeypatch.setattr(cluster, "named", str)
    monkeypatch.setattr(prepare_module, "RAY_FROM_CLIPS", N_CLIPS - 1)
    quiet(root, tmp_path / "c", engine="auto", on_note=note)
    quiet(root, tmp_path / "d", engine="auto", limit=N_CLIPS - 1, on_note=note)
    assert notes[2:] == [
        f"{N_CLIPS} clips by 2 processes of Ray Data: more than {N_CLIPS - 1} clips",
        f"{N_CLIPS - 1} clips by 2 processes of this machine: no cluster is named",
    ]
    with pytest.raises(MienError, match="engine 'rey': choose from auto, ray, processes"):
        quiet(root, tmp_path, engine="rey")


def test_one_worker_or_two_the_store_is_the_same(root, tmp_path):
    for workers in (1, 2):
        prepare("ravdess", root, tmp_path / str(workers), [LOUDNESS], workers=workers)
    one, two = table_of(tmp_path / "1"), table_of(tmp_path / "2")
    np.testing.assert_array_equal(one.values, two.values)
    assert FeatureStore(tmp_path / "1").fingerprint("ravdess", one.spec) == FeatureStore(tmp_path / "2").fingerprint(
        "ravdess", two.spec
    )


@each_engine
def test_a_store_in_s3_is_the_same_as_a_local_one(engine, s3, root, tmp_path):
    uri = f"{s3}/{engine}/store"
    assert quiet(root, uri, engine=engine).features[0].n_rows == N_CLIPS
    assert_complete(table_of(uri), root, write_corpus(root, N_CLIPS), tmp_path)
    assert quiet(root, uri, engine=engine).features[0].n_extracted == 0
    quiet(root, tmp_path / "local")
    spec = SPEC
    assert FeatureStore(uri).fingerprint("ravdess", spec) == FeatureStore(tmp_path / "local").fingerprint(
        "ravdess", spec
    )


def test_broken_files_become_as_many_rejects_and_a_mended_one_comes_back(tmp_path):
    root = tmp_path / "corpus"
    clip_ids = write_corpus(root, 12)
    broken = {wav_of(root, clip_id): wav_of(root, clip_id).read_bytes() for clip_id in clip_ids[::3]}
    for path, data in zip(broken, (b"", b"this is no sound", data_of(broken, 2)[:1000], bytes(400))):
        path.write_bytes(data)
    prepared = quiet(root, tmp_path / "store")
    (feature,) = prepared.features
    assert prepared.n_clips + prepared.n_import_rejects == 12
    assert (feature.n_rows, feature.n_rejects + prepared.n_import_rejects) == (8, 4)
    store = FeatureStore(tmp_path / "store")
    rejects = store.rejects("ravdess", SPEC) + store.import_rejects("ravdess")
    assert {Path(reject.path).name for reject in rejects} == {path.name for path in broken}
    assert all(reject.reason and reject.detail for reject in rejects)
    good = [clip_id for clip_id in clip_ids if wav_of(root, clip_id) not in broken]
    assert_complete(table_of(tmp_path / "store"), root, good, tmp_path)

    mended = list(broken)[1]
    mended.write_bytes(data_of(broken, 1))
    assert quiet(root, tmp_path / "store").features[0].n_extracted == 0
    (again,) = quiet(root, tmp_path / "store", retry_rejects=True).features
    assert (again.n_extracted, again.n_rows) == (feature.n_rejects, 9)


def data_of(broken: dict[Path, bytes], number: int) -> bytes:
    return list(broken.values())[number]


def test_only_new_clips_are_extracted_and_gone_ones_are_not_read(tmp_path):
    root = tmp_path / "corpus"
    clip_ids = write_corpus(root, 6)
    counted = f"{tmp_path}/log"
    features = [("tiny_extractors:Counted", {"log": counted})]
    prepare("ravdess", root, tmp_path / "store", features, workers=2)
    clip_ids += write_corpus(root, 3, first=6)
    wav_of(root, clip_ids[0]).unlink()
    (feature,) = prepare("ravdess", root, tmp_path / "store", features, workers=2).features
    assert (feature.n_extracted, feature.n_rows) == (3, 8)
    assert len(Path(counted).read_text().splitlines()) == 9
    assert_complete(table_of(tmp_path / "store"), root, clip_ids[1:], tmp_path)


def test_fresh_extracts_anew_what_changed_under_its_name(tmp_path):
    root = tmp_path / "corpus"
    clip_ids = write_corpus(root, 4)
    quiet(root, tmp_path / "store")
    wav_of(root, clip_ids[0]).write_bytes(wav_of(root, clip_ids[1]).read_bytes())
    assert quiet(root, tmp_path / "store", fresh=True).features[0].n_extracted == 4
    table = table_of(tmp_path / "store")
    assert table.content[0] == table.content[1] != table.content[2]


def test_limit_takes_the_first_clips(root, tmp_path):
    assert quiet(root, tmp_path, limit=5).n_clips == 5
    assert table_of(tmp_path).clip_ids == write_corpus(root, N_CLIPS)[:5]
    assert quiet(root, tmp_path).features[0].n_extracted == N_CLIPS - 5


@each_engine
def test_each_worker_is_one_process_with_one_thread_and_one_extractor(engine, root, tmp_path):
    assert quiet(root, tmp_path, "tiny_extractors:Worker", engine=engine).features[0].n_workers == 2
    pids, calls, threads = table_of(tmp_path, "worker").values.T
    assert 1 <= len(set(pids)) <= 2  # one of them may have come too late to find any work
    assert os.getpid() not in pids
    for pid in set(pids):
        assert sorted(calls[pids == pid]) == list(range(1, 1 + int((pids == pid).sum())))
    assert set(threads) == {1}


def test_two_features_in_one_pass_are_as_if_alone(tmp_path):
    root = tmp_path / "corpus"
    clip_ids = write_corpus(root, 9)
    prepared = quiet(root, tmp_path / "store", "egemaps", LOUDNESS)
    assert [(feature.name, feature.n_rows, feature.n_workers) for feature in prepared.features] == [
        ("egemaps", 9, 2),
        ("loudness", 9, 2),
    ]
    assert_complete(table_of(tmp_path / "store"), root, clip_ids, tmp_path)
    egemaps = table_of(tmp_path / "store", "egemaps")
    assert egemaps.values.shape[1] == 89
    quiet(root, tmp_path / "alone", "egemaps")
    np.testing.assert_array_equal(table_of(tmp_path / "alone", "egemaps").values, egemaps.values)


def test_action_units_are_attached_to_their_clips(tmp_path, real_data):
    root = tmp_path / "corpus"
    clip_ids = write_corpus(root, 4)
    table = str(real_data / "ravdess" / "action_units" / "clip_means.csv")
    (feature,) = quiet(root, tmp_path / "store", "openface-clip", attach={"openface": table}).features
    assert (feature.n_rows, feature.n_rejects) == (4, 0)
    assert table_of(tmp_path / "store", "openface-clip").clip_ids == clip_ids


# ---------------------------------------------------------------------- what stops it


def test_an_empty_root_is_refused_before_anything_is_started(tmp_path):
    with pytest.raises(CorpusError):
        quiet(tmp_path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("nonsense", "unknown features 'nonsense': "),
        (
            ("egemaps", {"windw_s": 1.0}),
            "features 'egemaps': unknown setting 'windw_s'; its settings are window_s, hop_s",
        ),
        (
            "tiny_extractors:Stillborn",
            "the process that extracts features ended with 1: it printed nothing",
        ),
    ],
)
def test_a_feature_that_cannot_be_built_is_refused(root, tmp_path, feature, message):
    with pytest.raises(ExperimentError, match=message):
        quiet(root, tmp_path / "store", feature)
    assert not (tmp_path / "store").exists()


@each_engine
def test_workers_with_another_version_stop_the_job_with_one_line(engine, root, tmp_path):
    with pytest.raises(ExperimentError) as error:
        quiet(root, tmp_path / "store", "tiny_extractors:OtherElsewhere", engine=engine)
    assert str(error.value).startswith("features 'tiny_extractors:OtherElsewhere': this worker has loudness-v2")
    assert "\n" not in str(error.value)
    with pytest.raises(StoreError, match="no finished 'loudness'"):
        FeatureStore(tmp_path / "store").spec("ravdess", "loudness")


def test_no_worker_is_refused(root, tmp_path):
    with pytest.raises(cluster.ClusterError, match="0 workers: give at least 1"):
        prepare("ravdess", root, tmp_path, [LOUDNESS], workers=0)


def test_progress_is_lines_in_a_log_and_nothing_of_rays(root, tmp_path, capfd):
    from mien.cli.progress import preparing

    with preparing() as on_progress:
        prepare("ravdess", root, tmp_path, [LOUDNESS], workers=2, on_progress=on_progress)
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1].startswith(f"ravdess-loudness: {N_CLIPS}/{N_CLIPS} clips, 0 rejects, ")
    assert lines[-1].endswith("clips/s, 0:00:00 left")
    assert all(line.startswith("ravdess-loudness: ") for line in lines)


def test_the_process_that_asks_loads_no_framework(root, tmp_path):
    """So that it may train with TensorFlow after features that need torch."""
    code = (
        "import sys; from mien.features.host import ExtractorHost; from mien.features.recipe import ExtractorRecipe\n"
        "ExtractorHost({'a': ExtractorRecipe('tiny_extractors:Loudness'), 'b': ExtractorRecipe('egemaps')}).close()\n"
        "assert not {'torch', 'tensorflow', 'opensmile'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": cluster.search_path()}
    assert subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT).returncode == 0
