"""Files broken at random, by a seed, and what must become of them: each a row or a reject with its reason, and no intact
file is touched by it. None takes more memory or time than its few kilobytes are worth, whatever it claims."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mien.connection import search_path
from mien.corpora.clip import Reject
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureFolder, FeatureTable
from mien.features.store.manifest import read_rejects
from mien.folder import Folder

MOST_BYTES = 2**29  # that the process may have at any time: it has 250 MB with all its libraries and whole files
LONGEST_S = 60.0  # that a clip may take before its worker is ended; whole ones take a hundredth of a second
HEADER_BYTES = 64  # no format says within so few what it holds and holds it too
EXTRACTORS = {
    "audio": "tiny_extractors:Loudness",
    "video": "tiny_extractors:Brightness",
    "sensors": "tiny_extractors:Levels",
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
        broken[rng.randrange(HEADER_BYTES)] ^= rng.randrange(1, 256)
    return bytes(broken)


def flipped_anywhere(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 200)):
        broken[rng.randrange(len(broken))] ^= rng.randrange(1, 256)
    return bytes(broken)


def flip(path: Path, seed: int = 0) -> None:
    """One bit of a file, by the seed."""
    data = bytearray(path.read_bytes())
    drawn = random.Random(seed)
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


Breaker = Callable[[bytes, random.Random], bytes]
DEADLY: list[Breaker] = [empty, text, nothing_but_zeros, cut_in_its_header, cut_short]  # nothing may come of these
HARMFUL: list[Breaker] = [zeros_within, flipped_header, flipped_anywhere]  # these may still decode
IN_TEXT: list[Breaker] = [cut_in_its_header, cut_short]  # nor can a text of fewer rows be told from a whole one


# ---------------------------------------------------------------------- what becomes of them


WORKER = """
import json, sys
from pathlib import Path
from mien.corpora.clip import Medium
from mien.features.recipe import ExtractorRecipe
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, Feature, peak_bytes
from mien.features.store import FeatureFolder
from mien.folder import Folder
folder, medium, extractor, files, longest_s = json.load(sys.stdin)
recipe = ExtractorRecipe(extractor)
feature = Feature(FeatureFolder(Folder(folder), recipe.build().spec), recipe, medium)
extract = BatchExtractor([feature], ClipLimits(time_s=longest_s))
tasks = [ClipTask(Path(file).name, {medium: Medium(path=file)}, (0,)) for file in files]
for start in range(0, len(tasks), 8):
    extract(tasks[start : start + 8])
    print(peak_bytes(), flush=True)
"""


def extracted(folder: Path, medium: str, files: list[Path]) -> tuple[FeatureTable, dict[str, Reject]]:
    """What one worker makes of these files in batches of 8: rows, and rejects by clip id.

    A process of its own, begun again where a codec took it with it, as Ray does, but not for ever; its memory is
    asserted.
    """
    work = json.dumps([str(folder), medium, EXTRACTORS[medium], [str(path) for path in files], LONGEST_S])
    environment = os.environ | {"PYTHONPATH": search_path()}
    for _ in range(20 + len(files) // 10):
        done = subprocess.run(
            [sys.executable, "-c", WORKER], input=work, text=True, capture_output=True, env=environment
        )
        assert max(map(int, done.stdout.split()), default=0) < MOST_BYTES
        if done.returncode >= 0:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    feature = FeatureFolder(Folder(folder), ExtractorRecipe(EXTRACTORS[medium]).build().spec)
    ids = {path.name for path in files}
    manifest = feature.finish(ids)
    rejects = {reject.id: reject for reject in read_rejects(feature.folder)}
    table = feature.load(manifest, ids)
    assert (manifest["n_rows"], manifest["n_rejects"]) == (len(table), len(rejects))
    return table, rejects


def assert_same_rows(table: FeatureTable, other: FeatureTable, clip_ids: list[str]) -> None:
    """Both have these clips, bit by bit."""
    for clip_id in clip_ids:
        row, other_row = table.clip_ids.index(clip_id), other.clip_ids.index(clip_id)
        assert table.content[row] == other.content[other_row]
        np.testing.assert_array_equal(table.frames(row).values, other.frames(other_row).values)
        np.testing.assert_array_equal(table.frames(row).valid, other.frames(other_row).valid)


def assert_only_the_broken_suffer(
    place: Path, medium: str, files: Sequence[Path], whole: FeatureTable, n_broken: int, rng: random.Random
) -> Counter[str]:
    """Break n_broken copies of these files, each way in turn; returns how many became rows, and rejects by reason.

    whole: the rows of the files as they are.
    """
    folder = place / "media"
    folder.mkdir()
    copies = [Path(shutil.copy(path, folder)) for path in files]
    assert len(set(copies)) == len(files)
    ways = DEADLY + HARMFUL
    broken = {path: ways[i % len(ways)] for i, path in enumerate(rng.sample(copies, n_broken))}
    for path, break_ in broken.items():
        path.write_bytes(break_(path.read_bytes(), rng))
    table, rejects = extracted(place / "broken", medium, copies)

    assert sorted([*table.clip_ids, *rejects]) == sorted(path.name for path in copies)
    assert_same_rows(table, whole, [path.name for path in copies if path not in broken])
    for path, break_ in broken.items():
        if break_ in DEADLY and not (break_ in IN_TEXT and path.suffix == ".csv"):
            assert path.name in rejects, break_.__name__
    for name, reject in rejects.items():
        assert (reject.path, reject.stage) == (str(folder / name), "extract")
        assert reject.reason not in ("", "unexpected-error", "took-too-long", "too-large"), reject.detail
        assert str(folder / name) in reject.detail, reject
    assert np.isfinite(table.values).all()
    reasons = Counter(rejects[path.name].reason if path.name in rejects else "a row" for path in broken)
    shutil.rmtree(place)
    return reasons
