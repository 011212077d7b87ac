"""What FaceNet says of the face in a film: 512 numbers of length 1 per picture.

FaceNet (Schroff et al. 2015; here Inception-ResNet v1 of facenet-pytorch) was trained to tell persons apart. It reads
the faces that `mien.features.extractors.face_track` follows, without a margin.

Runs on as many threads as torch is allowed: a program that fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features.extractors.face_track import Box, Picture, TrackSettings
from mien.features.extractors.weights import REMEDY, read_weights
from mien.features.spec import FeatureSpec, Frames, Kind, Look

if TYPE_CHECKING:
    import torch

# facenet-pytorch's release of the network trained on VGGFace2, and its SHA-256
PUBLISHED_URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt"
PUBLISHED_SHA256 = "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"

DIM = 512
CROP_PX = 160  # what the network was trained on
# Crops at a time: below 16 torch leaves the 1 x 1 convolutions to a slower routine (25 instead of 15 ms
# each).
BATCH = 16


class Embed(Protocol):
    def __call__(self, crops: list[NDArray[np.float32]], batch: int = BATCH) -> NDArray[np.float32]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceNetSettings:
    """FaceNet's description of the largest steady face: 512 numbers per picture."""

    rate_hz: float = 10.0
    """Descriptions per second."""
    weights: str | None = None
    """A path, s3:// URI or URL of a state dict as facenet-pytorch publishes them; without one, its VGGFace2 file;
    "random": seeded random weights, for trials of the machinery only."""
    sha256: str | None = None
    """What the SHA-256 of the weights' file must be, in hex."""
    detect_every_s: float = 1.0
    """Seconds between runs of the whole face detector."""
    detect_height_px: int = 144
    """Height of the copy of the picture that the detector sees, of which a face must fill at least 20 pixels."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 halves the time on CPUs that have it (avx512_bf16, AMX) and takes several times longer elsewhere; it
    moved descriptions, which are of length 1, by 0.005 (random weights)."""

    def build(self) -> FaceNet:
        """Raises MienError for weights that cannot be had or are not of this network."""
        if self.rate_hz <= 0:
            raise ExperimentError(f"rate_hz {self.rate_hz:g}: must be above 0")
        track = TrackSettings(detect_every_s=self.detect_every_s, detect_height_px=self.detect_height_px)
        weights, sha256 = self.weights, self.sha256
        if weights is None:
            weights, sha256 = PUBLISHED_URL, sha256 or PUBLISHED_SHA256
        found = weights if weights == "random" else read_weights(weights, sha256)[1]
        if found not in ("random", PUBLISHED_SHA256):
            # A file that is no network is refused here, once, and not clip by clip.
            _embedder(weights, found, self.precision)
        spec = FeatureSpec(
            name="facenet",
            version=1,
            modality="video",
            shape=(DIM,),
            hop_s=1 / self.rate_hz,
            columns=tuple(f"facenet_{i:03}" for i in range(DIM)),
            settings={"weights": found, "precision": self.precision, **track.to_json()},
        )
        return FaceNet(spec=spec, rate_hz=self.rate_hz, weights=weights, track=track)


@dataclass(frozen=True, kw_only=True)
class FaceNet:
    """Extractor of one description per picture. Pictures without a face are masked, none is left out; a clip without
    any face is all masked."""

    spec: FeatureSpec
    rate_hz: float
    weights: str
    track: TrackSettings
    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "faces"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Iterable[tuple[Picture, Box | None]], rate_hz: float) -> Frames:
        """Frames of pictures with the box of the face in them, at the rate of the spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"facenet wants faces at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        settings = self.spec.settings
        embed = _embedder(self.weights, settings["weights"], settings["precision"])
        rows: list[NDArray[np.float32]] = []
        valid: list[bool] = []
        crops: list[NDArray[np.float32]] = []
        for picture, box in signal:
            valid.append(box is not None)
            if box is not None:
                crops.append(crop(picture, box))
            if len(crops) == BATCH:
                rows.append(embed(crops))
                crops = []
        rows.append(embed(crops))
        values = np.zeros((len(valid), DIM), np.float32)
        values[valid] = np.concatenate(rows)
        return Frames(values, np.array(valid, dtype=bool))

    @contextmanager
    def live(self) -> Iterator[Look]:
        """Alone in its batch, a face takes a sixth of the time of a full one, and its numbers differ by rounding."""
        settings = self.spec.settings
        embed = _embedder(self.weights, settings["weights"], settings["precision"])
        yield lambda picture, box, time_s: None if box is None else embed([crop(picture, box)], batch=1)[0]


def crop(picture: Picture, box: Box) -> NDArray[np.float32]:
    """(3, 160, 160) float32, as facenet-pytorch's `extract_face` (no margin) and standardisation give it."""
    from PIL import Image

    size = np.array(picture.shape[1::-1])
    left, top = box[:2].clip(0, size - 1).astype(int)
    right, bottom = np.maximum(box[2:].clip(0, size).astype(int), (left + 1, top + 1))
    face = Image.fromarray(picture[top:bottom, left:right])
    face = face.resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR)
    return (np.asarray(face, np.float32).transpose(2, 0, 1) - np.float32(127.5)) / np.float32(128)


@cache
def _embedder(weights: str, sha256: str, precision: str) -> Embed:
    """Function from at most a batch of crops, (3, 160, 160) each, to rows (N, 512); one in a process.

    Batch norms are folded into the convolutions and pixels laid out channels-last: the same numbers to 1e-6,
    three times as fast as one face at a time through the network as it is. A short batch is filled up, so
    that a face gets the same numbers, to the bit, whatever it shares a batch with.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = load_network(weights, sha256).eval()
    for block in list(network.modules()):
        convolution, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(convolution, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
            block.conv, block.bn = fuse_conv_bn_eval(convolution, norm), torch.nn.Identity()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    network = network.to(dtype).to(memory_format=torch.channels_last)

    def embed(crops: list[NDArray[np.float32]], batch: int = BATCH) -> NDArray[np.float32]:
        if not crops:
            return np.zeros((0, DIM), np.float32)
        full = np.zeros((batch, 3, CROP_PX, CROP_PX), np.float32)
        full[: len(crops)] = crops
        with torch.inference_mode():
            rows = network(torch.from_numpy(full).to(dtype).to(memory_format=torch.channels_last)).float()
            return torch.nn.functional.normalize(rows).numpy()[: len(crops)]

    return embed


def load_network(weights: str, sha256: str | None = None) -> torch.nn.Module:
    """Inception-ResNet v1 with these weights; MienError where they do not fit it."""
    import torch
    from facenet_pytorch import InceptionResnetV1

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what "random" means, each time
        network = InceptionResnetV1()
    if weights == "random":
        return network
    data, _ = read_weights(weights, sha256)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        # The published file ends in the classifier of its training identities, which is of no use here.
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits.")})
    except Exception as error:
        raise MienError(f"FaceNet weights {weights}: not a state dict of InceptionResnetV1; {REMEDY}") from error
    return network
