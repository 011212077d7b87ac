"""Sessions in the layout of MAHNOB-HCI, small and made to order, for tests of what happens to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mien.corpora.mahnob import BODY_CHANNELS, EEG_CHANNELS

VIDEO = "P1-Rec1-2009.07.09.17.53.46_C1 trigger _C_Section_2.avi"
SOUND = "P1-Rec1-Audio_Section_2.wav"
SENSORS = "Part_1_S_Trial1_emotion.bdf"
GAZE = "P1-Rec1-All-Data-New_Section_2.tsv"
CHANNELS = (*EEG_CHANNELS, *BODY_CHANNELS)
ATTRIBUTES = {
    "sessionId": "2",
    "experimentType": "emotion elicitation",
    "isStim": "1",
    "feltEmo": "11",
    "feltArsl": "6",
    "feltVlnc": "8.0",
    "feltCtrl": "5",
    "feltPred": "4",
    "cutLenSec": "12.5",
    "mediaFile": "69.avi",
    "vidRate": "61.0",
    "vidBeginSmp": "6100.0",
    "vidEndSmp": "6893.0",
    "audRate": "44100",
    "audBeginSmp": "4410000",
    "audEndSmp": "4983300",
}


def write_sensors(
    path: Path,
    seconds: float = 20,
    triggers_s: Sequence[float] = (4.0, 14.0),
    *,
    rate_hz: int = 64,
    channels: Sequence[str] = CHANNELS,
    values: Mapping[str, NDArray[np.float64]] | None = None,
    units: Mapping[str, str] | None = None,
    status: bool = True,
) -> None:
    """A BDF of these channels in records of a second; values of those that are given, else zeros."""
    import edfio

    n_samples = round(seconds * rate_hz)
    found = {name: np.zeros(n_samples) for name in channels} | dict(values or {})
    if status:
        found["Status"] = np.where(np.arange(n_samples) < rate_hz, 0, 1 << 20)  # the electrodes came into range
        for at_s in triggers_s:
            found["Status"][round(at_s * rate_hz) : round(at_s * rate_hz) + 8] |= 16
    signals = [
        edfio.BdfSignal(
            samples.astype(float),
            rate_hz,
            label=name,
            physical_dimension=(units or {}).get(name, ""),
            physical_range=(-(2.0**23), 2.0**23 - 1),
        )
        for name, samples in found.items()
    ]
    edfio.Bdf(signals, data_record_duration=1).write(path)


UNITS = dict.fromkeys(CHANNELS, "uV") | {"GSR1": "Ohm", "Temp": "degC"}


def lively(seconds: float, rate_hz: int) -> dict[str, NDArray[np.float64]]:
    """EEG and body with something to find in each channel that is read."""
    rng = np.random.default_rng(0)
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    alpha = {
        name: 20 * np.sin(2 * np.pi * 10 * times_s + k) + rng.normal(0, 5, len(times_s))
        for k, name in enumerate(EEG_CHANNELS)
    }
    beat = 1000 * np.exp(-(((times_s * 1.25) % 1 - 0.5) ** 2) / 0.0005)
    body = {"EXG3": beat, "GSR1": 3e5 - 1e3 * times_s, "Resp": 900 * np.sin(np.pi * times_s), "Temp": 31 + times_s}
    return alpha | body


def write_gaze(path: Path, stimulus_ms: float, anchor_ms: float, anchor_sample: float) -> None:
    """A table of the eye tracker of two rows that matter, and some that do not."""
    rows = [f"{anchor_ms}\t-1\t\t{anchor_sample}", f"{anchor_ms + 5}\t512\t\t", f"{stimulus_ms}\t-1\tMovieStart\t"]
    header = ["about the recording"] * 23 + ["Timestamp\tGazePointX\tEvent\tAudioSampleNumber"]
    path.write_text("\n".join([*header, *rows]) + "\n")


def session_xml(
    attributes: Mapping[str, str | None] | None = None, subject: str | None = "1", tracks: Sequence[str] | None = None
) -> str:
    """The text of a session.xml; an attribute of None is left out. tracks: elements in place of the usual ones."""
    stated = {name: text for name, text in {**ATTRIBUTES, **(attributes or {})}.items() if text is not None}
    root = ElementTree.Element("session", stated)
    if subject is not None:
        ElementTree.SubElement(root, "subject", id=subject)
    usual = (
        '<track type="Video" color="0" filename="P1-Rec1_BW1_Section_2.avi"/>',
        f'<track type="Video" color="1" filename="{VIDEO}"><annotation type="Gaze" filename="{GAZE}"/></track>',
        f'<track type="Audio" filename="{SOUND}"/>',
        f'<track type="Physiological" filename="{SENSORS}"/>',
    )
    for track in usual if tracks is None else tracks:
        root.append(ElementTree.fromstring(track))
    return ElementTree.tostring(root, encoding="unicode")


def write_session(root: Path, number: int = 2, text: str | None = None) -> Path:
    """Sessions/<number> with all its files; only its BDF is more than a name."""
    folder = root / "Sessions" / str(number)
    folder.mkdir(parents=True)
    (folder / "session.xml").write_text(text or session_xml({"sessionId": str(number)}))
    write_sensors(folder / SENSORS)
    for name in (VIDEO, SOUND, "P1-Rec1_BW1_Section_2.avi"):
        (folder / name).write_bytes(b"RIFF")
    write_gaze(folder / GAZE, 7000.0, 7000.0, 4_410_000)  # the film began at the cut
    (folder / "P1-Rec1-Guide-Cut.tsv").write_text("Action\tName\n")
    return folder
