"""Every extractor alone: what an hour of recording costs one core, in time, in memory and in the store.

Each is measured in a process of its own, so that the peak of memory is its own, and as `mien prepare` runs it: by a
worker that goes from the files to a part of a store, held to one thread. Beside it, on the same decoded signals, the
bare call of the library that does the work: openSMILE, the forward pass of the network, MediaPipe's loop. Times are
CPU seconds, of the quickest round, so that other work on the machine counts little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import IO, Any

from mien.bench.bare import BARE
from mien.connection import search_path
from mien.corpora.clip import Medium
from mien.errors import MienError
from mien.features.extractors.face_track import TrackSettings
from mien.features.media import decode
from mien.features.media.faces import decode_faces
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature, peak_bytes
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import Extractor
from mien.features.store import FeatureStore

WORTH_COMPARING_S = 0.05  # of a bare call a clip: of less, the clock and the garbage collector are too much


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractorRate:
    """What one extractor took, a clip.

    clip_s: mean length. is_row: one row a clip, however long. cpu_s: CPU seconds from the file to the part of the
    store. extract_s, bare_s: of the extractor and of the library's bare call on the decoded signal; None where there is
    none to compare. two_cpu_s, clock_s, two_clock_s: CPU seconds while a second process does the same beside it, and
    seconds of the clock of one alone and of two. peak_bytes: of the process, with all that it had to load.
    """

    n_clips: int
    clip_s: float
    is_row: bool
    cpu_s: float
    clock_s: float
    extract_s: float
    bare_s: float | None
    peak_bytes: int
    bytes_per_clip: float
    two_cpu_s: float
    two_clock_s: float

    @property
    def realtime_factor(self) -> float:
        """CPU seconds for a second of recording."""
        return self.cpu_s / self.clip_s

    @property
    def overhead(self) -> float | None:
        """What the extractor takes beside its library, as a share of that; below 0 where it is quicker. None where the
        library takes too little to say."""
        if self.bare_s is None or self.bare_s < WORTH_COMPARING_S:
            return None
        return self.extract_s / self.bare_s - 1

    @property
    def mb_per_hour(self) -> float:
        """Of the store, for an hour of recording in clips of this length."""
        return self.bytes_per_clip * 3600 / self.clip_s / 1e6

    @property
    def scaling(self) -> float:
        """How many times the clips of one process two do at the same time, each with a core of its own: by CPU
        seconds, which do not count what else runs on the cores."""
        return 2 * self.cpu_s / self.two_cpu_s

    @property
    def clock_scaling(self) -> float:
        """The same by the clock: right where nothing else runs."""
        return 2 * self.clock_s / self.two_clock_s


def extractor_rate(
    feature: str, settings: Mapping[str, Any], media: Sequence[Medium], n_rounds: int = 3
) -> ExtractorRate:
    """Measure one extractor on these media, in two processes: of one while the other waits, then of both at once.

    Raises MienError with what the extractor says.
    """
    asked = json.dumps([feature, dict(settings), [asdict(medium) for medium in media], n_rounds])
    with tempfile.TemporaryFile("w+") as said:
        pair = [_start(asked, said) for _ in range(2)]
        try:
            found, _ = (_answer(process, feature, said) for process in pair)
            found |= _told([pair[0]], "compare", feature, said)[0] | _told([pair[0]], "run", feature, said)[0]
            two = _told(pair, "run", feature, said)
        finally:
            for process in pair:
                process.kill()
                process.communicate()
    of_two = {f"two_{name}": sum(one[name] for one in two) / 2 for name in ("cpu_s", "clock_s")}
    return ExtractorRate(**found, **of_two)


def _start(asked: str, said: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _MEASURE, asked],
        env=os.environ | {"PYTHONPATH": search_path(), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
    )


def _told(
    processes: Sequence[subprocess.Popen[str]], command: str, feature: str, said: IO[str]
) -> list[dict[str, Any]]:
    """What the processes answer, which all begin at the same time."""
    for process in processes:
        assert process.stdin
        process.stdin.write(f"{command}\n")
        process.stdin.flush()
    return [_answer(process, feature, said) for process in processes]


def _answer(process: subprocess.Popen[str], feature: str, said: IO[str]) -> dict[str, Any]:
    """The next line of JSON, whatever libraries print between."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(_ANSWER):
            answer = json.loads(line.removeprefix(_ANSWER))
            if "error" in answer:
                raise MienError(answer["error"])
            return answer
    said.seek(0)
    last = [line.strip() for line in said if line.strip()][-1:]
    raise MienError(f"{feature}: the process that measures it ended: {' '.join(last)}")


