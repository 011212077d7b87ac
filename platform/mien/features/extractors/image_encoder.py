"""What a published image network says of the face in a film: DINOv2, the vision tower of CLIP, ViT and their like.

The face is that of `mien.features.extractors.face_track`, cut as the pictures of `frames` are, at the size that the
network's preprocessor_config names: it sees all of the cut, in one resampling. (DINOv2's own recipe for photographs
scales to 256 pixels and cuts the middle 224 out; of a face nothing should be cut.) Values are then scaled and
standardised by the network's own image processor.

Runs on as many threads as torch is allowed: a program that fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features.extractors.face_track import Box, Picture, TrackSettings
from mien.features.extractors.frames import cut
from mien.features.extractors.pretrained import REMEDY, Pretrained, find_pretrained, load_config, load_network
from mien.features.spec import FeatureSpec, Frames, Kind

RANDOM = "random"
BATCH = 8  # faces at a time: above it a CPU gains nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEncoderSettings:
    """One vector per picture of the largest steady face, by an image network of transformers."""

    model: str = "facebook/dinov2-small"
    """A folder that save_pretrained wrote, with weights as safetensors and a preprocessor_config.json, or a name on the
    Hugging Face hub, which is fetched once; "random": a small DINOv2 with seeded random weights, for trials of the
    machinery only."""
    revision: str | None = None
    """Commit, tag or branch on the hub. Give a commit: a branch moves, and then the store's features are others."""
    rate_hz: float = 5.0
    """Pictures per second."""
    output: Literal["pooler", "cls", "mean"] = "pooler"
    """What stands for a picture: the network's own pooled output; the last layer's first (class) token; or the mean of
    all tokens of the last layer."""
    margin: float = 0.2
    """How far the picture reaches beyond the face's box on each side, as a share of the box's longer side."""
    dtype: Literal["float32", "bfloat16"] = "float32"
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
        found = None if self.model == RANDOM else find_pretrained(self.model, self.revision)
        network = _network(found, self.output, self.dtype)
        spec = FeatureSpec(
            name="image-encoder",
            version=1,
            modality="video",
            shape=(network.dim,),
            hop_s=1 / self.rate_hz,
            settings={
                "weights": RANDOM if found is None else found.sha256,
                "architecture": network.architecture,
                "output": self.output,
                "size_px": network.size_px,
                "margin": self.margin,
                "dtype": self.dtype,
                **track.to_json(),
            },
        )
        return ImageEncoder(spec=spec, rate_hz=self.rate_hz, found=found, track=track)


@dataclass(frozen=True, kw_only=True)
class ImageEncoder:
    """Extractor of one vector per picture. Pictures without a face are masked, none is left out. found: None for random
    weights."""

    spec: FeatureSpec
    rate_hz: float
    found: Pretrained | None
    track: TrackSettings
    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "faces"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Iterable[tuple[Picture, Box | None]], rate_hz: float) -> Frames:
        """Frames of pictures with the box of the face in them, at the rate of the spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"image-encoder wants faces at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        settings = self.spec.settings
        network = _network(self.found, settings["output"], settings["dtype"])
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


class _Network(NamedTuple):
    """module: of torch. processor: its image processor. dim: numbers per picture."""

    module: Any
    processor: Any
    output: str
    architecture: str
    size_px: int
    dim: int

    def encode(self, faces: list[Picture]) -> NDArray[np.float32]:
        """(N, dim) of at most BATCH faces (size_px, size_px, 3). A short batch is filled up, so that a face gets the
        same numbers, to the bit, whatever it shares a batch with."""
        import torch

        full = np.zeros((BATCH, *faces[0].shape), np.uint8)
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
def _network(found: Pretrained | None, output: str, dtype: str) -> _Network:
    """The network of these files, one in a process."""
    module, processor = _random(dtype) if found is None else _published(found, output, dtype)
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    size_px = size.get("height") or size.get("shortest_edge")
    made = _Network(module.eval(), processor, output, module.config.model_type, int(size_px), 0)
    try:
        (row,) = made.encode([np.zeros((made.size_px, made.size_px, 3), np.uint8)])
    except Exception as error:
        named = type(module).__name__
        raise MienError(f"{named} gives no output {output!r} of a picture ({error}); choose another output") from error
    return made._replace(dim=len(row))


def _published(found: Pretrained, output: str, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor

    config = load_config(found)
    config = getattr(config, "vision_config", config)  # of CLIP and SigLIP, which read text as well
    module = load_network(found, config, dtype=dtype, unread="" if output == "pooler" else "pooler.")
    try:
        processor = AutoImageProcessor.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise MienError(f"model {found.folder}: no preprocessor_config.json of an image network; {REMEDY}") from error
    return module, processor


def _random(dtype: str) -> tuple[Any, Any]:
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what "random" means, each time
        module = Dinov2Model(Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=56))
    return module.to(getattr(torch, dtype)), BitImageProcessor(size={"shortest_edge": 56}, do_center_crop=False)
