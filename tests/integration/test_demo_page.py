"""The demo's page in a real browser, with a film for a camera and a wav for a microphone; the server is `mien demo`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.bench.live import browser_page, chromium, demo_server, until, write_film
from mien.errors import MienError
from tiny_runs import CLASSES, tiny_run

pytestmark = pytest.mark.slow

PATIENCE_MS = 180_000  # of a machine where others work; nothing is measured by it
RUN = {"egemaps": {}, "facenet": {"weights": "random"}}


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    try:
        chromium()
    except MienError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    return str(tiny_run(folder / "run", RUN))


@pytest.fixture(scope="module")
def film(folder: Path) -> tuple[Path, Path]:
    return write_film(folder, seconds=2.0, size=(320, 240))


@pytest.fixture(scope="module")
def address(run: str):
    with demo_server([run]) as (_, address):
        yield address


def opened(page, address: str) -> list[str]:
    """Opens the page; what it complains of, as it comes."""
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith(page_origin(address)) else complaints.append(asked.url)
    )
    page.goto(address)
    page.wait_for_selector("#start:visible")
    return complaints


def page_origin(address: str) -> str:
    return address.partition("/?")[0]


def state(name: str, word: str) -> str:
    return f"document.getElementById('{name}').dataset.state === '{word}'"


PREDICTED = "!document.getElementById('bars').classList.contains('empty')"


def shares(page) -> np.ndarray:
    return np.array([float(bar.get_attribute("aria-valuenow")) for bar in page.locator("#bars [role=meter]").all()])


def test_a_face_and_a_voice_are_seen_heard_predicted_and_recorded(address, film, tmp_path):
    with browser_page(*film) as page:
        complaints = opened(page, address)
        assert page.inner_text("#notes").count("\n") == 1, "synthetic, and random weights"
        page.click("#start")
        until(page, f"{PREDICTED} && {state('face', 'face')} && {state('voice', 'sound')}")
        assert shares(page).sum() == pytest.approx(1, abs=0.03)
        assert page.inner_text("#top-name") in CLASSES
        until(page, "!document.getElementById('box').hidden")
        left, top, width, height = (
            float(side.removesuffix("%")) / 100
            for side in page.evaluate(
                "['left', 'top', 'width', 'height'].map((s) => document.getElementById('box').style[s])"
            )
        )
        assert 0.2 < left + width / 2 < 0.8 and 0.2 < top + height / 2 < 0.8, "the portrait is in the middle"
        assert 0.15 < width < 0.6

        page.click("#record")
        until(page, "parseInt(document.getElementById('recorded').textContent) >= 5")
        page.click("#record")
        with page.expect_download() as saved:
            page.click("#save-csv")
        rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())))
        with page.expect_download() as saved:
            page.click("#save-parquet")
        table = pd.read_parquet(saved.value.path())
        assert list(table) == ["time", "seconds", *CLASSES, "face", "voice", "latency_ms"] == list(rows[0])
        assert len(table) == len(rows) >= 5
        assert table["seconds"].is_monotonic_increasing
        np.testing.assert_allclose(table[list(CLASSES)].dropna().sum(axis=1), 1, atol=1e-3)

        page.click("#pause")
        assert page.get_attribute("#pause", "aria-pressed") == "true"
        until(page, "document.getElementById('camera').srcObject.getTracks().every((track) => !track.enabled)")
        page.click("#pause")
        until(page, f"{PREDICTED} && {state('face', 'face')}")
        assert not complaints


def test_a_microphone_alone_and_a_camera_alone(address, film):
    with browser_page(*film) as page:
        opened(page, address)
        page.uncheck("#use-camera")
        page.click("#start")
        until(page, f"{PREDICTED} && {state('face', 'off')} && {state('voice', 'sound')}")
        assert "voice alone" in page.inner_text("#cover")
        page.reload()
        page.wait_for_selector("#start:visible")
        page.uncheck("#use-microphone")
        page.click("#start")
        until(page, f"{PREDICTED} && {state('face', 'face')} && {state('voice', 'off')}")
        # A camera that is pulled out ends its track: so does this
        page.evaluate("document.getElementById('camera').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
        until(page, "document.getElementById('trouble').textContent === 'The camera was taken away.'")
        assert page.is_visible("#start"), "nothing is left, so it can be started again"
        until(page, "document.getElementById('bars').classList.contains('empty')")


def test_a_camera_that_is_taken_away_leaves_the_voice(address, film):
    with browser_page(*film) as page:
        opened(page, address)
        page.click("#start")
        until(page, f"{PREDICTED} && {state('face', 'face')}")
        page.evaluate("document.getElementById('camera').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
        until(page, f"{state('face', 'off')} && {state('voice', 'sound')} && {PREDICTED}")
        assert page.inner_text("#trouble") == "The camera was taken away."
        assert not page.is_visible("#box")


def test_a_refusal_is_a_sentence(address):
    with browser_page(None, None, "--deny-permission-prompts", consent=False) as page:
        opened(page, address)
        page.click("#start")
        until(page, "document.getElementById('trouble').textContent !== ''")
        assert "Camera or microphone was not allowed" in page.inner_text("#trouble")
        assert page.is_visible("#start")
        assert page.is_disabled("#record")


def test_without_a_camera_it_says_so_and_listens(address):
    with browser_page(None, None, "--use-fake-device-for-media-stream=device-count=0") as page:
        opened(page, address)
        page.uncheck("#use-microphone")
        page.click("#start")
        until(page, "document.getElementById('trouble').textContent.startsWith('The camera was not found')")
        assert page.is_visible("#start")
        page.check("#use-microphone")
        page.click("#start")
        until(page, f"{PREDICTED} && {state('face', 'off')} && {state('voice', 'sound')}")
        assert page.inner_text("#trouble").startswith("The camera was not found")


def test_without_a_websocket_it_says_so(address):
    with browser_page(None, None) as page:
        page.add_init_script("delete window.WebSocket")
        page.goto(address)
        until(page, "document.getElementById('trouble').textContent.includes('no WebSocket')")


def test_two_pages_at_once(address, film):
    with browser_page(*film) as page:
        opened(page, address)
        other = page.context.new_page()
        opened(other, address)
        for one in (page, other):
            one.bring_to_front()
            one.click("#start")
            until(one, PREDICTED)
        other.close()
        page.bring_to_front()
        page.evaluate("document.getElementById('bars').classList.add('empty')")
        until(page, PREDICTED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000])
def test_it_fits_and_can_be_read_and_reached_by_keyboard(address, film, width, scheme):
    with browser_page(*film, viewport={"width": width, "height": 844}, color_scheme=scheme) as page:
        opened(page, address)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert reached[:3] == ["use-camera", "use-microphone", "start"]
        assert "SUMMARY" in reached
        page.focus("#start")
        page.keyboard.press("Enter")
        until(page, PREDICTED)
        assert page.evaluate("document.activeElement.id") == "pause"
        assert page.evaluate(overflow) == 0
        assert page.locator("#plot").get_attribute("role") == "img"
        assert page.locator("#said").get_attribute("aria-live") == "polite"
        until(page, "document.getElementById('said').textContent !== ''")
        contrasts = page.evaluate(CONTRASTS)
        assert min(contrasts.values()) >= 4.5, contrasts


# Contrast of text with what is behind it, by WCAG 2.2
CONTRASTS = """() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  const found = {};
  for (const id of ["about", "notes", "top-name", "top-value", "bars", "state", "pause"]) {
    const element = document.getElementById(id).querySelector("li, span") ?? document.getElementById(id);
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((x, y) => y - x);
    found[id] = (a + 0.05) / (b + 0.05);
  }
  return found;
}"""


def test_a_file_of_the_server_is_played_and_played_again(run, folder):
    from mien.corpora.sample.face import act
    from mien.corpora.sample.performance import Performance, Person
    from mien.corpora.sample.recording import write_mp4
    from mien.corpora.sample.voice import VOICE_RATE_HZ, speak

    performance = Performance(Person(seed=0, name="file", sex="male"), "file", "happiness", 1.0, 12)
    clip = folder / "clip.mp4"
    write_mp4(clip, list(act(performance, 30000 / 1001)), speak(performance, VOICE_RATE_HZ), VOICE_RATE_HZ)
    with demo_server([run, "--source", str(clip)]) as (_, address), browser_page(None, None) as page:
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        until(page, "document.getElementById('cover-text').textContent === 'The file is over.'")
        assert page.is_visible("#film")
        assert page.evaluate("document.getElementById('film').width") == 320
        page.evaluate("window.n = 0; document.addEventListener('mien:shown', () => { window.n += 1; })")
        page.click("#start")
        until(page, "window.n > 1")
        until(page, "document.getElementById('cover-text').textContent === 'The file is over.'")


def test_a_server_that_is_gone_is_missed(run, film):
    with browser_page(*film) as page:
        with demo_server([run]) as (_, address):
            opened(page, address)
            page.click("#start")
            until(page, PREDICTED)
        until(page, "document.getElementById('trouble').textContent.includes('Trying again')")
        assert page.evaluate("document.getElementById('bars').classList.contains('empty')")