_ANSWER = "mien-bench "
_MEASURE = """
import json, sys
from mien.bench.extractors import measure_here
measure_here(*json.loads(sys.argv[1]))
"""


def measure_here(feature: str, settings: Mapping[str, Any], media: Sequence[Mapping[str, Any]], n_rounds: int) -> None:
    """Measure in this process, which must be a fresh one: what it has warmed up, then, for each line of stdin that says
    run or compare, the one or the other. Prints each answer as a line."""
    try:
        _serve(ExtractorRecipe(feature, settings), [Medium(**medium) for medium in media], n_rounds)
    except MienError as error:
        _print({"error": str(error)})


def _serve(recipe: ExtractorRecipe, media: Sequence[Medium], n_rounds: int) -> None:
    extractor = recipe.build()
    with TemporaryDirectory() as folder:
        feature = Feature(FeatureStore(folder).feature_folder("bench", extractor.spec), recipe, extractor.medium)
        worker = BatchExtractor([feature])
        tasks = [ClipTask(f"bench/{n}", {extractor.medium: medium}, (0,)) for n, medium in enumerate(media)]
        if rejected := [outcome for outcome in worker(tasks) if outcome.reason]:
            path = media[int(rejected[0].clip_id.partition("/")[2])].path
            raise MienError(f"{path}: is the reject {rejected[0].reason}; give recordings that can be used")
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        found = {"n_clips": len(media), "is_row": extractor.spec.hop_s is None, "peak_bytes": peak_bytes()}
        _print(found | {"bytes_per_clip": n_bytes / len(media)})
        for line in sys.stdin:
            if line.strip() == "compare":
                signals = [decoded(extractor, medium) for medium in media]
                clip_s = sum(length_s(extractor, signal) for signal in signals) / len(media)
                _print({"clip_s": clip_s, **compared(recipe.name, extractor, signals, n_rounds)})
                del signals
            else:
                rounds = [_seconds(lambda: worker(tasks)) for _ in range(n_rounds)]
                cpu_s, clock_s = (min(some) / len(media) for some in zip(*rounds))
                _print({"cpu_s": cpu_s, "clock_s": clock_s})


def _print(answer: dict[str, Any]) -> None:
    print(f"\n{_ANSWER}{json.dumps(answer)}", flush=True)


def compared(name: str, extractor: Extractor, signals: Sequence[Any], n_rounds: int) -> dict[str, float | None]:
    """extract_s and bare_s, CPU seconds a clip, of rounds by turns."""
    bare = [BARE[name](extractor, signal) for signal in signals] if name in BARE else []

    def extract() -> None:
        for signal in signals:
            extractor(signal, getattr(signal, "rate_hz", extractor.rate_hz))

    def call() -> None:
        for one in bare:
            one()

    rounds = [(_seconds(extract)[0], _seconds(call)[0]) for _ in range(n_rounds)]
    extract_s, bare_s = (min(some) / len(signals) for some in zip(*rounds))
    return {"extract_s": extract_s, "bare_s": bare_s if bare else None}


def decoded(extractor: Extractor, medium: Medium) -> Any:
    """The signal of a medium as the extractor wants it, whole in memory."""
    if extractor.kind == "faces":
        track = getattr(extractor, "track", None) or TrackSettings()
        return list(decode_faces(medium, extractor.rate_hz, settings=track))
    signal = decode(extractor.kind, medium, extractor.rate_hz)
    return list(signal) if extractor.kind == "pictures" else signal


def length_s(extractor: Extractor, signal: Any) -> float:
    """Length of a decoded signal; of a table, of the frames that it gives."""
    if extractor.kind == "signals":
        return len(signal.values) / signal.rate_hz
    if extractor.kind == "table":
        from mien.features.extractors.openface import HOP_S, read_openface

        return len(read_openface(signal).times_s) * HOP_S
    return len(signal) / extractor.rate_hz


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process, and of the clock."""
    cpu_s, clock_s = process_time(), perf_counter()
    run()
    return process_time() - cpu_s, perf_counter() - clock_s
