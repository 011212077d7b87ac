"""The bare call of the library behind each extractor, on a signal that is decoded: what cannot be saved.

Each function takes an extractor and a signal, makes ready what the library is given, and returns what is timed. Of an
extractor that is not here, the work is numpy's and its own, or no library does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Call = Callable[[], object]


def _opensmile_windows(extractor: Any, sound: Any) -> Call:
    from mien.features.extractors.opensmile import run_opensmile

    return lambda: run_opensmile(sound, extractor.feature_set, windows=extractor.windows)


def _opensmile(extractor: Any, sound: Any) -> Call:
    import opensmile

    name = extractor.feature_set.rpartition("/")[2]
    level = {"func": "Functionals", "lld": "LowLevelDescriptors"}[extractor.level]
    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel[level])
    return lambda: smile.process_signal(sound, extractor.rate_hz)


def _speech_encoder(extractor: Any, sound: Any) -> Call:
    """All of a clip in one forward pass: of sound longer than a window, that is not what mien does."""
    import torch

    from mien.features.extractors.speech_encoder import prepared

    network = _network(extractor.folder)
    given = torch.tensor(prepared(sound, extractor.spec.settings["normalises"]))[None]
    return lambda: _forward(network, given, output_hidden_states=True)


def _image_encoder(extractor: Any, faces: Any) -> Call:
    """The faces of a clip, eight at a time."""
    import torch

    from mien.features.extractors.frames import cut

    settings = extractor.spec.settings
    network, size_px = _network(extractor.found.folder), settings["size_px"]
    cuts = [cut(picture, box, settings["margin"], size_px) for picture, box in faces if box is not None]
    pixels = torch.from_numpy(np.array(cuts, np.float32) / 255).permute(0, 3, 1, 2)
    return lambda: [_forward(network, some) for some in pixels.split(8)] if cuts else None


def _facenet(extractor: Any, faces: Any) -> Call:
    """The faces of a clip, 16 at a time, by facenet-pytorch's network as it is."""
    import torch

    from mien.features.extractors.facenet import crop

    crops = [torch.from_numpy(crop(picture, box)) for picture, box in faces if box is not None]
    network = _facenet_network(extractor.weights)
    return lambda: [_forward(network, some) for some in torch.stack(crops).split(16)] if crops else None


def _frames(extractor: Any, faces: Any) -> Call:
    """Pillow's crop and resize, to whole pixels."""
    from PIL import Image

    size_px, margin = extractor.spec.shape[0], extractor.spec.settings["margin"]

    def cut(picture: Any, box: Any) -> Any:
        half = (box[2:] - box[:2]).max() * (0.5 + margin)
        centre = (box[:2] + box[2:]) / 2
        left, top, right, bottom = np.rint([*(centre - half), *(centre + half)]).astype(int).tolist()
        face = Image.fromarray(picture).crop((left, top, right, bottom))
        return np.asarray(face.resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=3.0))

    return lambda: [cut(picture, box) for picture, box in faces if box is not None]


def _blendshapes(extractor: Any, pictures: Any) -> Call:
    """The loop of MediaPipe's guide, with a landmarker of its own for each film."""
    from mien.features.extractors.blendshapes import import_mediapipe, landmarker
    from mien.features.extractors.weights import read_weights

    import_mediapipe()
    from mediapipe import Image, ImageFormat

    model, _ = read_weights(extractor.model)
    images = [Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture)) for picture in pictures]

    def loop() -> None:
        with landmarker(model) as of_clip:
            for number, image in enumerate(images):
                of_clip.detect_for_video(image, round(1000 * number / extractor.rate_hz))

    return loop


def _eeg_bands(extractor: Any, signal: Any) -> Call:
    """scipy's filter, and its density of each window."""
    from scipy.signal import periodogram

    from mien.features.extractors.eeg_signal import high_passed
    from mien.features.extractors.sensors import cut, window_starts

    values = _eeg(extractor, signal)
    starts, length = window_starts(len(signal.values), signal.rate_hz, extractor.window_s, extractor.spec.hop_s)

    def call() -> None:
        for samples in high_passed(values, signal.rate_hz):
            periodogram(cut(samples, starts, length), signal.rate_hz, "hann", detrend="constant")

    return call


def _eeg_raw(extractor: Any, signal: Any) -> Call:
    """scipy's filters, and its resampling."""
    from scipy.signal import cheby2, sosfiltfilt

    from mien.features.extractors.eeg_signal import high_passed
    from mien.features.extractors.sensors import resampled

    values = _eeg(extractor, signal)
    sections = cheby2(8, 20, extractor.high_hz, fs=signal.rate_hz, output="sos")

    def call() -> object:
        low = sosfiltfilt(sections, high_passed(values, signal.rate_hz), axis=1)
        return resampled(low, signal.rate_hz, extractor.resample_hz)

    return call


def _eeg(extractor: Any, signal: Any) -> Any:
    """The channels of an extractor, (C, N) float64, as they are recorded."""
    wanted = [signal.names.index(name) for name in extractor.cleaning.channels if name in signal.names]
    return np.ascontiguousarray(signal.values[:, wanted].T, np.float64)


@cache
def _network(folder: str) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, local_files_only=True).eval()


@cache
def _facenet_network(weights: str) -> Any:
    from mien.features.extractors.facenet import load_network

    return load_network(weights).eval()


def _forward(network: Any, given: Any, **options: Any) -> Any:
    import torch

    with torch.inference_mode():
        return network(given, **options)


BARE: dict[str, Callable[[Any, Any], Call]] = {
    "egemaps": _opensmile_windows,
    "egemaps-clip": _opensmile,
    "egemaps-lld": _opensmile,
    "compare-clip": _opensmile,
    "speech-encoder": _speech_encoder,
    "facenet": _facenet,
    "frames": _frames,
    "image-encoder": _image_encoder,
    "blendshapes": _blendshapes,
    "eeg-bands": _eeg_bands,
    "eeg-raw": _eeg_raw,
}
