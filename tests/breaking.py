"""Files broken at random, by a seed, and what must become of them: each a row or a reject with its reason, and no intact
file is touched by it. None takes more memory or time than its few kilobytes are worth, whatever it claims.

A worker extracts from them, or imports them, in a process of its own, for all kinds of files one."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mien.connection import search_path
from mien.corpora import ami, cremad, mahnob, table
from mien.corpora.attach import attach
from mien.corpora.clip import Clip, Medium, Reject, clips_to_table, rejects_to_table
from mien.errors import CorpusError
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, Feature, peak_bytes
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureFolder, FeatureTable
from mien.features.store.manifest import read_rejects
from mien.folder import Folder

MOST_BYTES = 2**29  # that the process may have at any time: it has 300 MB with all its libraries and whole files
LONGEST_S = (
    60.0  # that a clip, or an import, may take before its worker is ended; whole ones take a hundredth of a second
)
HEADER_BYTES = 64  # no format says within so few what it holds and holds it too
EXTRACTORS = {
    "audio": "tiny_extractors:Loudness",
    "video": "tiny_extractors:Brightness",
    "avi": "tiny_extractors:Brightness",
    "sensors": "tiny_extractors:Levels",
    "eeg": "eeg-bands",
    "body": "physio",
    "openface": "openface",
}


# ---------------------------------------------------------------------- ways to break a file


def empty(data: bytes, rng: random.Random) -> bytes:
    return b""


def text(data: bytes, rng: random.Random) -> bytes:
    return b"404: the file that you asked for is not here\n" * rng.randrange(1, 200)


def nothing_but_zeros(data: bytes, rng: random.Random) -> bytes:
    return bytes(len(data))


def cut_in_its_header(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, HEADER_BYTES)]


def cut_short(data: bytes, rng: random.Random) -> bytes:
    return data[: round(len(data) * rng.uniform(0.1, 0.8))]


def zeros_within(data: bytes, rng: random.Random) -> bytes:
    start, n_bytes = rng.randrange(len(data)), rng.randrange(1, len(data) // 2)
    return data[:start] + bytes(min(n_bytes, len(data) - start)) + data[start + n_bytes :]


def flipped_header(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        broken[rng.randrange(min(HEADER_BYTES, len(broken)))] ^= rng.randrange(1, 256)
    return bytes(broken)


def flipped_anywhere(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 200)):
        broken[rng.randrange(len(broken))] ^= rng.randrange(1, 256)
    return bytes(broken)


def flipped_beginning(data: bytes, rng: random.Random) -> bytes:
    """Of formats whose header is long: a BDF has 256 bytes of it for each channel."""
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        broken[rng.randrange(min(len(data), 2048))] ^= rng.randrange(1, 256)
    return bytes(broken)


def edited(data: bytes, rng: random.Random) -> bytes:
    """As a person, or a program that goes wrong, changes a text."""
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(broken) + 1)
        broken[at : at + rng.choice((0, 0, 1, 9, 40))] = rng.choice(SNIPPETS)
    return bytes(broken)


def flip(path: Path, seed: int = 0) -> None:
    """One bit of a file, by the seed."""
    data = bytearray(path.read_bytes())
    drawn = random.Random(seed)
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


SNIPPETS = (
    *(b"", b"<segment/>", b"</nite:root>", b"&x;", b'"', b"<", b">", b"1e400", b"nan", b"-", b"\xff", b"\0"),
    *(b",", b";", b"\t", b"\n", b"\r", b"#", b"../", b"/", b"{", b"}", b"[", b": ", b"  ", b"99999999", b"\xc3\xa4"),
)
Breaker = Callable[[bytes, random.Random], bytes]
DEADLY: list[Breaker] = [empty, text, nothing_but_zeros, cut_in_its_header, cut_short]  # nothing may come of these
HARMFUL: list[Breaker] = [zeros_within, flipped_header, flipped_anywhere]  # these may still decode
IN_TEXT: list[Breaker] = [cut_in_its_header, cut_short]  # nor can a text of fewer rows be told from a whole one
WAYS = DEADLY + HARMFUL


# ---------------------------------------------------------------------- what becomes of them: rows and rejects


def work() -> None:
    """What the worker does: all files of all kinds, in batches of 8. Says after each what memory it ever had."""
    asked = json.load(sys.stdin)
    features = []
    for kind in asked["files"]:
        recipe = ExtractorRecipe(EXTRACTORS[kind])
        features.append(Feature(FeatureFolder(Folder(f"{asked['folder']}/{kind}"), recipe.build().spec), recipe, kind))
    extract = BatchExtractor(features, ClipLimits(time_s=LONGEST_S))
    for number, (kind, paths) in enumerate(asked["files"].items()):
        tasks = [ClipTask(path, {kind: Medium(path=path)}, (number,)) for path in paths]
        for start in range(0, len(tasks), 8):
            extract(tasks[start : start + 8])
            print(peak_bytes(), flush=True)


Extracted = tuple[FeatureTable, dict[str, Reject]]


def extracted(folder: Path, files: Mapping[str, Iterable[Path]]) -> dict[str, Extracted]:
    """What one worker makes of these files, by their kind: rows, and rejects by clip id, which is the path.

    The worker is begun again where a codec took it with it, as Ray does, but not for ever; its memory is asserted.
    """
    paths = {kind: [str(path) for path in of_kind] for kind, of_kind in files.items()}
    _run_worker("work", json.dumps({"folder": str(folder), "files": paths}), sum(map(len, paths.values())))
    found = {}
    for kind, ids in paths.items():
        feature = FeatureFolder(Folder(str(folder / kind)), ExtractorRecipe(EXTRACTORS[kind]).build().spec)
        manifest = feature.finish(set(ids))
        rejects = {reject.id: reject for reject in read_rejects(feature.folder)}
        rows = feature.load(manifest, set(ids))
        assert (manifest["n_rows"], manifest["n_rejects"]) == (len(rows), len(rejects))
        assert sorted([*rows.clip_ids, *rejects]) == sorted(ids)
        found[kind] = rows, rejects
    return found


def _run_worker(function: str, given: str, n_files: int) -> list[str]:
    """What a function of this module prints in a process of its own; each line ends with its largest memory."""
    environment = os.environ | {"PYTHONPATH": search_path()}
    for _ in range(20 + n_files // 10):
        done = subprocess.run(
            [sys.executable, "-c", f"import breaking; breaking.{function}()"],
            input=given,
            text=True,
            capture_output=True,
            env=environment,
        )
        lines = done.stdout.splitlines()
        assert max((int(line.split()[-1]) for line in lines), default=0) < MOST_BYTES
        if done.returncode >= 0:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    return lines


def assert_same_rows(table: FeatureTable, other: FeatureTable, names: Mapping[str, str]) -> None:
    """Both have these clips, bit by bit. names: what a clip is called in the one and in the other."""
    for clip_id, other_id in names.items():
        row, other_row = table.clip_ids.index(clip_id), other.clip_ids.index(other_id)
        assert table.content[row] == other.content[other_row]
        np.testing.assert_array_equal(table.frames(row).values, other.frames(other_row).values)
        np.testing.assert_array_equal(table.frames(row).valid, other.frames(other_row).valid)


Copies = dict[Path, tuple[Path, Breaker | None]]  # a copy to what it was copied from, and how it was broken


def break_some(
    folder: Path, files: Sequence[Path], n_broken: int, rng: random.Random, ways: Sequence[Breaker] = tuple(WAYS)
) -> Copies:
    """Copies of these files, of which n_broken are broken, each way in turn."""
    folder.mkdir(parents=True)
    copies = [Path(shutil.copy(path, folder)) for path in files]
    assert len(set(copies)) == len(files)
    broken = {path: ways[i % len(ways)] for i, path in enumerate(rng.sample(copies, n_broken))}
    for path, break_ in broken.items():
        path.write_bytes(break_(path.read_bytes(), rng))
    return {copy: (path, broken.get(copy)) for copy, path in zip(copies, files)}


def assert_only_the_broken_suffer(
    place: Path, copies: Mapping[str, Copies], whole: Mapping[str, FeatureTable]
) -> dict[str, Counter[str]]:
    """Extract from copies that are broken and copies that are not; returns how many of the broken became rows, and
    rejects by reason, by their kind.

    whole: the rows of the files as they are, by kind.
    """
    became = {}
    for kind, (rows, rejects) in extracted(place, copies).items():
        intact = {str(copy): str(path) for copy, (path, break_) in copies[kind].items() if break_ is None}
        assert_same_rows(rows, whole[kind], intact)
        for copy, (_, break_) in copies[kind].items():
            if break_ in DEADLY and not (break_ in IN_TEXT and copy.suffix == ".csv"):
                assert str(copy) in rejects, break_.__name__
        for path, reject in rejects.items():
            assert (reject.path, reject.stage) == (path, "extract")
            assert reject.reason not in ("", "unexpected-error", "took-too-long", "too-large"), reject.detail
            assert path in reject.detail, reject
        assert np.isfinite(rows.values).all()
        broken = [str(copy) for copy, (_, break_) in copies[kind].items() if break_]
        became[kind] = Counter(rejects[path].reason if path in rejects else "a row" for path in broken)
    shutil.rmtree(place)
    return became


# ---------------------------------------------------------------------- what becomes of them: clips and rejects


def import_all() -> None:
    """What the worker does: imports each root with one of its files broken, and checks that nothing of it was lost.
    Says after each what came of it, and what memory it ever had."""
    for corpus, root, name, broken in json.load(sys.stdin):
        path = Path(root) / name
        whole = path.read_bytes()
        path.write_bytes(Path(broken).read_bytes())
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            came = ACCOUNTED[corpus](Path(root))
        except CorpusError as error:
            came = "one error"
            assert re.match(rf"{re.escape(root)}|table\.", str(error)), error
            assert "\n" not in str(error), error
        except BaseException as error:
            error.add_note(f"{corpus}, {name}, as {broken}")
            raise
        finally:
            path.write_bytes(whole)
            faulthandler.cancel_dump_traceback_later()
        print(came, peak_bytes(), flush=True)


def imported_each(place: Path, roots: Sequence[tuple[str, Path, str]], n_each: int, rng: random.Random) -> Counter[str]:
    """Break a file of a root, n_each times, and import: each time nothing may be lost. Returns how often something
    became rejects, one error, or only clips.

    roots: corpus, its root, and the file below it.
    """
    place.mkdir()
    ways = [*WAYS, flipped_beginning, edited, edited, edited]
    asked = []
    for corpus, root, name in roots:
        whole = (root / name).read_bytes()
        for number in range(n_each):
            broken = place / f"{len(asked)}"
            broken.write_bytes(ways[number % len(ways)](whole, rng))
            asked.append((corpus, str(root), name, str(broken)))
    lines = _run_worker("import_all", json.dumps(asked), len(asked))
    assert len(lines) == len(asked)
    shutil.rmtree(place)
    return Counter(line.rpartition(" ")[0] for line in lines)


def _came(records: Iterable[Clip | Reject]) -> tuple[list[Clip], list[Reject], str]:
    every = list(records)
    clips = [record for record in every if isinstance(record, Clip)]
    rejects = [record for record in every if isinstance(record, Reject)]
    assert len({clip.id for clip in clips}) == len(clips)
    assert all(reject.reason and reject.detail and "\n" not in reject.detail for reject in rejects)
    clips_to_table(clips)
    rejects_to_table(rejects)
    return clips, rejects, "rejects" if rejects else "clips"


def mahnob_accounted(root: Path) -> str:
    """Sessions 2 and 4, of which 2 may be broken, are clips or rejects."""
    clips, rejects, came = _came(mahnob.import_clips(root))
    sessions = {record.id for record in (*clips, *rejects) if not record.id.startswith("Subjects/")}
    assert sessions == {"mahnob/2", "mahnob/4"}
    assert "mahnob/4" in [clip.id for clip in clips]
    return came


def ami_accounted(root: Path) -> str:
    """Each segment of a file that another parser can read is a clip or in a reject."""
    clips, rejects, came = _came(ami.import_clips(root, ami.Settings(ratings=str(root / "mine.csv"))))
    stated = 0
    for path in root.rglob("segments/*.xml"):
        try:
            stated += sum(element.tag.rpartition("}")[2] == "segment" for element in ElementTree.parse(path).iter())
        except (ElementTree.ParseError, LookupError, ValueError):
            continue
    assert n_segments(clips, rejects) == stated
    return came


def n_segments(clips: Sequence[Clip], rejects: Sequence[Reject]) -> int:
    """Segments of AMI that are a clip, or that a reject is about or counts."""
    single = ("too-short", "bad-times", "overlapping-segments")
    counted = [re.search(r"(\d+) segments", r.detail) for r in rejects if r.reason in ("no-media", "unknown-speaker")]
    return len(clips) + sum(r.reason in single for r in rejects) + sum(int(found[1]) for found in counted if found)


def table_accounted(root: Path, **options: Any) -> str:
    """Each line is part of a clip or a reject."""
    found, n_lines = table._read(root, table.Settings(name="own", **options))
    clips, rejects, came = _came([*found.clips(), *found.rejects])
    unused = {reject.detail for reject in rejects if reject.id not in {clip.id for clip in clips}}
    assert found.n_used + len(unused) == n_lines
    assert sum(len(found._found[clip.id].by) for clip in clips) == found.n_used
    return came


def cremad_accounted(root: Path) -> str:
    """Its media are clips, whatever its tables say of them."""
    clips, _, came = _came(cremad.import_clips(root))
    assert len(clips) == len(list(root.glob("AudioWAV/*")))
    return came


def ratings_accounted(root: Path) -> str:
    """A table of ratings neither adds nor takes away a clip."""
    given = [Clip(id=f"own/{n}", corpus="own", subject="own/s", media={}) for n in range(4)]
    clips, _, came = _came(attach(given, "ratings", str(root / "ratings.csv")))
    assert [clip.id for clip in clips] == [clip.id for clip in given]
    return came


ACCOUNTED: dict[str, Callable[[Path], str]] = {
    "mahnob": mahnob_accounted,
    "ami": ami_accounted,
    "table": table_accounted,
    "cremad": cremad_accounted,
    "ratings": ratings_accounted,
}
