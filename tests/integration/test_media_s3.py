"""Media, tables and weights are read from S3 (a moto server on this machine) as from a disk."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from mien.bench.requests import GETS_OF_A_CLIP, GETS_OF_A_JOINING_NODE, PUTS_OF_A_PART, WRITES_OF_A_PART
from mien.corpora import mahnob
from mien.corpora.clip import Clip, Medium, Reject
from mien.corpora.remote import import_clips
from mien.corpora.sample.write import write_sample
from mien.data.mapped_table import mapped_table, source_of
from mien.errors import CorpusError, MediaError
from mien.features import media
from mien.features.extractors.openface import ACTION_UNITS, read_openface
from mien.features.extractors.weights import read_weights
from mien.features.media import source
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureFolder, FeatureStore, Row
from mien.folder import Folder
from tiny_mahnob import GAZE, SENSORS, write_gaze, write_sensors, write_session
from tiny_media import heard, seen, tone, write_movie, write_wav

CLIP = Clip(id="c/0", corpus="c", subject="c/0", media={"audio": Medium(path="a.wav")})


@pytest.fixture(scope="module")
def bucket(s3: str) -> Folder:
    return Folder(f"{s3}/raw")


@pytest.mark.parametrize("fetched_whole", [True, False])
@pytest.mark.parametrize("name", ["a.wav", "a.mp4"])
def test_media_decode_as_from_a_disk(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fetched_whole: bool
) -> None:
    if not fetched_whole:
        monkeypatch.setattr(source, "FETCHED_WHOLE_BYTES", 0)
        monkeypatch.setattr(source, "BLOCK_BYTES", 1009)
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, tone(1.0, 44_100), 44_100)
    else:
        write_movie(path, 1.0)
    bucket.write_bytes(name, path.read_bytes())
    uri = bucket.path(name)
    stretch = {"start_s": 0.25, "end_s": 0.75}
    np.testing.assert_array_equal(heard(uri, 16_000, **stretch), heard(path, 16_000, **stretch))
    assert media.content_hash(uri) == media.content_hash(str(path))
    if name == "a.mp4":
        both = zip(seen(uri, 10.0), seen(path, 10.0), strict=True)
        assert all(np.array_equal(one, other) for one, other in both)


def test_a_small_file_is_one_request(bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder's reads of 8 kB would each be one."""
    write_wav(tmp_path / "b.wav", tone(4.0, 48_000), 48_000)
    bucket.write_bytes("b.wav", (tmp_path / "b.wav").read_bytes())
    reads: list[int] = []

    class Counted:
        def __init__(self, file: Any) -> None:
            self._file = file

        def size(self) -> int:
            return self._file.size()

        def read(self) -> bytes:
            reads.append(self.size())
            return self._file.read()

    fetched = source._few_requests
    monkeypatch.setattr(source, "_few_requests", lambda file, path: fetched(Counted(file), path))
    assert len(heard(bucket.path("b.wav"), 48_000)) == 4 * 48_000
    assert reads == [(tmp_path / "b.wav").stat().st_size]


def test_what_is_not_there_is_missing(bucket: Folder) -> None:
    with pytest.raises(MediaError) as error:
        heard(bucket.path("gone.wav"), 16_000)
    assert error.value.reason == "missing"


def test_tables_and_weights(bucket: Folder) -> None:
    table = "\n".join([",".join(ACTION_UNITS), ",".join(["1"] * 35)])
    bucket.write_text("units/01-01-03-01-01-01-02.csv", table)
    assert read_openface(bucket.path("units/01-01-03-01-01-01-02.csv")).frames.values.tolist() == [[1.0] * 35]
    bucket.write_bytes("net.pt", b"weights")
    assert read_weights(bucket.path("net.pt"))[0] == b"weights"


