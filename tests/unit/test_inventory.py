"""What `verify` notices about a download, on small real files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.corpora import Finding, Verification
from mien.corpora.inventory import Published, check_files, container_fault
from mien.corpora.sample.recording import copy_pictures, write_mp4, write_wav
from mien.corpora.tree import SYNTHETIC_MARKER, MediaFile, Misplaced, find_media

CONTENT = {f"{name}.mp3": name.encode() * 50 for name in ("one", "two", "six")}


def place(path: Path) -> None:
    if path.parent.name != "sounds":
        raise Misplaced("wrong-folder", "expected in sounds")


def check(root: Path, published: Iterable[Published] | None = None, **options: object) -> Verification:
    if published is None:
        published = [
            Published(part="sounds", name=n, sha256=hashlib.sha256(c).hexdigest(), n_bytes=len(c))
            for n, c in CONTENT.items()
        ]
    return check_files("trial", root, find_media(root, (".mp3",), "Trial", "get it"), published, place, **options)  # type: ignore[arg-type]


def findings(found: Verification) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.what, Path(finding.path).name) for finding in found.findings]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sounds").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "sounds" / name).write_bytes(content)
    return tmp_path


def test_a_whole_download_has_no_findings_and_reports_each_file(root: Path) -> None:
    asked: list[tuple[int, int]] = []
    found = check(root, on_file=lambda n_done, n: asked.append((n_done, n)))
    assert found == Verification(corpus="trial", root=str(root), counts={"sounds": (3, 3)}, findings=())
    assert asked == [(1, 3), (2, 3), (3, 3)]


def test_truncated_renamed_and_altered_files_are_found(root: Path) -> None:
    sounds = root / "sounds"
    (sounds / "one.mp3").write_bytes(CONTENT["one.mp3"][:-1])
    (sounds / "two.mp3").write_bytes(CONTENT["six.mp3"])
    (sounds / "six.mp3").write_bytes(b"!" + CONTENT["six.mp3"][1:])
    found = check(root)
    assert sorted(findings(found)) == [
        ("error", "hash", "six.mp3"),
        ("error", "renamed", "two.mp3"),
        ("error", "size", "one.mp3"),
    ]
    assert "149 bytes, published 150" in next(f.detail for f in found.findings if f.what == "size")
    assert "six.mp3" in next(f.detail for f in found.findings if f.what == "renamed")


def test_missing_unexpected_misplaced_duplicate_and_empty_files_are_found(root: Path) -> None:
    sounds = root / "sounds"
    (sounds / "six.mp3").rename(root / "six.mp3")
    (sounds / "two.mp3").write_bytes(b"")
    (sounds / "ten.mp3").write_bytes(b"x")
    (root / "copy" / "sounds").mkdir(parents=True)
    (root / "copy" / "sounds" / "one.mp3").write_bytes(CONTENT["one.mp3"])
    found = check(root)
    assert sorted(findings(found)) == [
        ("error", "duplicate", "one.mp3"),
        ("error", "empty", "two.mp3"),
        ("error", "missing", root.name),
        ("error", "unexpected", "ten.mp3"),
        ("error", "wrong-folder", "six.mp3"),
    ]
    assert found.counts == {"sounds": (2, 3)}
    assert not found.intact


def test_a_part_that_is_absent_is_no_error(root: Path) -> None:
    published = [Published(part="sounds", name=name) for name in CONTENT]
    found = check(root, [*published, Published(part="films", name="one.mp4")])
    assert findings(found) == [
        ("info", "not-downloaded", root.name),
        ("info", "no-published-hash", root.name),
    ]
    assert found.counts == {"sounds": (3, 3), "films": (0, 1)}
    assert found.intact


def test_byte_identical_files_are_a_warning_whether_or_not_their_hash_is_published(root: Path) -> None:
    (root / "sounds" / "two.mp3").write_bytes(CONTENT["one.mp3"])
    sha256 = hashlib.sha256(CONTENT["one.mp3"]).hexdigest()
    for known in (sha256, None):
        published = [Published(part="sounds", name=name, sha256=known) for name in ("one.mp3", "two.mp3")]
        found = check(root, [*published, Published(part="sounds", name="six.mp3")])
        warnings = [f for f in found.findings if f.severity == "warning"]
        path = str(root / "sounds" / "one.mp3")
        assert warnings == [Finding(severity="warning", what="byte-identical", path=path, detail=warnings[0].detail)]
        assert "two.mp3" in warnings[0].detail
        assert found.intact


def test_a_synthetic_corpus_is_never_intact(root: Path) -> None:
    (root / SYNTHETIC_MARKER).write_text("{}")
    assert findings(check(root)) == [("error", "synthetic", root.name)]


def look(path: Path, content: bytes | None = None) -> str | None:
    if content is not None:
        path.write_bytes(content)
    return container_fault(MediaFile(path, path.stat().st_size))


def test_a_cut_wav_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(800, np.float32), 16_000)
    whole = path.read_bytes()
    assert look(path) is None
    assert look(path, whole[:-1]) == f"{len(whole) - 1} of {len(whole)} bytes"
    assert look(path, b"a letter to a friend") == "does not begin like a wav"
    assert look(path, b"") == "does not begin like a wav"


def test_a_cut_mp4_is_not_whole_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, [Image.new("RGB", (32, 32))] * 3, np.zeros(4800, np.float32), 48_000)
    copy_pictures(path, tmp_path / "b.mp4")
    assert look(path) is None
    assert look(tmp_path / "b.mp4") is None
    whole = path.read_bytes()
    for n_bytes in range(1, len(whole), 7):
        assert look(path, whole[:n_bytes]) is not None
    assert look(path, bytes(64)) == "does not begin like an mp4"
    assert look(path, whole[: whole.index(b"moov") - 4]) == "has no index (moov box)"
