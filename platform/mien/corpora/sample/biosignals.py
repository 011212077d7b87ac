"""What sensors record of a person who watches a film: EEG, heart, skin, breath and a finger's temperature.

Made, not simulated: each signal has its usual size, band and shape, and follows valence and arousal in the direction
that is reported most often (Kreibig 2010, Biological Psychology 84: 394-421; of the EEG, Davidson 1992, Brain and
Cognition 20: 125-151). Alpha (10 Hz) is weaker over the left forehead in pleasure, over the right one in displeasure;
beta (20 Hz), heart rate, breathing rate and skin conductance rise with arousal, beats vary less, the finger cools. At
the moment that the face shows most there is a wave in the EEG, and after it a response of the skin.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mien.corpora.mahnob import BODY_CHANNELS, EEG_CHANNELS
from mien.corpora.sample.performance import Floats, Person, randomness

# Electrodes whose alpha tells pleasure from displeasure, left and right, each with how much it tells.
LEFT = {"Fp1": 0.7, "AF3": 1.0, "F3": 1.0, "F7": 0.8, "FC5": 0.6, "FC1": 0.5}
RIGHT = {"Fp2": 0.7, "AF4": 1.0, "F4": 1.0, "F8": 0.8, "FC6": 0.6, "FC2": 0.5}
POSTERIOR = ("P3", "P4", "P7", "P8", "PO3", "PO4", "O1", "O2", "Oz", "Pz", "CP1", "CP2")
MIDLINE = {"Pz": 1.0, "Cz": 0.8, "CP1": 0.7, "CP2": 0.7, "P3": 0.6, "P4": 0.6, "Fz": 0.4}
WAVE_S = 0.35  # from the event to the top of its wave, as of a P300
SKIN_DELAY_S = 1.2  # from the event to the onset of a response of the skin
_WAVE_UV, _WAVE_WIDTH_S = 14.0, 0.09


class Felt:
    """What a person feels, on the clip's clock. valence, arousal: at its strongest, about -1 to 1.

    share: of it that is felt at some times, 0 before the film, 1 at event_s.
    """

    def __init__(self, valence: float, arousal: float, event_s: float, share: Callable[[Floats], Floats]) -> None:
        self.valence, self.arousal, self.event_s, self.share = valence, arousal, event_s, share


def record(person: Person, name: str, felt: Felt, time_s: Floats, rate_hz: int) -> dict[str, Floats]:
    """Channel to its samples at these times: EEG and EXG in uV, GSR in ohm, Resp in uV, Temp in degrees Celsius."""
    random = randomness(person.seed, person.name, name, "sensors")
    breath_phase = _breath_phase(person, felt, time_s, rate_hz, random)
    heart = _ecg(person, felt, time_s, rate_hz, breath_phase, random)
    resistance_ohm = 1e6 / _conductance_us(person, felt, time_s, rate_hz, random)
    n_samples = len(time_s)
    found = dict(zip(EEG_CHANNELS, _eeg(person, felt, time_s, rate_hz, random)))
    for channel, gain in zip(BODY_CHANNELS[:3], (0.6, 0.8, 1.0)):  # EXG3, on the belly, is the cleanest
        found[channel] = gain * heart + 12 * random.standard_normal(n_samples)
    found |= {f"EXG{n}": 8 * random.standard_normal(n_samples) for n in range(4, 9)}
    found["GSR1"] = resistance_ohm * (1 + 2e-4 * random.standard_normal(n_samples))
    found["GSR2"] = found["Erg1"] = found["Erg2"] = np.zeros(n_samples)
    belt = 1 + 0.2 * person.draw("belt")[0]
    found["Resp"] = 1e4 * belt * np.sin(breath_phase) + 150 * random.standard_normal(n_samples)
    found["Temp"] = _finger_degc(person, felt, time_s, rate_hz, random)
    return found


def _eeg(person: Person, felt: Felt, time_s: Floats, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(32, N) in uV: noise that falls with frequency, alpha, beta and the wave of the event.

    Every rhythm is part one source that all electrodes see, part their own.
    """
    n_channels, n_samples = len(EEG_CHANNELS), len(time_s)
    share = felt.share(time_s)
    own_hz = 10 + 0.6 * person.draw("alpha frequency")[0]
    alpha_uv = np.full(n_channels, 5.0) + 6.0 * np.isin(EEG_CHANNELS, POSTERIOR)
    alpha_uv *= np.exp(0.2 * person.draw("alpha")[0])
    tilt = np.array([RIGHT.get(name, 0.0) - LEFT.get(name, 0.0) for name in EEG_CHANNELS])
    tilt = np.exp(np.outer(tilt, 0.35 * felt.valence * share + 0.08 * person.draw("asymmetry")[0]))
    beta_uv = 2.2 * np.exp(0.2 * person.draw("beta")[0] + 0.45 * felt.arousal * share)
    eeg = 8 * _rhythm(n_channels, n_samples, rate_hz, lambda hz: 1 / np.maximum(hz, 1.0), random)
    eeg += alpha_uv[:, None] * tilt * _rhythm(n_channels, n_samples, rate_hz, _band(own_hz, 1.0), random)
    eeg += beta_uv * _rhythm(n_channels, n_samples, rate_hz, _band(20.0, 4.0), random)
    size_uv = _WAVE_UV * (1 + 0.6 * felt.arousal)
    wave = size_uv * np.exp(-(((time_s - felt.event_s - WAVE_S) / _WAVE_WIDTH_S) ** 2))
    return eeg + np.outer([MIDLINE.get(name, 0.1) for name in EEG_CHANNELS], wave)


