"""Real files that are broken, through `prepare`: each clip of a corpus ends as a row or as a reject with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.corpora import name_of
from mien.corpora.clip import Reject
from mien.corpora.table import Settings
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.prepare import prepare
from mien.features.store import FeatureStore
from mien.features.store.manifest import read_rejects
from tiny_ami import FILES, NXT, nxt, put, segment
from tiny_mahnob import CHANNELS, SENSORS, UNITS, VIDEO, lively, write_sensors, write_session
from tiny_media import voice, write_movie, write_wav

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]

LOUDNESS, BRIGHTNESS = "tiny_extractors:Loudness", "tiny_extractors:Brightness"


def became(corpus: str, root: Path, features: Sequence[str], settings: Any = None) -> list[dict[str, str]]:
    """Of each feature, what became of each clip by its name: "a row", "masked" (nothing of it is valid), or the reason
    of its reject. The last of all: "<name> <reason>" to the sentence of each reject at import."""
    store = root.parent / f"{root.name}-store"
    prepared = prepare(corpus, root, store, features, settings=settings)
    name = name_of(corpus, settings)
    read = FeatureStore(store)
    found = []
    for feature in prepared.features:
        folder = read.feature_folder(name, read.spec(name, feature.name))
        rejects = read_rejects(folder.folder)
        table = read.load(name, read.spec(name, feature.name))
        came = {reject.id: reject.reason for reject in rejects}
        came |= {id: "a row" if table.frames(n).valid.any() else "masked" for n, id in enumerate(table.clip_ids)}
        assert len(came) == len(rejects) + len(table) == feature.n_rows + feature.n_rejects == prepared.n_clips
        assert all(reject.detail.startswith(reject.path or reject.id) for reject in rejects), rejects
        found.append({id.partition("/")[2]: reason for id, reason in came.items()})
    lost: list[Reject] = read_rejects(read.folder / name)
    assert len(lost) == prepared.n_import_rejects
    found.append({f"{reject.id.partition('/')[2]} {reject.reason}": reject.detail for reject in lost})
    return found


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def test_sessions_of_mahnob(tmp_path: Path) -> None:
    root = tmp_path / "mahnob"
    film = Path(write_movie(tmp_path / "film.avi", 14.0, video="mpeg4", audio=None, frame_hz=5))

    def session(number: int, **sensors: Any) -> Path:
        folder = write_session(root, number)
        (folder / VIDEO).write_bytes(film.read_bytes())
        given = {"values": lively(20, sensors.get("rate_hz", 128)), "units": UNITS, "rate_hz": 128} | sensors
        write_sensors(folder / SENSORS, 20, given.pop("triggers_s", (4.0, 16.0)), **given)
        return folder

    session(2)
    cut(session(4) / SENSORS, 0.96)
    cut(session(6) / SENSORS, 0.5)
    session(8, channels=CHANNELS[10:], values={k: v for k, v in lively(20, 128).items() if k in CHANNELS[10:]})
    session(10, rate_hz=512)
    session(12, rate_hz=64)
    session(14, values={})  # all channels stand still
    session(16, triggers_s=())
    cut(session(18) / VIDEO, 0.5)
    (session(20) / VIDEO).write_bytes(b"<html>404</html>" * 20)
    cut(session(22) / "session.xml", 0.5)
    session(24, units=UNITS | {"GSR1": "furlong"})
    eeg, body, video, lost = became("mahnob", root, ["eeg-bands", "physio", BRIGHTNESS])
    rows = dict.fromkeys(("2", "4", "8", "10", "12", "18", "20", "24"), "a row")
    assert eeg == rows | {"6": "no-eeg", "8": "missing-channels", "12": "low-rate", "14": "masked", "16": "no-eeg"}
    assert body == rows | {"6": "no-physio", "14": "masked", "16": "no-physio", "24": "unknown-unit"}
    assert video == rows | {"6": "a row", "14": "a row", "16": "a row", "18": "truncated", "20": "not-media"}
    assert lost.keys() == {"6 truncated", "8 no-channel", "16 no-triggers", "22 bad-xml"}
    assert "holds 9 of 20 records" in lost["6 truncated"]


def test_utterances_of_ami(tmp_path: Path) -> None:
    root = put(tmp_path / "ami", FILES)
    segments = [segment(1.0, 2.2), segment(1.5, 3.0), segment(10, 12), segment(6, 5), segment(20.0, 21.0)]
    put(root, {f"{NXT}/segments/ES2002a.A.segments.xml": nxt(*segments)})
    for path in root.rglob("*.Headset-?.wav"):
        write_wav(path, voice(25.0), 16_000)
    for path in root.rglob("*.Closeup?.avi"):
        write_movie(path, 25.0, video="mpeg4", audio=None, frame_hz=5)
    for name in ("audio/ES2002a.Headset-1.wav", "video/ES2002a.Closeup4.avi"):  # of A, and those of B are whole
        cut(root / "amicorpus/ES2002a" / name, 0.6)
    sound, video, lost = became("ami", root, [LOUDNESS, BRIGHTNESS])
    expected = {
        "ES2002a.A.00001000-00002200": "a row",
        "ES2002a.A.00010000-00012000": "a row",
        "ES2002a.A.00020000-00021000": "truncated",
        "ES2002a.B.00001500-00004000": "a row",
    }
    assert sound == video == expected
    assert lost.keys() == {"ES2002a.A overlapping-segments", "ES2002a.A bad-times"}
    cut(root / NXT / "segments/ES2002a.A.segments.xml", 0.5)
    put(root, {"amicorpus/ES2002a/audio/ES2002a.Headset-0.wav": b"RIFF"})
    other = root.rename(tmp_path / "other")
    sound, lost = became("ami", other, [LOUDNESS])
    assert sound == {"ES2002a.B.00001500-00004000": "truncated"}
    assert lost.keys() == {"ES2002a.A broken-xml"}


def test_lines_of_a_table(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    write_wav(root / "whole.wav", voice(2.0), 16_000)
    cut(Path(write_wav(root / "half.wav", voice(2.0), 16_000)), 0.5)
    write_movie(root / "whole.avi", 2.0, video="mpeg4", audio=None)
    cut(Path(write_movie(root / "half.avi", 2.0, video="mpeg4", audio=None)), 0.5)
    for name in ("whole", "half", "tenth"):
        write_sensors(root / f"{name}.bdf", 12, rate_hz=128, values=lively(12, 128), units=UNITS)
    cut(root / "half.bdf", 0.5)
    cut(root / "tenth.bdf", 0.93)
    np.savetxt(root / "wrong.csv", np.ones((9, 2)), delimiter=",", header="seconds,Fp1", comments="")
    np.savetxt(
        root / "units.csv", np.ones((9, 36)), delimiter=",", header=f"timestamp,{','.join(ACTION_UNITS)}", comments=""
    )
    np.savetxt(root / "fewer.csv", np.ones((9, 2)), delimiter=",", header="timestamp,AU01_r", comments="")
    lines = ["clip_id,audio,video,eeg,openface,subject,start,end,valence,low,high"]
    lines += [f"{name},{name}.wav,{name}.avi,{name}.bdf,,ravdess/07,,,3,1,9" for name in ("whole", "half")]
    lines += ["tenth,,,tenth.bdf,units.csv,s,,,3,1,9", "text,,,wrong.csv,fewer.csv,s,,,9,1,9"]
    lines += ["beyond,whole.wav,whole.avi,whole.bdf,,s,30,40,3,1,9", "within,whole.wav,whole.avi,whole.bdf,,s,0.5,,3,,"]
    lines += ["out,../whole.wav,,,,s,,,3,1,9", "reversed,whole.wav,,,,s,2,1,3,1,9", "scale,whole.wav,,,,s,,,10,1,9"]
    lines += ["nobody,whole.wav,,,,,,,3,1,9", "short,whole.wav"]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    sound, video, eeg, units, lost = became(
        "table", root, [LOUDNESS, BRIGHTNESS, "eeg-bands", "openface"], Settings(name="own")
    )
    assert sound == {
        "whole": "a row",
        "half": "truncated",
        "beyond": "span-beyond-end",
        "within": "a row",
    } | dict.fromkeys(("tenth", "text"), "no-audio")
    assert video == {name: "no-video" if reason == "no-audio" else reason for name, reason in sound.items()}
    assert eeg == sound | {"tenth": "a row", "text": "not-media"}
    assert units == dict.fromkeys(sound, "no-openface") | {"tenth": "a row", "text": "missing-columns"}
    assert sorted(key.rpartition(" ")[2] for key in lost) == [
        "bad-row",
        "bad-span",
        "no-subject",
        "off-scale",
        "outside-root",
    ]
    subjects = {clip.id: clip.subject for clip in FeatureStore(tmp_path / "own-store").clips("own")}
    assert (subjects["own/whole"], subjects["own/within"]) == ("ravdess/07", "own/s")
