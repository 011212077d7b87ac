"""A synthetic voice: glottal pulses through formants (source and filter, Fant 1960).

Pitch, range, loudness, brightness and roughness follow the emotion, roughly as Juslin & Laukka 2003 report
for actors; tempo is the performance's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.corpora.sample.performance import Floats, Performance, randomness

VOICE_RATE_HZ = 48_000

# Pitch and pitch range in semitones, loudness in dB, brightness (share of the undamped source), roughness.
MANNERS: dict[str, tuple[float, ...]] = {
    "neutral": (0.0, 2.0, 0.0, 0.45, 0.10),
    "calm": (-1.0, 1.2, -2.0, 0.35, 0.05),
    "happiness": (4.5, 5.0, 4.0, 0.60, 0.10),
    "sadness": (-1.0, 1.0, -6.0, 0.15, 0.20),
    "anger": (3.0, 3.5, 8.0, 0.95, 0.35),
    "fear": (5.5, 1.5, 1.0, 0.45, 0.60),
    "disgust": (-2.5, 2.8, 1.0, 0.55, 0.55),
    "surprise": (6.5, 6.5, 3.0, 0.60, 0.10),
}
SPREAD = (1.0, 0.6, 1.5, 0.10, 0.08)

# First four formants in Hz of /a/, /i/ and /u/ of an adult male (Peterson & Barney 1952), and bandwidths.
FORMANTS_HZ = ((730, 1090, 2440, 3400), (270, 2290, 3010, 3700), (300, 870, 2240, 3300))
BANDWIDTHS_HZ = (80, 100, 140, 200)
PITCH_HZ = {"male": 115.0, "female": 200.0}
TRACT = {"male": 1.0, "female": 1.17}  # formants of a shorter vocal tract lie higher


def speak(performance: Performance, rate_hz: int) -> npt.NDArray[np.float32]:
    """The sound of a performance, mono, within -1..1; the same performance sounds the same each time."""
    random = randomness(performance.person.seed, performance.person.name, performance.name, "voice")
    n_samples = round(performance.duration_s * rate_hz)
    time_s = np.arange(n_samples) / rate_hz
    manner = performance.blend(MANNERS, SPREAD)
    shown = performance.expressed(time_s)

    pitch_hz = _pitch_hz(performance, time_s, shown, manner, random)
    source = _glottal_pulses(pitch_hz / rate_hz, np.clip(manner[3], 0.05, 1.0))
    source += 0.03 * random.standard_normal(n_samples)  # breath
    voice = _articulate(source, performance, time_s, rate_hz, random)

    level_db = manner[2] * shown + 2 * performance.person.draw("level")[0] + 1.5 * random.standard_normal()
    voice *= performance.voicing(time_s) * 10 ** (level_db / 20)
    # A fixed gain, so that loudness differs between clips; tanh keeps the loudest within range.
    room = 0.0015 * random.standard_normal(n_samples)
    return np.tanh(0.12 * voice + room).astype(np.float32)


def _pitch_hz(
    performance: Performance, time_s: Floats, shown: Floats, manner: Floats, random: np.random.Generator
) -> Floats:
    """Pitch contour: the emotion's shift, an accent a syllable, a fall towards the end, and jitter."""
    person = performance.person
    accents = random.uniform(-0.6, 1.0, len(performance.syllables_s))
    contour = np.interp(time_s, performance.syllables_s, accents)
    fall = 1.5 * (0.5 - time_s / performance.duration_s)
    # Jitter changes from pulse to pulse, here every 8 ms.
    knots_s = np.arange(0, performance.duration_s + 0.008, 0.008)
    jitter = np.interp(time_s, knots_s, random.standard_normal(len(knots_s)))
    semitones = manner[0] * shown + max(manner[1], 0.3) * shown * contour + fall
    semitones += max(manner[4], 0.02) * shown * jitter + 1.5 * person.draw("pitch")[0]
    return PITCH_HZ[person.sex] * 2 ** (semitones / 12)


def _glottal_pulses(cycles_per_sample: Floats, brightness: float) -> Floats:
    """Derivative of the glottal flow (Klatt & Klatt 1990), damped towards dull as brightness falls to 0."""
    from scipy.signal import lfilter

    phase = np.cumsum(cycles_per_sample) % 1.0
    opening = phase / 0.6  # the glottis is open for 60 % of a cycle
    pulses = np.where(opening < 1, 2 * opening - 3 * opening**2, 0.0)
    dull = lfilter([0.08], [1, -0.92], pulses)
    return brightness * pulses + (1 - brightness) * dull


def _articulate(
    source: Floats, performance: Performance, time_s: Floats, rate_hz: int, random: np.random.Generator
) -> Floats:
    """The source through the formants of one vowel a syllable, gliding from each to the next."""
    from scipy.signal import lfilter

    person = performance.person
    scale = TRACT[person.sex] * (1 + 0.05 * person.draw("tract")[0])
    vowels = random.integers(len(FORMANTS_HZ), size=len(performance.syllables_s))
    voice = np.zeros_like(source)
    for vowel, formants_hz in enumerate(FORMANTS_HZ):
        sound = source
        for formant_hz, bandwidth_hz in zip(formants_hz, BANDWIDTHS_HZ):
            radius = np.exp(-np.pi * bandwidth_hz / rate_hz)
            angle = 2 * np.pi * formant_hz * scale / rate_hz
            poles = [1, -2 * radius * np.cos(angle), radius**2]
            sound = lfilter([sum(poles)], poles, sound)  # gain 1 at 0 Hz
        voice += np.interp(time_s, performance.syllables_s, vowels == vowel) * sound
    return voice
