"""Sound to openSMILE: functionals over sliding windows in one pass, or of the whole clip, or the low-level frames.

openSMILE spends its time on low-level frames (one every 10 ms: pitch, formants, spectra). Called once per
window it computes each of them ten times over for windows of 1 s every 0.1 s; given `windows.conf` it
computes them once and only forms the functionals anew. docs/explanation/features.md says where the two
differ, and why.

Features: eGeMAPSv02 (Eyben et al. 2016), ComParE 2016 (Schuller et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features.spec import FeatureSpec, Frames, Kind

EGEMAPS = "egemaps/v02/eGeMAPSv02"  # openSMILE's own configurations, by path
COMPARE = "compare/ComParE_2016"
# Pitch is analysed in frames of 60 ms every 10 ms: below this there are fewer than five to form a mean of.
SHORTEST_S = 0.1
# What the last 60 ms frame of a window reaches beyond its own step of 10 ms.
OVERHANG_S = 0.05
# Low-level frames. Spectra hear 20 ms and pitch 60 ms, both from the same start: their centres are 10 and 30 ms later.
FRAME_STEP_S = 0.01
FRAME_CENTRE_S = 0.02
# Of sound before a window, that a live one hears as well: with it a row is what one pass over three seconds gives, but
# for 0.02 standard deviations (mean of 89 columns).
LEAD_S = 0.2
SILENCE = 1e-10  # mean power that is called silence: -100 dB re full scale

Sound = NDArray[np.float32]
Level = Literal["func", "lld"]  # openSMILE's names: functionals, low-level descriptors


class Windows(NamedTuple):
    """Sliding windows: their length and the step from one to the next, in seconds."""

    window_s: float
    hop_s: float


@dataclass(frozen=True, kw_only=True)
class OpenSmile:
    """Extractor of one openSMILE feature set. windows None: one row of functionals for the whole clip, or a row for
    each low-level frame.

    Window k hears the sound from k·hop_s to k·hop_s + window_s and nothing after it; what is left at the end
    (less than hop_s) is not heard. A clip shorter than one window gives one row over all of it. Silence
    inside a clip is heard: its rows are valid. A value that is not finite would become 0; openSMILE guards
    its own divisions, so this is a promise to those who read the store rather than a thing that was seen to
    happen.
    """

    spec: FeatureSpec
    feature_set: str
    level: Level = "func"
    windows: Windows | None = None
    medium: ClassVar[str] = "audio"
    kind: ClassVar[Kind] = "sound"
    rate_hz: ClassVar[float] = 16_000.0
    is_heavy: ClassVar[bool] = False

    @property
    def context_s(self) -> float | None:
        return None if self.windows is None else self.windows.window_s + LEAD_S

    def __call__(self, signal: Sound, rate_hz: float) -> Frames:
        """Frames of (N,) float32 in [-1, 1] at 16 kHz; below SHORTEST_S raises MediaError "too-short"."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"{self.spec.name} wants sound at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        length_s = len(signal) / rate_hz
        if length_s < SHORTEST_S:
            raise MediaError("too-short", f"{length_s:.3f} s of sound; {self.spec.name} needs {SHORTEST_S} s")
        if self.windows is None:
            rows = run_opensmile(signal, self.feature_set, self.level)
        else:
            fits = length_s >= self.windows.window_s
            rows = run_opensmile(signal, self.feature_set, windows=self.windows if fits else None)
            window, hop = (round(seconds * rate_hz) for seconds in self.windows)
            rows = np.column_stack([rows, log_energy_db(signal, window, hop, len(rows))])
        values = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        return Frames(values, np.ones(len(values), dtype=bool))


@dataclass(frozen=True, kw_only=True, slots=True)
class EgemapsSettings:
    """88 eGeMAPSv02 functionals and the log energy in dB of each sliding window: 89 columns."""

    window_s: float = 1.0
    """Length of a window, a multiple of 0.01 s and at least 0.1 s."""
    hop_s: float = 0.1
    """From one window to the next, a multiple of 0.01 s."""

    def build(self) -> OpenSmile:
        on_grid = all(abs(seconds * 100 - round(seconds * 100)) < 1e-9 for seconds in (self.window_s, self.hop_s))
        if self.window_s < SHORTEST_S or self.hop_s <= 0 or not on_grid:
            raise ExperimentError(
                f"window_s {self.window_s:g}, hop_s {self.hop_s:g}: use multiples of 0.01 s (openSMILE's frame step), "
                f"the window at least {SHORTEST_S} s"
            )
        columns = (*column_names(EGEMAPS), "logEnergy_dB")
        spec = FeatureSpec(
            name="egemaps",
            version=1,
            modality="audio",
            shape=(len(columns),),
            hop_s=self.hop_s,
            offset_s=self.window_s / 2,
            columns=columns,
            settings={**_settings(EGEMAPS), "window_s": self.window_s},
        )
        return OpenSmile(spec=spec, feature_set=EGEMAPS, windows=Windows(self.window_s, self.hop_s))