def _band(middle_hz: float, width_hz: float) -> Callable[[Floats], Floats]:
    return lambda hz: np.exp(-(((hz - middle_hz) / width_hz) ** 2))


def _rhythm(
    n_channels: int, n_samples: int, rate_hz: int, shape: Callable[[Floats], Floats], random: np.random.Generator
) -> NDArray[np.float64]:
    """(channels, N) of noise with this amplitude over frequency, each of standard deviation 1."""
    spectrum = np.fft.rfft(random.standard_normal((n_channels + 1, n_samples)))
    amplitude = shape(np.asarray(np.fft.rfftfreq(n_samples, 1 / rate_hz), np.float64))
    amplitude[0] = 0
    noise = np.fft.irfft(spectrum * amplitude, n_samples)
    noise /= noise.std(axis=1, keepdims=True)
    return 0.6 * noise[0] + 0.8 * noise[1:]


def _breath_phase(person: Person, felt: Felt, time_s: Floats, rate_hz: int, random: np.random.Generator) -> Floats:
    """In radians: 0.24 breaths a second, more with arousal."""
    breaths_hz = 0.24 * np.exp(0.1 * person.draw("breath")[0] + 0.35 * felt.arousal * felt.share(time_s))
    return 2 * np.pi * (np.cumsum(breaths_hz) / rate_hz + random.random())


def _ecg(
    person: Person, felt: Felt, time_s: Floats, rate_hz: int, breath_phase: Floats, random: np.random.Generator
) -> Floats:
    """In uV: beats whose rate follows arousal and breath, each of five waves (after McSharry et al. 2003)."""
    strength = felt.arousal * felt.share(time_s)
    rate = (68 + 6 * person.draw("heart")[0] + 16 * strength) / 60
    swing = 0.07 * np.exp(-0.9 * strength) * np.sin(breath_phase)  # sinus arrhythmia, less of it when aroused
    phase = np.cumsum(rate * (1 + swing)) / rate_hz + random.random()
    jitter = 0.012 * random.standard_normal(int(phase[-1]) + 2)
    phase += jitter[phase.astype(int)]
    within = phase % 1
    ecg = np.zeros_like(time_s)
    for at, width, size_uv in ((0.30, 0.03, 110), (0.47, 0.008, -120), (0.5, 0.011, 1100), (0.53, 0.009, -250)):
        ecg += size_uv * np.exp(-(((within - at) / width) ** 2))
    return ecg + 250 * np.exp(-(((within - 0.8) / 0.06) ** 2))


def _conductance_us(person: Person, felt: Felt, time_s: Floats, rate_hz: int, random: np.random.Generator) -> Floats:
    """In microsiemens: a level, and responses that rise in a second and fall in some."""
    level_us = 5 * np.exp(0.3 * person.draw("skin")[0])
    level = level_us * (1 + 0.12 * felt.arousal * np.cumsum(felt.share(time_s)) / len(time_s))
    pulses = np.zeros_like(time_s)
    sizes_us = {felt.event_s + SKIN_DELAY_S: 0.55 * np.exp(1.2 * felt.arousal)}
    n_others = random.poisson(0.08 * np.exp(felt.arousal) * (time_s[-1] - time_s[0]))
    sizes_us |= dict.fromkeys(random.uniform(time_s[0], time_s[-1], n_others), 0.12)
    for at_s, size_us in sizes_us.items():
        place = int(np.searchsorted(time_s, at_s))
        if place < len(pulses):
            pulses[place] += size_us
    after_s = np.arange(0, 12, 1 / rate_hz)
    response = np.exp(-after_s / 2.5) - np.exp(-after_s / 0.6)  # Bateman function (Alexander et al. 2005)
    n_samples = len(time_s)
    n_fft = n_samples + len(response)
    shaped = np.fft.irfft(np.fft.rfft(pulses, n_fft) * np.fft.rfft(response / response.max(), n_fft), n_fft)
    return np.asarray(level + shaped[:n_samples], np.float64)


def _finger_degc(person: Person, felt: Felt, time_s: Floats, rate_hz: int, random: np.random.Generator) -> Floats:
    """Falls by a few tenths of a degree with arousal, less where it is pleasant."""
    towards = -0.35 * felt.arousal + 0.12 * felt.valence
    drift = towards * np.cumsum(felt.share(time_s)) / rate_hz / 10
    return 32.5 + 1.2 * person.draw("finger")[0] + drift + 0.004 * random.standard_normal(len(time_s))