@pytest.mark.parametrize("corpus", ["ravdess", "cremad"])
def test_a_corpus_is_imported_as_from_a_disk(bucket: Folder, tmp_path: Path, corpus: str) -> None:
    root = write_sample(tmp_path, corpora=(corpus,), n_subjects=1, n_per_emotion=1)[corpus]
    (root / "empty.wav").touch()
    for file in root.rglob("*"):
        if file.is_file():
            (bucket / corpus).write_bytes(str(file.relative_to(root)), file.read_bytes())
    uri = f"{bucket.uri}/{corpus}"
    found = list(import_clips(corpus, uri))
    as_from_disk = [
        replace(one, path=one.path.replace(str(root), uri))
        if isinstance(one, Reject)
        else replace(
            one, media={name: replace(m, path=m.path.replace(str(root), uri)) for name, m in one.media.items()}
        )
        for one in import_clips(corpus, root)
    ]
    assert found == as_from_disk and any(isinstance(one, Reject) for one in found)
    clips = [one for one in found if isinstance(one, Clip)]
    assert clips and all(clip.synthetic for clip in clips), "a synthetic corpus would pass for a real one"
    below = clips[0].media["audio"].path.rpartition("/")[0]
    for other in (bucket.uri, below):
        found = list(import_clips(corpus, other))
        assert all(one.synthetic for one in found if isinstance(one, Clip)), other
    assert all(medium.path.startswith(f"{uri}/") for clip in clips for medium in clip.media.values())
    assert len(heard(clips[0].media["audio"].path, 16_000)) > 0
    if corpus == "cremad":
        assert clips[0].attributes["age"], "the tables were not read"


