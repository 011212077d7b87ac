"""How late a live prediction is, measured in a browser: from a frame of the camera to the prediction on the screen.

The browser is the system's Chromium without a window, its camera and microphone are a synthetic film. The page does
with them what it does with real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mien.connection import search_path
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import Performance, Person
from mien.corpora.sample.recording import write_wav
from mien.corpora.sample.voice import VOICE_RATE_HZ, speak
from mien.errors import MienError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FRAME_HZ = 25
START_S = 300.0  # a busy machine needs minutes to load a framework
FAKE_CAMERA = ("--no-sandbox", "--use-fake-device-for-media-stream")
# What the page tells of each prediction that it has shown
LISTEN = """
window.told = [];
document.addEventListener("mien:shown", ({ detail }) => window.told.push({
  latency: detail.latency, at: performance.now(), frames: detail.nFrames, sent: detail.nPictures,
  looked_at: detail.prediction.pictures.looked_at, is_predicted: detail.prediction.values !== null,
  face: detail.prediction.face.state, voice: detail.prediction.voice.state, took: detail.prediction.took_ms,
  memory: performance.memory ? performance.memory.usedJSHeapSize : 0,
}));
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveRate:
    """What one session was like. latency_ms: of each picture of which a prediction was shown, from the moment when the
    page had the frame to the moment when it had painted the prediction. n_frames: of the camera; n_sent: to the server,
    at the rate that the features can use; n_looked_at: by the extractors. cpu_s: by server and browser. sizes: MB of
    the server's processes and of the page's heap, at the start and at the end."""

    seconds: float
    latency_ms: tuple[float, ...]
    n_predictions: int
    n_frames: int
    n_sent: int
    n_looked_at: int
    server_cpu_s: float
    browser_cpu_s: float
    server_mb: tuple[float, float]
    page_mb: tuple[float, float]
    took_ms: dict[str, float]

    def quantile(self, share: float) -> float:
        """Of the latency, in ms."""
        return float(np.quantile(self.latency_ms, share)) if self.latency_ms else float("nan")

    def drift_ms(self) -> float:
        """By how much the median of the last third of the latencies is above that of the first."""
        third = max(len(self.latency_ms) // 3, 1)
        return float(np.median(self.latency_ms[-third:]) - np.median(self.latency_ms[:third]))


def live_rate(
    run: str, folder: Path, *, seconds: float = 30.0, size: tuple[int, int] = (640, 480), window: int = 30
) -> LiveRate:
    """A session of a run, in a browser of this machine. folder: for the synthetic film.

    Raises MienError where there is no Chromium or no playwright, and where the demo does not start.
    """
    film, sound = write_film(folder, size=size)
    with demo_server([run, "--window", str(window)]) as (server, address), browser_page(film, sound) as page:
        page.goto(address)
        page.click("#start")
        page.evaluate(LISTEN)
        until(page, "window.told.some((one) => one.latency !== null)")
        page.evaluate("window.told = []")
        time.sleep(2)
        before, page_s = _cpu_s(server), time.monotonic()
        browser_before = _browser_cpu_s()
        memory = _megabytes(server)
        time.sleep(seconds)
        told = page.evaluate("window.told")
        passed_s = time.monotonic() - page_s
        after, browser_after, memory_after = _cpu_s(server), _browser_cpu_s(), _megabytes(server)
    if not told:
        raise MienError("nothing was predicted: see whether the machine is too busy")
    first, last = told[0], told[-1]
    return LiveRate(
        seconds=passed_s,
        latency_ms=tuple(one["latency"] for one in told if one["latency"] is not None),
        n_predictions=sum(one["is_predicted"] for one in told),
        n_frames=last["frames"] - first["frames"],
        n_sent=last["sent"] - first["sent"],
        n_looked_at=last["looked_at"] - first["looked_at"],
        server_cpu_s=after - before,
        browser_cpu_s=browser_after - browser_before,
        server_mb=(memory, memory_after),
        page_mb=(first["memory"] / 1e6, last["memory"] / 1e6),
        took_ms={name: float(np.median([one["took"][name] for one in told])) for name in last["took"]},
    )


def chromium() -> str:
    """The path of the system's browser. Raises MienError where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise MienError(f"no browser: install Chromium ({', '.join(BROWSERS)} are looked for)")
    if find_spec("playwright") is None:
        raise MienError("no playwright, which drives the browser: it is of the development group (make setup)")
    return found


@contextmanager
def browser_page(
    film: Path | None, sound: Path | None, *more: str, consent: bool = True, **context: Any
) -> Iterator[Any]:
    """A page of a Chromium whose camera shows a film (y4m) and whose microphone hears a wav.

    more: its switches. consent: whether it gives them to the page without asking. context: of playwright's new_context.
    """
    path = chromium()
    from playwright.sync_api import sync_playwright

    switches = [*FAKE_CAMERA, *more, *(["--use-fake-ui-for-media-stream"] if consent else [])]
    switches += [f"--use-file-for-fake-video-capture={film}"] if film else []
    switches += [f"--use-file-for-fake-audio-capture={sound}"] if sound else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=switches)
        try:
            yield browser.new_context(**context).new_page()
        finally:
            browser.close()


def until(page: Any, condition: str, seconds: float = START_S) -> None:
    """Waits until a JavaScript expression is true. Raises TimeoutError. (playwright's own wait evaluates it within the
    page, whose policy forbids that.)"""
    end_s = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {seconds:g} s: {condition}; the page says {page.inner_text('body')!r}")
        page.wait_for_timeout(50)


@contextmanager
def demo_server(words: list[str]) -> Iterator[tuple[psutil.Process, str]]:
    """`mien demo` in a process of its own, on a free port; the process, and the address that it prints."""
    command = [sys.executable, "-m", "mien", "demo", *words, "--port", "0"]
    environment = os.environ | {"PYTHONPATH": search_path()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as made:
        try:
            assert made.stdout and made.stderr
            address = made.stdout.readline().strip()
            if not address:
                raise MienError(f"mien demo: {(made.stderr.read().strip().splitlines() or ['it printed nothing'])[-1]}")
            yield psutil.Process(made.pid), address
        finally:
            made.terminate()


def write_film(folder: Path, *, seconds: float = 6.0, size: tuple[int, int] = (640, 480)) -> tuple[Path, Path]:
    """A person of the samples who speaks, as the y4m and the wav that Chromium plays again and again."""
    import av

    person = Person(seed=0, name="live", sex="female")
    performances: list[Performance] = []
    while sum(one.duration_s for one in performances) < seconds:
        emotion = ("happiness", "anger", "sadness", "neutral")[len(performances) % 4]
        performances.append(Performance(person, str(len(performances)), emotion, 1.0, 9))
    film, sound = folder / "film.y4m", folder / "film.wav"
    with av.open(str(film), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=FRAME_HZ)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for performance in performances:
            for picture in act(performance, FRAME_HZ):
                frame = av.VideoFrame.from_image(picture.resize(size))
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    write_wav(sound, np.concatenate([speak(one, VOICE_RATE_HZ) for one in performances]), VOICE_RATE_HZ)
    return film, sound


def _with_children(process: psutil.Process, of: Callable[[psutil.Process], float]) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            total += of(one)
        except psutil.Error:  # it has just ended
            continue
    return total


def _cpu_s(process: psutil.Process) -> float:
    return _with_children(process, lambda one: sum(one.cpu_times()[:2]))


def _megabytes(process: psutil.Process) -> float:
    return _with_children(process, lambda one: one.memory_info().rss / 1e6)


def _browser_cpu_s() -> float:
    """Of this process and what it started, the server left out."""
    me = psutil.Process()
    own = [one for one in me.children() if "mien" not in one.cmdline()]
    return sum(_cpu_s(one) for one in own)
