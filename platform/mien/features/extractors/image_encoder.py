"""What a published image network says of the face in a film: DINOv2, the vision tower of CLIP, ViT and their like.

The face is that of `mien.features.extractors.face_track`, cut as the pictures of `frames` are, at the size that the
network's preprocessor_config names: it sees all of the cut, in one resampling. (DINOv2's own recipe for photographs
scales to 256 pixels and cuts the middle 224 out; of a face nothing should be cut.) Values are then scaled and
standardised by the network's own image processor.

Runs on as many threads as torch is allowed: a program that fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features.extractors.face_track import Box, Picture, TrackSettings
from mien.features.extractors.frames import cut
from mien.features.extractors.pretrained import Precision, Pretrained, find_pretrained, load_description, load_network
from mien.features.spec import FeatureSpec, Frames, Kind, Look

BATCH = 8  # faces at a time: above it a CPU gains nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEncoderSettings:
    """One vector per picture of the largest steady face, by an image network of transformers."""

    model: str = "facebook/dinov2-small"
    """A folder or s3:// URI with config.json, preprocessor_config.json and model.safetensors, or a model's name on the
    Hugging Face hub, from where it is fetched once; "random": a small DINOv2 with seeded random weights, for trials of
    the machinery only."""
    revision: str | None = None
    """On the hub: a branch, a tag or, so that it stays the same, a commit."""
    sha256: str | None = None
    """What the SHA-256 of model.safetensors must be, in hex."""
    rate_hz: float = 5.0
    """Pictures per second."""
    output: Literal["pooler", "cls", "mean"] = "pooler"
    """What stands for a picture: the network's own pooled output; the last layer's first (class) token; or the mean of
    all tokens of the last layer."""
    margin: float = 0.2
    """How far the picture reaches beyond the face's box on each side, as a share of the box's longer side."""
    precision: Precision = "float32"
    """bfloat16 takes half of the time on CPUs that have it (avx512_bf16, AMX), and longer elsewhere."""
    detect_every_s: float = 1.0
    """Seconds between runs of the whole face detector."""
    detect_height_px: int = 144
    """Height of the copy of the picture that the detector sees, of which a face must fill at least 20 pixels."""

    def build(self) -> ImageEncoder:
        """Raises MienError for a network that cannot be had, or that reads no pictures."""
        if self.rate_hz <= 0 or not 0 <= self.margin <= 2:
            raise ExperimentError(f"rate_hz {self.rate_hz:g} must be above 0, margin {self.margin:g} in 0..2")
        track = TrackSettings(detect_every_s=self.detect_every_s, detect_height_px=self.detect_height_px)
        found = find_pretrained(self.model, self.revision, self.sha256)
        network = _network(found, self.output, self.precision)
        spec = FeatureSpec(
            name="image-encoder",
            version=1,
            modality="video",
            shape=(network.dim,),
            hop_s=1 / self.rate_hz,
            settings={
                **found.sums,
                "architecture": network.architecture,
                "output": self.output,
                "size_px": network.size_px,
                "margin": self.margin,
                "precision": self.precision,
                **track.to_json(),
            },
        )
        return ImageEncoder(spec=spec, rate_hz=self.rate_hz, found=found, track=track)


@dataclass(frozen=True, kw_only=True)
class ImageEncoder:
    """Extractor of one vector per picture. Pictures without a face are masked, none is left out."""

    spec: FeatureSpec
    rate_hz: float
    found: Pretrained
    track: TrackSettings
    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "faces"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Iterable[tuple[Picture, Box | None]], rate_hz: float) -> Frames:
        """Frames of pictures with the box of the face in them, at the rate of the spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"image-encoder wants faces at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        settings = self.spec.settings
        network = _network(self.found, settings["output"], settings["precision"])
        rows: list[NDArray[np.float32]] = []
        valid: list[bool] = []
        faces: list[Picture] = []
        for picture, box in signal:
            valid.append(box is not None)
            if box is not None:
                faces.append(cut(picture, box, settings["margin"], settings["size_px"]))
            if len(faces) == BATCH:
                rows.append(network.encode(faces))
                faces = []
        if faces:
            rows.append(network.encode(faces))
        values = np.zeros((len(valid), *self.spec.shape), np.float32)
        if rows:
            values[valid] = np.concatenate(rows)
        return Frames(values, np.array(valid, dtype=bool))

    @contextmanager
    def live(self) -> Iterator[Look]:
        """Alone in its batch, a face takes a fraction of the time of a full one, and its numbers differ by rounding."""
        settings = self.spec.settings
        network = _network(self.found, settings["output"], settings["precision"])

        def look(picture: Picture, box: Box | None, time_s: float) -> NDArray[np.float32] | None:
            if box is None:
                return None
            return network.encode([cut(picture, box, settings["margin"], settings["size_px"])], batch=1)[0]

        yield look


class _Network(NamedTuple):
    """module: of torch. processor: its image processor. dim: numbers per picture."""

    module: Any
    processor: Any
    output: str
    architecture: str
    size_px: int
    dim: int

    def encode(self, faces: list[Picture], batch: int = BATCH) -> NDArray[np.float32]:
        """(N, dim) of at most so many faces (size_px, size_px, 3). A short batch is filled up, so that a face gets the
        same numbers, to the bit, whatever it shares a batch with."""
        import torch

        full = np.zeros((batch, *faces[0].shape), np.uint8)
        full[: len(faces)] = faces
        pixels = self.processor(list(full), do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            given = self.module(pixel_values=pixels.to(self.module.dtype))
        if self.output == "pooler":
            rows = given.pooler_output.flatten(1)
        elif given.last_hidden_state.dim() != 3:  # of a convolutional network: maps of channels
            raise ValueError("its last layer has no tokens")
        else:
            rows = given.last_hidden_state[:, 0] if self.output == "cls" else given.last_hidden_state.mean(dim=1)
        return rows.float().numpy()[: len(faces)]


@cache
def _network(found: Pretrained, output: str, precision: Precision) -> _Network:
    """The network of these files, one in a process."""
    config, processor = _described(found)
    module = load_network(found, config, precision, unused="" if output == "pooler" else "pooler.")
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    size_px = size.get("height") or size.get("shortest_edge")
    made = _Network(module, processor, output, module.config.model_type, int(size_px), 0)
    try:
        (row,) = made.encode([np.zeros((made.size_px, made.size_px, 3), np.uint8)])
    except Exception as error:
        named = type(module).__name__
        raise MienError(f"{named} gives no output {output!r} of a picture ({error}); choose another output") from error
    return made._replace(dim=len(row))


def _described(found: Pretrained) -> tuple[Any, Any]:
    """The configuration of the network that sees, and its image processor."""
    from transformers import AutoConfig, AutoImageProcessor, BitImageProcessor, Dinov2Config

    if found.folder is None:
        config = Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=56)
        return config, BitImageProcessor(size={"shortest_edge": 56}, do_center_crop=False)
    config = load_description(found, AutoConfig)
    # CLIP and SigLIP read text as well.
    return getattr(config, "vision_config", config), load_description(found, AutoImageProcessor)