def test_of_sensors_the_triggers_are_fetched_and_nothing_else(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions of MAHNOB-HCI: whole, cut off, with a damaged header, without triggers; as from a disk."""
    root = tmp_path / "mahnob"
    folders = [write_session(root, number) for number in (2, 4, 6, 8)]
    write_sensors(folders[0] / SENSORS, values={"Fp1": np.full(20 * 64, 1000.0)})
    for folder, start, end in ((folders[1], 0, 0.7), (folders[2], 300, 1.0)):
        data = (folder / SENSORS).read_bytes()
        (folder / SENSORS).write_bytes(data[start : int(end * len(data))])
    write_sensors(folders[3] / SENSORS, 70, (), rate_hz=8)
    write_gaze(folders[0] / GAZE, 1000, 1250, 4_410_000)
    (folders[0] / "extra.avi").write_bytes(b"RIFF")
    for file in root.rglob("*.*"):
        (bucket / "mahnob").write_bytes(str(file.relative_to(root)), file.read_bytes())

    fetched: dict[str, int] = {}
    import_from_disk = mahnob.import_clips

    def looked_at(stand_in: Path, settings: Any = None) -> Any:
        if "mahnob" in stand_in.parts:
            data = (stand_in / "Sessions/2" / SENSORS).read_bytes()
            whole = (folders[0] / SENSORS).read_bytes()
            fetched.update(n_bytes=len(data), n_equal=sum(map(int.__eq__, data, whole)), n_zero=data.count(0))
        return import_from_disk(stand_in, settings)

    monkeypatch.setattr(mahnob, "import_clips", looked_at)
    for uri, below in ((f"{bucket.uri}/mahnob", root), (f"{bucket.uri}/mahnob/Sessions/2", folders[0])):
        found = [repr(one).replace(uri, str(below)) for one in import_clips("mahnob", uri)]
        assert found == [repr(one) for one in import_from_disk(below)]
    reasons = [one.reason for one in import_clips("mahnob", f"{bucket.uri}/mahnob") if isinstance(one, Reject)]
    assert sorted(reasons) == ["not-media", "not-named", "truncated"]
    n_bytes = (folders[0] / SENSORS).stat().st_size
    n_header, n_status = 256 * (1 + 39), 20 * 64 * 3
    assert fetched["n_bytes"] == n_bytes
    assert fetched["n_zero"] > n_bytes - n_header - n_status, "samples of other channels were fetched"
    assert fetched["n_equal"] < n_bytes


def test_a_corpus_that_is_not_there(bucket: Folder) -> None:
    with pytest.raises(CorpusError, match=f"^{bucket.uri}/nowhere: no media files below it"):
        list(import_clips("ravdess", f"{bucket.uri}/nowhere"))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """What the server is asked meanwhile, by the method of the request."""
    counts: Counter[str] = Counter()

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            counts.update(re.findall(r"(GET|HEAD|PUT|POST|DELETE) /bucket", record.getMessage()))

    log, handler = logging.getLogger("werkzeug"), Counting()
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield counts
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


@pytest.mark.parametrize("n_features", [1, 2])
def test_requests_are_as_many_as_the_cost_model_takes_them_for(bucket: Folder, tmp_path: Path, n_features: int) -> None:
    """Of one batch, with two features of one medium in one pass no more to read it."""
    n_clips = 11
    write_wav(tmp_path / "a.wav", tone(0.5, 16_000), 16_000)
    paths = [f"requests/{n_features}/{number}.wav" for number in range(n_clips)]
    for path in paths:
        bucket.write_bytes(path, (tmp_path / "a.wav").read_bytes())
    recipe = ExtractorRecipe("tiny_extractors:Loudness")
    folders = [bucket / f"requests/store{n_features}/{number}" for number in range(n_features)]
    extract = BatchExtractor([Feature(FeatureFolder(one, recipe.build().spec), recipe, "audio") for one in folders])
    tasks = [ClipTask(path, {"audio": Medium(path=bucket.path(path))}, tuple(range(n_features))) for path in paths]
    with counted() as counts:
        assert {outcome.reason for outcome in extract(tasks)} == {""}
    own = 10  # of the journal and the parts, however many clips
    assert GETS_OF_A_CLIP * n_clips <= counts["GET"] + counts["HEAD"] <= GETS_OF_A_CLIP * n_clips + own
    assert counts["PUT"] + counts["POST"] == PUTS_OF_A_PART + (n_features - 1)
    assert counts["DELETE"] == WRITES_OF_A_PART - PUTS_OF_A_PART


def test_a_node_that_joins_asks_for_each_part_as_often_as_the_page_on_scaling_says(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    spec = FeatureSpec(name="one", version=1, modality="audio", shape=(1,), hop_s=None, columns=("one",))
    asked = {}
    for n_parts in (2, 7):
        store = FeatureStore((bucket / f"joining/{n_parts}").uri)
        store.write_clips("c", [replace(CLIP, id=f"c/{number}") for number in range(n_parts)], [])
        feature = store.feature_folder("c", spec)
        for number in range(n_parts):
            values = np.full((1, 1), number, np.float32)
            feature.write([f"c/{number}"], [Row(f"c/{number}", "0" * 64, 0.0, None, values, np.ones(1, bool))], [])
        feature.finish({f"c/{number}" for number in range(n_parts)})
        with counted() as counts:
            table = mapped_table(source_of(store, "c", spec))
        assert len(table.lengths) == n_parts
        asked[n_parts] = counts["GET"] + counts["HEAD"]
    assert (asked[7] - asked[2]) / 5 == GETS_OF_A_JOINING_NODE


def test_a_key_that_is_no_path_is_a_reject(s3: str) -> None:
    """A bucket takes any key: none of them leads out of the folder that stands for it, and none vanishes."""
    name = "03-01-05-01-01-01-01.wav"
    odd = [f"Actor_01/../../{name}", f"Actor_01//{name}", f"{'x' * 300}.wav"]
    for key in (f"Actor_01/{name}", *odd, "Actor_01/../notes.txt"):
        boto3.client("s3").put_object(Bucket="bucket", Key=f"keys/{key}", Body=b"RIFF")
    found = list(import_clips("ravdess", f"{s3}/keys"))
    assert [one.id for one in found if isinstance(one, Clip)] == ["ravdess/01-05-01-01-01-01"]
    rejects = [one for one in found if isinstance(one, Reject)]
    assert sorted(one.id for one in rejects) == sorted(odd)
    assert {one.reason for one in rejects} == {"bad-name"}
    assert all(one.path == f"{s3}/keys/{one.id}" for one in rejects)