@dataclass(frozen=True, kw_only=True, slots=True)
class EgemapsClipSettings:
    """88 eGeMAPSv02 functionals of the whole clip: one row."""

    def build(self) -> OpenSmile:
        return _whole_clip("egemaps-clip", EGEMAPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class EgemapsLldSettings:
    """25 eGeMAPSv02 low-level descriptors (loudness, pitch, formants, spectrum): a row every 0.01 s."""

    def build(self) -> OpenSmile:
        columns = column_names(EGEMAPS, "lld")
        spec = FeatureSpec(
            name="egemaps-lld",
            version=1,
            modality="audio",
            shape=(len(columns),),
            hop_s=FRAME_STEP_S,
            offset_s=FRAME_CENTRE_S,
            columns=columns,
            settings=_settings(EGEMAPS),
        )
        return OpenSmile(spec=spec, feature_set=EGEMAPS, level="lld")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareClipSettings:
    """6373 ComParE 2016 functionals of the whole clip: one row."""

    def build(self) -> OpenSmile:
        return _whole_clip("compare-clip", COMPARE)


def _whole_clip(name: str, feature_set: str) -> OpenSmile:
    columns = column_names(feature_set)
    spec = FeatureSpec(
        name=name,
        version=1,
        modality="audio",
        shape=(len(columns),),
        hop_s=None,
        columns=columns,
        settings=_settings(feature_set),
    )
    return OpenSmile(spec=spec, feature_set=feature_set)


def _settings(feature_set: str) -> dict[str, str]:
    return {"feature_set": Path(feature_set).name, "opensmile": version("opensmile")}


def log_energy_db(signal: Sound, window: int, hop: int, n_windows: int) -> NDArray[np.float64]:
    """Mean power of each window in dB re full scale, at least -100; all lengths in samples."""
    power = np.concatenate([[0.0], np.cumsum(np.square(signal, dtype=np.float64))])
    starts = np.arange(n_windows) * hop
    ends = np.minimum(starts + window, len(signal))
    # Differences of a running sum may fall below zero by rounding.
    return 10 * np.log10(np.maximum((power[ends] - power[starts]) / (ends - starts), SILENCE))


def run_opensmile(
    signal: Sound, feature_set: str, level: Level = "func", windows: Windows | None = None
) -> NDArray[np.float32]:
    """Rows (T, D) of sound at 16 kHz as openSMILE gives them; of functionals without windows, T = 1.

    By openSMILE's C interface: the pandas frames that `opensmile.Smile` wraps around it cost another tenth.
    Setting up an instance takes 5 ms, and reusing one by `reset` is no faster.
    """
    options: dict[str, object] = {}
    if windows is not None:
        options = {
            "frameModeFunctionalsConf": Path(__file__).with_name("windows.conf"),
            "windowSize": round(windows.window_s - OVERHANG_S, 2),
            "windowStep": windows.hop_s,
        }
    smile = _instance(feature_set, level, options)
    rows: list[NDArray[np.float32]] = []
    try:
        smile.external_sink_set_callback_ex("extsink", lambda data, _: rows.append(data.copy()))
        pcm = np.clip(np.rint(signal * 32768.0), -32768, 32767).astype("<i2")  # or +1.0 wraps to -1.0
        smile.external_audio_source_write_data("extsource", pcm.tobytes())
        smile.external_audio_source_set_eoi("extsource")
        smile.run()
    finally:
        smile.free()
    return np.concatenate(rows)


@cache
def column_names(feature_set: str, level: Level = "func") -> tuple[str, ...]:
    """Names of the columns of a feature set, in openSMILE's order."""
    smile = _instance(feature_set, level, {})
    n_columns = smile.external_sink_get_num_elements("extsink")
    names = tuple(smile.external_sink_get_element_name("extsink", i) for i in range(n_columns))
    smile.free()
    return names


def _instance(feature_set: str, level: Level, options: dict[str, object]) -> Any:
    """A fresh openSMILE, set up as `opensmile.Smile` sets it up for an array."""
    import opensmile
    from opensmile.core.lib import OpenSMILE

    root = Path(opensmile.__file__).parent / "core" / "config"
    smile = OpenSMILE()
    smile.initialize(
        str(root / f"{feature_set}.conf"),
        {
            "source": root / "shared/standard_external_wave_input.conf.inc",
            "sampleRate": int(OpenSmile.rate_hz),
            "nBits": 16,
            "sink": root / "shared/standard_external_data_output_single.conf.inc",
            "sinkLevel": level,
            "bufferModeRbConf": root / "shared/BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": root / "shared/FrameModeFunctionals.conf.inc",
            **options,
        },
        loglevel=0,
    )
    return smile
