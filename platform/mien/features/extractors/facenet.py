"""Faces in video: found by MTCNN, followed by its last stage, described by FaceNet.

MTCNN (Zhang et al. 2016) is a cascade: P-net scans the picture at all scales and costs nearly all of the
time, R-net sorts out, O-net looks at one candidate, says whether it is a face and corrects its box. So the
whole cascade runs only now and then, on a small copy of the picture; in between the last box is shown to
O-net, which corrects it in 1 to 2 ms and says when the face is gone. FaceNet (Schroff et al. 2015; here
Inception-ResNet v1 of facenet-pytorch) turns each crop into 512 numbers of length 1.

Runs on as many threads as torch is allowed: whoever fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features.extractors.weights import REMEDY, read_weights
from mien.features.spec import FeatureSpec, Frames

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
SMALLEST_FACE_PX = 20  # on the copy that the detector sees
# Probability at which a face is taken up, and below which a followed one is looked for anew. As in
# facenet-pytorch's choice by size.
SURE = 0.9
FACE = 0.7  # probability at which O-net confirms what was found; MTCNN's own threshold
MUCH_LARGER = 2.0  # ratio of areas at which another face takes over from the one that is followed
SAME_FACE_IOU = 0.3
SEARCH_EVERY_S = 0.2  # while no face is in sight

Picture = NDArray[np.uint8]
Box = NDArray[np.float32]  # (4,) left, top, right, bottom in pixels


@dataclass(frozen=True, kw_only=True)
class FaceNet:
    """Extractor of one 512-d description a frame, of the largest steady face.

    Frames without a face are masked, none is left out; a clip without any face is all masked.
    """

    spec: FeatureSpec
    rate_hz: float
    weights: str
    medium: ClassVar[str] = "video"

    def __call__(self, signal: Iterable[Picture], rate_hz: float) -> Frames:
        """Frames of pictures (H, W, 3) uint8 RGB at the rate of the spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"facenet wants pictures at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        settings = self.spec.settings
        track = follow_face(signal, rate_hz, settings["detect_every_s"], settings["detect_height_px"])
        embed = _embedder(self.weights, settings["weights"], settings["precision"])
        rows: list[NDArray[np.float32]] = []
        valid: list[bool] = []
        crops: list[NDArray[np.float32]] = []
        for picture, box in track:
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


