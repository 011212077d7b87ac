"""What a self-supervised speech encoder says of a voice: its hidden states, a row every so many milliseconds.

wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022), data2vec (Baevski et al. 2022),
as transformers has them. One clip at a time: most were trained without masks, and give a clip that is padded to the
length of another other numbers.

Runs on as many threads as torch is allowed: a program that fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features.extractors.pooling import mean_rows, rows_of
from mien.features.extractors.pretrained import (
    Precision,
    Pretrained,
    find_pretrained,
    load_description,
    load_network,
    refused,
)
from mien.features.spec import FeatureSpec, Frames, Kind

PUBLISHED = "facebook/wav2vec2-base-960h"  # the base model of the field whose safetensors are on the hub
MODELS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
# What "random" is: a WavLM with two small layers.
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}

Sound = NDArray[np.float32]


class Clock(NamedTuple):
    """When an encoder's frames are, in samples: from one to the next, and the length of sound that each hears."""

    step: int
    reach: int

    def n_frames(self, n_samples: int) -> int:
        """Frames that lie within so many samples."""
        return max((n_samples - self.reach) // self.step + 1, 0)


class Stretch(NamedTuple):
    """Frames first..end are encoded together, of which those from keep to keep_end are kept."""

    first: int
    end: int
    keep: int
    keep_end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechEncoderSettings:
    """Hidden states of WavLM, HuBERT, wav2vec 2.0 or data2vec: 25 rows a second, 768 numbers for a base model."""

    model: str = PUBLISHED
    """A folder or s3:// URI with config.json, preprocessor_config.json and model.safetensors, or a model's name on the
    Hugging Face hub, from where it is fetched once; "random": a tiny WavLM with seeded random weights, for trials of
    the machinery only."""
    revision: str | None = None
    """On the hub: a branch, a tag or, so that it stays the same, a commit."""
    sha256: str | None = None
    """What the SHA-256 of model.safetensors must be, in hex."""
    layer: int | Literal["mean"] = "mean"
    """0 is what the first layer is given, 1 what it gives, -1 what the last gives; or the mean of all of these."""
    hop_s: float = 0.04
    """From one row to the next, a multiple of the encoder's own step (0.02 s): a row is the mean of its frames."""
    window_s: float = 15.0
    """Longer sound is encoded in windows of so many seconds, at least 1, that overlap by a fifth. Time and memory grow
    with the square of it; the models were trained on stretches of about 15 s."""
    precision: Precision = "float32"
    """bfloat16 takes less than half of the time on CPUs that have it (avx512_bf16, AMX) and many times longer
    elsewhere."""

    def build(self) -> SpeechEncoder:
        """Raises MienError for a model that cannot be had, that is damaged or that is none of these."""
        if self.window_s < 1:
            raise ExperimentError(f"window_s {self.window_s:g}: must be at least 1")
        found = find_pretrained(self.model, self.revision, self.sha256)
        config, clock, rate_hz, normalises = described(found)
        n_layers = config.num_hidden_layers
        layer = self.layer
        if layer != "mean" and not -n_layers - 1 <= layer <= n_layers:
            raise ExperimentError(f"layer {layer}: this model has 0..{n_layers}, or mean")
        try:
            n_frames = rows_of(self.hop_s, clock.step / rate_hz)
        except ValueError as error:
            raise ExperimentError(f"{error}, which is the step of this model") from None
        load_encoder(found, self.precision)  # what is damaged is refused once, not clip by clip
        kind = config.model_type.replace("-", "_")
        spec = FeatureSpec(
            name="speech-encoder",
            version=1,
            modality="audio",
            shape=(config.hidden_size,),
            hop_s=self.hop_s,
            offset_s=(clock.reach + (n_frames - 1) * clock.step) / 2 / rate_hz,
            columns=tuple(f"{kind}_{i:04}" for i in range(config.hidden_size)),
            settings={
                **found.sums,
                "layer": layer if layer == "mean" or layer >= 0 else n_layers + 1 + layer,
                "window_s": self.window_s,
                "precision": self.precision,
                "normalises": normalises,
            },
        )
        return SpeechEncoder(spec=spec, found=found, clock=clock, rate_hz=rate_hz)


@dataclass(frozen=True, kw_only=True)
class SpeechEncoder:
    """Extractor of an encoder's hidden states.

    Nothing is added at the ends of the sound; frames at the end that are less than a row are left out, and where there
    is less than one row, it is one over the whole clip. Silence is heard.
    """

    spec: FeatureSpec
    found: Pretrained
    clock: Clock
    rate_hz: float
    medium: ClassVar[str] = "audio"
    kind: ClassVar[Kind] = "sound"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Sound, rate_hz: float) -> Frames:
        """Frames of (N,) float32 in [-1, 1] at the model's rate; less than one of its frames raises MediaError
        "too-short"."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"speech-encoder wants sound at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        n_frames = self.clock.n_frames(len(signal))
        if not n_frames:
            needs = f"speech-encoder needs {self.clock.reach / rate_hz:g} s"
            raise MediaError("too-short", f"{len(signal) / rate_hz:.3f} s of sound; {needs}")
        settings, step_s = self.spec.settings, self.clock.step / rate_hz
        encode = load_encoder(self.found, settings["precision"])
        kept = [
            encode(part, settings["layer"])[stretch.keep - stretch.first : stretch.keep_end - stretch.first]
            for stretch, part in self._parts(prepared(signal, settings["normalises"]), n_frames)
        ]
        assert self.spec.hop_s is not None
        values = mean_rows(np.concatenate(kept), rows_of(self.spec.hop_s, step_s))
        return Frames(values.astype(np.float32), np.ones(len(values), dtype=bool))

    def _parts(self, sound: Sound, n_frames: int) -> Iterator[tuple[Stretch, Sound]]:
        step, reach = self.clock
        for stretch in stretches(n_frames, round(self.spec.settings["window_s"] * self.rate_hz / step)):
            # The last hears what is too little for a frame, as transformers has it: a group norm over time knows it.
            end = len(sound) if stretch.end == n_frames else (stretch.end - 1) * step + reach
            yield stretch, sound[stretch.first * step : end]


def stretches(n_frames: int, window: int) -> Iterator[Stretch]:
    """The windows of so many frames in which a sound is encoded. Two of them overlap by a fifth, in the middle of which
    the later one takes over, so that each frame kept is far from an end that is none of the sound.

    >>> [tuple(s) for s in stretches(22, 10)]
    [(0, 10, 0, 9), (8, 18, 9, 17), (16, 22, 17, 22)]
    """
    overlap = window // 5
    first = keep = 0
    while first + window < n_frames:
        following = first + window - overlap
        yield Stretch(first, first + window, keep, following + overlap // 2)
        first, keep = following, following + overlap // 2
    yield Stretch(first, n_frames, keep, n_frames)


def prepared(sound: Sound, normalises: bool) -> Sound:
    """The whole clip as the model was trained on it: as it is, or with mean 0 and variance 1."""
    return (sound - sound.mean()) / np.sqrt(sound.var() + np.float32(1e-7)) if normalises else sound


def described(found: Pretrained) -> tuple[Any, Clock, float, bool]:
    """Its configuration, its clock, the rate in Hz of the sound that it takes, and whether that is normalised."""
    from transformers import AutoConfig, Wav2Vec2FeatureExtractor, WavLMConfig

    if found.folder is None:
        config, preprocessor = WavLMConfig(**TINY), Wav2Vec2FeatureExtractor()
    else:
        config = load_description(found, AutoConfig)
        if config.model_type not in MODELS:
            raise refused(found.model, f"cannot be used (a {config.model_type} and none of {', '.join(MODELS)})")
        preprocessor = load_description(found, Wav2Vec2FeatureExtractor)
    step = reach = 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        reach, step = reach + (kernel - 1) * step, step * stride
    return config, Clock(step, reach), float(preprocessor.sampling_rate), bool(preprocessor.do_normalize)


@cache
def load_encoder(found: Pretrained, precision: Precision) -> Callable[[Sound, int | str], NDArray[np.float32]]:
    """Function from prepared sound (N,) to the hidden states (T, D) of a layer, or their mean; one in a process."""
    import torch

    config = described(found)[0]
    network = load_network(found, config, precision, unused="masked_spec_embed")  # of pre-training only

    def encode(sound: Sound, layer: int | str) -> NDArray[np.float32]:
        with torch.inference_mode():
            given = torch.tensor(sound)[None].to(network.dtype)
            states = network(given, output_hidden_states=True).hidden_states
            chosen = torch.stack(states).float().mean(dim=0) if layer == "mean" else states[layer].float()
            return chosen[0].numpy()

    return encode
