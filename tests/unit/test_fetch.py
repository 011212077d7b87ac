"""A download from servers as they are: the bytes arrive whole, once, and in their place, or one sentence says why."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bad_server import (
    BadServer,
    another_range,
    bad_server,
    breaks_after,
    fails,
    ignores_ranges,
    page,
    redirects,
    states,
    without_length,
    wrong_byte,
)
from conftest import ROOT, hears_ctrl_c
from mien.cli.main import main
from mien.corpora import cremad, ravdess
from mien.corpora.fetch import Fetched, Source, chosen, fetch, of_corpus, of_list, transfer
from mien.corpora.fetch import archive as archives
from mien.corpora.fetch.ledger import alone
from mien.errors import CorpusError
from mien.folder import Folder

DATA = np.random.default_rng(0).bytes(1_000_003)
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()


@pytest.fixture(scope="module")
def serving() -> Iterator[BadServer]:
    with bad_server() as server:
        yield server


@pytest.fixture
def server(serving: BadServer) -> BadServer:
    serving.files.clear()
    serving.scripts.clear()
    serving.asked.clear()
    serving.etag = '"v1"'
    return serving


def load(sources: list[Source], root: Path, **options: object) -> tuple[Fetched, list[float]]:
    """What was fetched, and the seconds that were waited for and not slept."""
    waits: list[float] = []
    return fetch(sources, str(root), wait=waits.append, **options), waits


def one(server: BadServer, *script: object, data: bytes = DATA, **known: object) -> Source:
    return Source(url=server.add("/a.bin", data, *script), path="a.bin", **known)


def assert_whole(root: Path, fetched: Fetched, data: bytes = DATA) -> None:
    assert not fetched.failed
    assert (root / "a.bin").read_bytes() == data
    assert {path.name for path in root.iterdir()} == {"a.bin", ".mien-fetch.json", ".mien-fetch.lock"}


# ------------------------------------------------------------------ what servers do


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}, {"md5": MD5, "n_bytes": len(DATA)}])
@pytest.mark.parametrize("script", [[], [breaks_after(300_000), breaks_after(1), breaks_after(400_000)]])
def test_a_broken_connection_is_gone_on_with(server, tmp_path, script, known):
    fetched, waits = load([one(server, *script, **known)], tmp_path)
    assert_whole(tmp_path, fetched)
    assert fetched[:3] == (1, len(DATA), 0) and len(waits) == len(script)
    asked = [(after, version) for _, after, version in server.asked]
    later = [(f"bytes={n}-", '"v1"') for n in (300_000, 300_001, 700_001)]
    assert asked == [(None, None), *(later if script else [])], "bytes were loaded twice, or of another version"


def test_a_connection_that_is_reset_is_gone_on_with(server, tmp_path):
    fetched, waits = load([one(server, *[breaks_after(300_000, reset=True)] * 3, sha256=SHA256)], tmp_path, tries=3)
    assert_whole(tmp_path, fetched)
    assert len(waits) == 3, "each try that brought bytes begins to count anew"


def test_a_file_that_changed_in_between_starts_over(server, tmp_path):
    def changes(handler, data):
        breaks_after(300_000)(handler, b"\0" * len(data))
        server.etag = '"v2"'

    fetched, _ = load([one(server, changes)], tmp_path)
    assert_whole(tmp_path, fetched)


def test_without_version_and_checksum_it_starts_over(server, tmp_path):
    """Nothing would tell that the two halves are of one file."""
    server.etag = ""
    fetched, _ = load([one(server, breaks_after(300_000))], tmp_path)
    assert_whole(tmp_path, fetched)
    assert [after for _, after, _ in server.asked] == [None, None]


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
@pytest.mark.parametrize("answer", [ignores_ranges, another_range, fails(416)])
def test_a_server_without_ranges(server, tmp_path, answer, known):
    fetched, _ = load([one(server, breaks_after(300_000), answer, **known)], tmp_path)
    assert_whole(tmp_path, fetched)


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
def test_a_length_that_is_too_large(server, tmp_path, known):
    """The server closes after all there is; asked for the rest, it says that there is none."""
    fetched, waits = load([one(server, states(len(DATA) + 99), **known)], tmp_path)
    assert_whole(tmp_path, fetched)
    assert len(waits) == 1


def test_a_length_that_is_too_small(server, tmp_path):
    fetched, waits = load([one(server, states(1000), n_bytes=len(DATA))], tmp_path)
    assert_whole(tmp_path, fetched)
    assert len(waits) == 1


def test_a_length_that_stays_a_lie_is_given_up(server, tmp_path):
    fetched, waits = load([one(server, *[states(len(DATA) + 99)] * 9)], tmp_path, tries=3)
    assert "99 more expected) (3 tries); run the same again later" in fetched.failed["a.bin"]
    assert len(waits) == 2 and len(server.asked) == 3


def test_no_length_at_all(server, tmp_path):
    fetched, _ = load([one(server, without_length)], tmp_path)
    assert_whole(tmp_path, fetched)


def test_a_server_that_throttles_is_waited_for(server, tmp_path):
    script = [
        fails(503, Retry_After="17"),
        fails(429),
        fails(500),
        fails(502, Retry_After="soon"),
        fails(429, Retry_After="9999"),
    ]
    fetched, waits = load([one(server, *script)], tmp_path)
    assert_whole(tmp_path, fetched)
    assert waits[0] == 17.0 and waits[4] == transfer.LONGEST_WAIT_S
    for n_failed, wait_s in ((2, waits[1]), (3, waits[2]), (4, waits[3])):
        assert 2 ** (n_failed - 1) / 2 <= wait_s <= 2 ** (n_failed - 1)


def test_it_is_given_up_after_so_many_tries(server, tmp_path):
    fetched, waits = load([one(server, *[fails(503)] * 9)], tmp_path, tries=4)
    assert fetched.failed == {
        "a.bin": "HTTP 503 Service Unavailable (4 tries); run the same again later, it goes on from here"
    }
    assert len(server.asked) == 4 and len(waits) == 3


def test_what_is_not_there_is_not_asked_for_again_and_the_others_come(server, tmp_path):
    gone = Source(url=server.url("/gone.bin"), path="gone.bin")
    fetched, waits = load([gone, one(server)], tmp_path)
    assert fetched.failed == {
        "gone.bin": "the server says HTTP 404 Not Found; compare the URL with the page of the corpus"
    }
    assert (tmp_path / "a.bin").read_bytes() == DATA and waits == [] and len(server.asked) == 2


def test_a_wrong_byte_that_comes_once_is_loaded_again(server, tmp_path):
    fetched, _ = load([one(server, wrong_byte, sha256=SHA256)], tmp_path)
    assert_whole(tmp_path, fetched)


@pytest.mark.parametrize("known", [{"md5": MD5}, {"sha256": SHA256}, {"n_bytes": 7}])
def test_wrong_bytes_that_stay_are_no_file(server, tmp_path, known):
    fetched, _ = load([one(server, *[wrong_byte] * 9, **known)], tmp_path)
    why = fetched.failed["a.bin"]
    assert " in place of " in why and why.count("twice") == 1
    assert len(server.asked) == 2
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} <= {"a.bin.part.json"}


def test_redirects_are_followed_and_a_circle_is_named(server, tmp_path):
    there = server.add("/there.bin", DATA)
    fetched, _ = load([one(server, redirects(there))], tmp_path)
    assert_whole(tmp_path, fetched)
    circle = server.add("/circle.bin", DATA, *[redirects("/circle.bin")] * 99)
    fetched, _ = load([Source(url=circle, path="b.bin")], tmp_path)
    assert "redirects in a circle" in fetched.failed["b.bin"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_leads_to_the_web_only(server, tmp_path, to):
    fetched, _ = load([one(server, redirects(to))], tmp_path)
    assert "no safe address" in fetched.failed["a.bin"]


def test_a_redirect_out_of_https_is_refused():
    """No server of the tests has a certificate, so what `requests` asks before it follows is asked here."""
    import requests

    answer = requests.Response()
    answer.status_code, answer.url = 302, "https://a.example/x"
    answer.headers["location"] = "http://a.example/x"
    session = transfer.Web()._session()
    with pytest.raises(requests.exceptions.InvalidSchema, match="https to http"):
        session.get_redirect_target(answer)
    answer.headers["location"] = "https://b.example/x"
    assert session.get_redirect_target(answer) == "https://b.example/x"
    assert session.verify is True


def test_a_page_in_place_of_the_file(server, tmp_path):
    fetched, _ = load([one(server, page)], tmp_path)
    assert "log in or accept the licence" in fetched.failed["a.bin"]


# ------------------------------------------------------------------ asked again


def test_asked_again_it_loads_nothing_and_then_what_is_lost(server, tmp_path):
    sources = [Source(url=server.add(f"/{n}.bin", bytes([n]) * 1009), path=f"deep/{n}.bin") for n in range(7)]
    assert load(sources, tmp_path)[0][:3] == (7, 7 * 1009, 0)
    server.asked.clear()
    assert load(sources, tmp_path)[0] == Fetched(0, 0, 7, 0, {})
    assert server.asked == []
    (tmp_path / "deep/3.bin").unlink()
    (tmp_path / "deep/4.bin").write_bytes(b"short")
    (tmp_path / "deep/5.bin").write_bytes(b"\7" * 1009)  # the same size, at another time
    os.utime(tmp_path / "deep/6.bin", (1, 1))  # the same bytes, at another time
    assert load(sources, tmp_path)[0][:3] == (3, 3 * 1009, 4)
    assert sorted(path for path, _, _ in server.asked) == ["/3.bin", "/4.bin", "/5.bin"]


def test_a_byte_that_turned_over_is_found_by_reading(server, tmp_path):
    source = one(server)
    load([source], tmp_path)
    state = (tmp_path / "a.bin").stat()
    (tmp_path / "a.bin").write_bytes(DATA[:-1] + b"x")
    os.utime(tmp_path / "a.bin", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert load([source], tmp_path)[0].n_same == 1
    assert load([source], tmp_path, read=True)[0].n_loaded == 1
    assert (tmp_path / "a.bin").read_bytes() == DATA
    state = (tmp_path / "a.bin").stat()
    (tmp_path / "a.bin").write_bytes(DATA[:-1])
    os.utime(tmp_path / "a.bin", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert load([source], tmp_path)[0].n_loaded == 1, "another size is seen without reading"


def test_a_list_that_says_something_else_by_now_counts(server, tmp_path):
    source = one(server)
    load([source], tmp_path)
    assert load([replace(source, md5=MD5)], tmp_path)[0].n_loaded == 0, "what is here has this MD5"
    other = DATA[::-1]
    server.add("/a.bin", other)
    assert load([replace(source, sha256=hashlib.sha256(other).hexdigest())], tmp_path)[0].n_loaded == 1
    assert (tmp_path / "a.bin").read_bytes() == other


def test_a_file_that_was_put_here_by_hand_counts_by_its_hash(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    assert load([one(server, md5=MD5)], tmp_path)[0] == Fetched(0, 0, 1, 0, {}) and server.asked == []
    (tmp_path / "a.bin").write_bytes(DATA[:99])
    (tmp_path / ".mien-fetch.json").unlink()
    assert load([one(server, md5=MD5)], tmp_path)[0].n_loaded == 1


def test_a_ledger_that_somebody_changed_is_refused(server, tmp_path):
    load([one(server)], tmp_path)
    ledger = tmp_path / ".mien-fetch.json"
    ledger.write_text(ledger.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(Exception, match=r"\.mien-fetch\.json: damaged \(not as it was sealed"):
        load([one(server)], tmp_path)


def test_two_fetches_at_once_are_refused(server, tmp_path):
    with alone(Folder(tmp_path)), pytest.raises(CorpusError, match="another fetch works here"):
        load([one(server)], tmp_path)


def test_passwords_are_written_nowhere(server, tmp_path):
    url = server.add("/a.bin", DATA, breaks_after(9)).replace("http://", "http://me:SECRET@") + "?token=SECRET"
    gone = url.replace("a.bin", "gone.bin")
    fetched, _ = load([Source(url=url, path="a.bin"), Source(url=gone, path="b.bin")], tmp_path)
    assert fetched.n_loaded == 1 and "SECRET" not in str(fetched)
    assert not [path for path in tmp_path.iterdir() if b"SECRET" in path.read_bytes()]


def test_a_full_disk_stops_all_and_names_the_file(server, tmp_path, monkeypatch, capsys):
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join(server.add(f"/{n}.bin", DATA) for n in range(9)))
    real = Path.open

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str = "r", *rest: object, **more: object):
        return Full() if path.name.endswith(".part") and mode == "ab" else real(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)
    assert main(["fetch", "ravdess", str(tmp_path / "root"), "--urls", str(urls), "--at-once", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"mien: {tmp_path}/root/0.bin.part: No space left on device; make room")
    assert len(server.asked) < 5


def test_a_disk_that_is_too_small_is_told_before_anything_is_loaded(server, tmp_path):
    with pytest.raises(CorpusError, match=r"1000000\.0 GB are missing, and there is room for .*--only"):
        load([one(server, n_bytes=10**15)], tmp_path)
    assert "/a.bin" not in [path for path, _, _ in server.asked]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_and_asked_again_the_bytes_are_the_same(server, tmp_path, end):
    """At whatever byte: no byte that was here is loaded again."""
    held = 700_000

    def stalls(handler, data):
        """Nothing more comes until the client has gone."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("ETag", server.etag)
        handler.end_headers()
        handler.wfile.write(data[:held])
        handler.wfile.flush()
        handler.connection.settimeout(60)
        handler.connection.recv(1)
        handler.close_connection = True

    urls, root = tmp_path / "urls.csv", tmp_path / "root"
    small = [server.add(f"/small/{n}.bin", bytes([n]) * 499) for n in range(5)]
    url = server.add("/a.bin", DATA, stalls)
    urls.write_text("\n".join([*small, f"{url},{SHA256}"]))
    child = subprocess.Popen(
        [sys.executable, "-m", "mien", "fetch", "ravdess", str(root), "--urls", str(urls), "--at-once", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        preexec_fn=hears_ctrl_c,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = root / "a.bin.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= held // 2 and (root / "4.bin").exists()):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.send_signal(end)
    said = child.communicate(timeout=15)[1]  # though the server says nothing for longer than that
    if end == signal.SIGINT:
        assert child.returncode == 130
        assert said.endswith("mien: interrupted; the same command goes on where this one stopped\n")
    n_here = part.stat().st_size
    server.asked.clear()
    fetched, _ = load(of_list(urls), root)
    assert not fetched.failed
    assert (root / "a.bin").read_bytes() == DATA
    assert [(root / f"{n}.bin").read_bytes() for n in range(5)] == [bytes([n]) * 499 for n in range(5)]
    assert [after for path, after, _ in server.asked if path == "/a.bin"] == [f"bytes={n_here}-"]
    assert not list(root.rglob("*.part*"))


# ------------------------------------------------------------------ archives


def packed_of(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return packed.getvalue()


def zipped(server: BadServer, data: bytes, **known: object) -> Source:
    return Source(url=server.add("/Actors.zip", data), path="Actors.zip", **known)


def test_an_archive_becomes_its_files_and_goes(server, tmp_path):
    source = zipped(server, packed_of(**{"Actor_01/a.wav": DATA, "Actor_02/b.wav": b"b"}))
    fetched, _ = load([source], tmp_path)
    assert (fetched.n_loaded, fetched.n_unpacked) == (1, 2)
    assert (tmp_path / "Actors/Actor_01/a.wav").read_bytes() == DATA
    assert not (tmp_path / "Actors.zip").exists()
    server.asked.clear()
    assert load([source], tmp_path)[0] == Fetched(0, 0, 1, 0, {}) and server.asked == []
    (tmp_path / "Actors/Actor_02/b.wav").unlink()
    (tmp_path / "Actors/Actor_01/a.wav").touch()
    fetched, _ = load([source], tmp_path)
    assert (fetched.n_loaded, fetched.n_unpacked) == (1, 2) and not fetched.failed
    assert (tmp_path / "Actors/Actor_02/b.wav").read_bytes() == b"b"


def test_an_archive_goes_only_when_what_came_out_of_it_is_noted(server, tmp_path, monkeypatch):
    """Killed in between, it would be loaded again."""
    noted, unlink = [], Path.unlink

    def seen(path: Path, *given: object, **more: object) -> None:
        if path.name == "Actors.zip":
            noted.append(json.loads((tmp_path / ".mien-fetch.json").read_text())["files"]["Actors.zip"]["unpacked"])
        unlink(path, *given, **more)

    monkeypatch.setattr(Path, "unlink", seen)
    load([zipped(server, packed_of(a=b"a"))], tmp_path)
    assert [list(members) for members in noted] == [["Actors/a"]]


def test_an_archive_can_stay_or_stay_packed(server, tmp_path):
    source = zipped(server, packed_of(a=b"a", b=b"b"))
    load([source], tmp_path, unpack=False)
    assert (tmp_path / "Actors.zip").exists() and not (tmp_path / "Actors").exists()
    fetched, _ = load([source], tmp_path, keep_archives=True)
    assert (fetched.n_loaded, fetched.n_unpacked) == (0, 2) and (tmp_path / "Actors.zip").exists()
    (tmp_path / "Actors/a").unlink()
    fetched, _ = load([source], tmp_path, keep_archives=True)
    assert (fetched.n_loaded, fetched.n_unpacked) == (0, 2) and len(server.asked) == 1, "loaded, though it was here"


def test_unpacking_that_was_broken_off_goes_on(server, tmp_path, monkeypatch):
    source = zipped(server, packed_of(**{f"{n}.wav": bytes([n]) * 999 for n in range(9)}))
    extract, extracted = archives._extract, []

    def breaks(opened, info, target):
        if len(extracted) == 4:
            raise KeyboardInterrupt
        extract(opened, info, target)
        extracted.append(target)

    monkeypatch.setattr(archives, "_extract", breaks)
    with pytest.raises(KeyboardInterrupt):
        load([source], tmp_path)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "Actors").iterdir()}
    assert len(times) == 4 and (tmp_path / "Actors.zip").exists()
    monkeypatch.undo()
    fetched, _ = load([source], tmp_path)
    assert (fetched.n_loaded, fetched.n_unpacked) == (0, 9) and len(server.asked) == 1
    assert {path: path.stat().st_mtime_ns for path in times} == times, "written again"
    assert sorted(path.name for path in (tmp_path / "Actors").iterdir()) == [f"{n}.wav" for n in range(9)]


def linked() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    return packed.getvalue()


def damaged() -> bytes:
    """Of an archive with one stored file, a byte of the file turned over."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.wav", b"0123456789" * 9)
    return packed.getvalue().replace(b"0123456789", b"012345678X", 1)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packed_of(**{"../../out.txt": b"1"}), "a part of it is '..'"),
        (packed_of(**{"/etc/out.txt": b"1"}), "a part of it is ''"),
        (packed_of(bomb=b"\0" * 10**6), "it states 1000000 bytes within"),
        (linked(), "is a link"),
        (damaged(), "Bad CRC-32"),
        (b"PK\3\4 no archive", "File is not a zip file"),
        (packed_of(a=b"1" * 999)[:-30], "File is not a zip file"),
    ],
    ids=["above", "absolute", "bomb", "link", "damaged", "none", "cut"],
)
def test_an_archive_that_is_not_safe_or_not_whole_is_told(server, tmp_path, data, why):
    root = tmp_path / "deep" / "root"
    fetched, _ = load([zipped(server, data)], root)
    assert fetched.failed["Actors.zip"].startswith("cannot be unpacked (") and why in fetched.failed["Actors.zip"]
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"Actors.zip", ".mien-fetch.json", ".mien-fetch.lock"}


# ------------------------------------------------------------------ lists


def listed(tmp_path: Path, text: str) -> list[Source]:
    file = tmp_path / "list.csv"
    file.write_text(text)
    return of_list(file)


def test_lists_of_several_forms(tmp_path):
    url = "https://a.example/x%20y/b.zip?download=1"
    whole = Source(url=url, path="b.zip", n_bytes=7, md5=MD5)
    assert listed(tmp_path, f"# comment\n\n{url}\n") == [Source(url=url, path="b.zip")]
    assert listed(tmp_path, f"{url},{MD5.upper()},7") == listed(tmp_path, f"{url}, 7, md5:{MD5}") == [whole]
    named = replace(whole, path="in/c.zip", sha256=SHA256)
    assert listed(tmp_path, f"\ufeffURL,path,size,md5,sha256\n{url},in/c.zip,7,{MD5},{SHA256}") == [named]
    assert listed(tmp_path, f'url,checksum\n"{url}",{MD5}') == [replace(whole, n_bytes=None)]
    script = "#!/bin/sh\nwget    -P amicorpus/ES2002a/audio http://a.example/ES2002a.Mix-Headset.wav\n"
    assert [source.path for source in listed(tmp_path, script)] == ["amicorpus/ES2002a/audio/ES2002a.Mix-Headset.wav"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no URL"),
        ("a.zip", "line 1: 'a.zip' is no URL"),
        ("https://a.example/\n", "ends without a file name"),
        ("\nfile:///etc/passwd", "line 2: 'file:///etc/passwd' is no URL"),
        ("https://a.example/x,7,8", "two fields ('7', '8') that are both the n_bytes"),
        (f"url,md5\nhttps://a.example/x,{SHA256}", f"md5 '{SHA256}' is not md5"),
        ("url,hash\n", "no columns are hash"),
        ("url\nhttps://a.example/x,7", "2 fields, and 1 columns in the header"),
        ("https://a.example/x,../x", "path '../x' of https://a.example/x: a part of it is '..'"),
        ("https://a.example/..%2F..%2Fx", "a part of it is '..'"),
        ("https://a.example/x,/etc/x", "a part of it is ''"),
        (f"https://a.example/{'x' * 235}", "longer than 230 bytes"),
        ("https://a.example/x.part", "a name that a fetch itself uses"),
        (
            "https://a.example/x\nhttps://b.example/x?SECRET",
            "stands for https://a.example/x and for https://b.example/x;",
        ),
        ("https://a.example/x\nhttps://a.example/y,x/y", "'x' is a file and a folder of 'x/y'"),
        ("wget https://a.example/x", "`wget -P FOLDER URL`"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_its_line(tmp_path, text, why):
    with pytest.raises(CorpusError) as error:
        listed(tmp_path, text)
    assert why in str(error.value) and str(tmp_path / "list.csv") in str(error.value)


def test_the_corpora_list_what_they_publish():
    """Names, sizes and hashes come from tables of the package; here they are what is known from elsewhere."""
    found = of_corpus("ravdess")
    assert len(found) == len({source.path for source in found}) == 49
    assert sum(source.md5 is not None for source in found) == 26
    speech = sum(source.n_bytes or 0 for source in found if source.path.startswith("Video_Speech"))
    assert round(speech / 2**30, 2) == 12.44, "GiB of the record's 24 archives"
    assert not any("Song_Actor_18" in source.path for source in found)
    found = of_corpus("cremad")
    assert len(found) == 2 * 7442 + 3 and found[0].sha256 and not found[-1].sha256
    assert {ravdess.CARD.name, cremad.CARD.name} == {"ravdess", "cremad"}


def test_patterns_choose(tmp_path):
    found = of_corpus("ravdess")
    assert [source.path for source in chosen(found, ["Audio_*", "*Song_Actor_01.zip"])] == [
        "Audio_Speech_Actors_01-24.zip",
        "Audio_Song_Actors_01-24.zip",
        "Video_Song_Actor_01.zip",
    ]
    with pytest.raises(CorpusError, match="only nothing: matches none of 49 files; the first is Audio_Speech"):
        chosen(found, ["Audio_*", "nothing"])


# ------------------------------------------------------------------ the command


def test_the_command(server, tmp_path, capsys):
    urls, root = tmp_path / "urls.txt", tmp_path / "root"
    urls.write_text(f"{server.add('/Actors.zip', packed_of(a=b'a'))}\n{server.add('/b.bin', DATA)},{SHA256}\n")
    words = ["fetch", "ravdess", str(root), "--urls", str(urls)]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) | {"n_bytes": 0} == {
        "n_loaded": 2,
        "n_bytes": 0,
        "n_same": 0,
        "n_unpacked": 1,
        "failed": {},
    }
    assert said.err == ""
    assert main(words) == 0
    said = capsys.readouterr()
    assert "0 files loaded, 0.0 MB; 2 were here already\nnext: mien verify ravdess" in said.out
    assert "files: 2/2 files, 0 MB loaded" in said.err
    urls.write_text(server.url("/gone.bin"))
    assert main(words) == 2
    assert "warning: gone.bin: the server says HTTP 404" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["fetch", "ravdes", "x"], "unknown corpus 'ravdes': the nearest is ravdess"),
        (["fetch", "ravdess", "x", "--urls", "u", "--source", "s3://b/x"], "urls and source: give one of them"),
        (["fetch", "ravdess", "x", "--source", "/data"], "source /data: is no bucket"),
        (["fetch", "ravdess", "x", "--urls", "nowhere.txt"], "--urls nowhere.txt: cannot be read"),
        (["fetch", "ravdess", "s3://b/x"], "root s3://b/x: fetch loads into a folder of this machine"),
        (["fetch", "ravdess", "x", "--at-once", "0"], "--at-once 0: give more than 0"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, monkeypatch, capsys, words, why):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("mien: ") and why in said
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_without_a_public_list_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.delattr(ravdess, "sources")
    assert main(["fetch", "ravdess", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "mien: corpus ravdess: no public list of its files is known here; get it by hand (open download"
    )
    assert "--urls FILE" in said and said.count("\n") == 1