def facenet(
    rate_hz: float = 10.0,
    weights: str | None = None,
    sha256: str | None = None,
    detect_every_s: float = 1.0,
    detect_height_px: int = 144,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> FaceNet:
    """FaceNet of the largest steady face, rate_hz times a second.

    weights: a path, `s3://` URI or URL of a state dict as facenet-pytorch publishes them; None: its VGGFace2
    file; "random": seeded random weights, for trials of the machinery only. sha256: what the file's sum must
    be. detect_every_s: seconds between runs of the whole detector; detect_height_px: height of the picture
    that it sees, of which a face must fill at least 20. precision: "bfloat16" halves the time on CPUs that
    have it (avx512_bf16, AMX) and takes several times longer elsewhere; it moved descriptions, which are of
    length 1, by 0.005 (random weights). Raises MienError for weights that cannot be had or are not of this network.
    """
    if rate_hz <= 0 or detect_every_s <= 0 or detect_height_px < 60:
        raise ExperimentError(
            f"facenet: rate {rate_hz} Hz, detection every {detect_every_s} s at {detect_height_px} px: "
            "the first two must be above 0, the last at least 60"
        )
    if precision not in ("float32", "bfloat16"):
        raise ExperimentError(f"facenet: precision {precision!r}: choose float32 or bfloat16")
    if weights is None:
        weights, sha256 = PUBLISHED_URL, sha256 or PUBLISHED_SHA256
    found = weights if weights == "random" else read_weights(weights, sha256)[1]
    if found not in ("random", PUBLISHED_SHA256):
        _embedder(weights, found, precision)  # a file that is no network is refused here, once, and not clip by clip
    spec = FeatureSpec(
        name="facenet",
        version=1,
        dim=DIM,
        hop_s=1 / rate_hz,
        columns=tuple(f"facenet_{i:03}" for i in range(DIM)),
        settings={
            "weights": found,
            "detect_every_s": detect_every_s,
            "detect_height_px": detect_height_px,
            "precision": precision,
        },
    )
    return FaceNet(spec=spec, rate_hz=rate_hz, weights=weights)


def track_faces(
    pictures: Iterable[Picture], rate_hz: float, detect_every_s: float = 1.0, detect_height_px: int = 144
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes (T, 4) in pixels (left, top, right, bottom; zeros where there is none) and valid (T,)."""
    boxes = [box for _, box in follow_face(pictures, rate_hz, detect_every_s, detect_height_px)]
    valid = np.array([box is not None for box in boxes], dtype=bool)
    filled = [np.zeros(4, np.float32) if box is None else box for box in boxes]
    return np.array(filled, np.float32).reshape(-1, 4), valid


def follow_face(
    pictures: Iterable[Picture], rate_hz: float, detect_every_s: float, detect_height_px: int
) -> Iterator[tuple[Picture, Box | None]]:
    """Each picture with the box of the face in it, None where there is none.

    The detector runs every detect_every_s, at once when the face is lost or in doubt, and every
    SEARCH_EVERY_S while there is none. Of several faces the largest is taken, and kept while it is there,
    unless another one is MUCH_LARGER: two people of one size must not make the track jump to and fro.
    """
    every, search_every = (max(1, round(s * rate_hz)) for s in (detect_every_s, SEARCH_EVERY_S))
    box: Box | None = None
    next_detection = 0
    for index, picture in enumerate(pictures):
        if box is not None:
            box, probability = refine(picture, box)
            if probability < SURE:  # gone, or turning away
                next_detection = index
        if index >= next_detection:
            box = _choose(detect(picture, detect_height_px), box)
            if box is not None:
                box, probability = refine(picture, box)
                box = box if probability >= FACE else None
            next_detection = index + (search_every if box is None else every)
        yield picture, box


def _choose(boxes: NDArray[np.float32], followed: Box | None) -> Box | None:
    """The followed face among those found, the largest if it is not there or much smaller; None if none."""
    if not len(boxes):
        return None
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    largest = int(areas.argmax())
    if followed is None:
        return boxes[largest]
    overlaps = iou(boxes, followed)
    nearest = int(overlaps.argmax())
    is_kept = overlaps[nearest] >= SAME_FACE_IOU and areas[largest] < MUCH_LARGER * areas[nearest]
    return boxes[nearest if is_kept else largest]


def iou(boxes: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union in [0, 1] of each of boxes (N, 4) with box, (4,) or (N, 4)."""
    corners = np.minimum(boxes[:, 2:], box[..., 2:]) - np.maximum(boxes[:, :2], box[..., :2])
    common = np.prod(corners.clip(min=0), axis=1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (boxes, box)]
    return np.asarray(common / (areas[0] + areas[1] - common), np.float32)


def detect(picture: Picture, height_px: int) -> NDArray[np.float32]:
    """Boxes (N, 4) of the faces that MTCNN is SURE of, found on a copy of the picture of that height."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(1.0, height / height_px)
    small = Image.fromarray(picture).resize(
        (round(width / scale), round(height / scale)), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    nothing = np.zeros((0, 4), np.float32)
    if min(small.size) < SMALLEST_FACE_PX:
        return nothing
    boxes, probabilities = _mtcnn().detect(small)
    if boxes is None:
        return nothing
    return np.asarray(boxes, np.float32)[np.asarray(probabilities, np.float32) >= SURE] * np.float32(scale)


def refine(picture: Picture, box: Box) -> tuple[Box, float]:
    """The box as O-net corrects it on this picture, and the probability that there is a face in it.

    As the third stage of facenet-pytorch's `detect_face`: a square around the box, cut off at the picture's
    edge, averaged to 48 x 48 pixels; the corrections are shares of the square's side.
    """
    import torch
    from PIL import Image

    height, width = picture.shape[:2]
    side = (box[2:] - box[:2]).max()
    centre = (box[:2] + box[2:]) / 2
    square = np.concatenate([centre - side / 2, centre + side / 2])
    left, top = np.maximum(square[:2].astype(int) - 1, 0)
    right, bottom = np.minimum(square[2:].astype(int), (width, height))
    if right - left < 2 or bottom - top < 2:
        return box, 0.0
    small = Image.fromarray(picture[top:bottom, left:right]).resize((48, 48), Image.Resampling.BOX)
    pixels = (np.asarray(small, np.float32) - 127.5) * 0.0078125
    with torch.inference_mode():
        shift, _, probability = _mtcnn().onet(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return (square + shift[0].numpy() * (side + 1)).astype(np.float32), float(probability[0, 1])


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
def _mtcnn() -> Any:
    """The detector, one in a process; its weights are part of the facenet-pytorch package."""
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX, device="cpu")


@cache
def _embedder(weights: str, sha256: str, precision: str) -> Callable[[list[NDArray[np.float32]]], NDArray[np.float32]]:
    """Function from at most BATCH crops, (3, 160, 160) each, to rows (N, 512); one in a process.

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

    def embed(crops: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if not crops:
            return np.zeros((0, DIM), np.float32)
        batch = np.zeros((BATCH, 3, CROP_PX, CROP_PX), np.float32)
        batch[: len(crops)] = crops
        with torch.inference_mode():
            rows = network(torch.from_numpy(batch).to(dtype).to(memory_format=torch.channels_last)).float()
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
