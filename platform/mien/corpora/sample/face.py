"""A synthetic face: a portrait whose mouth, brows and lids are moved by a mesh.

The portrait is `skimage.data.astronaut` (Eileen Collins, NASA, public domain), which face detectors find.
Each person is that portrait with a build, a tint and a bearing of their own. Actions are those of the Facial
Action Coding System (Ekman & Friesen 1978); which of them an emotion shows follows its prototypes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mien.corpora.sample.performance import Floats, Performance, Person, randomness

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH_PX, HEIGHT_PX = 320, 240
# Edges of the mesh: coarse where the picture only follows the head, fine where the face moves within it.
COLUMNS_PX = np.array([0, *range(80, 241, 10), WIDTH_PX])
ROWS_PX = np.array([0, *range(50, 211, 10), HEIGHT_PX])

# How far each action moves which points of the portrait: x, y, to the right, down, radius of influence, all
# in pixels of the portrait at full strength. Read off a grid laid over it; the eyes are at (203, 101) and
# (246, 103). The number behind is that of the action unit.
ACTIONS: dict[str, tuple[tuple[float, float, float, float, float], ...]] = {
    "smile": ((203, 141, -6, -6, 11), (247, 141, 6, -6, 11), (223, 151, 0, -2, 10)),  # 12; negative: 15
    "brow raise": (
        (193, 89, 0, -5, 9),
        (211, 91, 0, -3, 8),
        (240, 92, 0, -3, 8),
        (258, 92, 0, -5, 9),
    ),  # 1 + 2
    "brow lower": ((212, 92, 4, 7, 9), (239, 93, -4, 7, 9), (197, 90, 1, 3, 9), (254, 92, -1, 3, 9)),  # 4
    "inner brow": ((213, 91, 1, -5, 7), (238, 92, -1, -5, 7), (192, 91, 0, 3, 9), (260, 94, 0, 3, 9)),  # 1
    "lids": (
        (203, 97, 0, -3, 5),
        (246, 99, 0, -3, 5),
        (203, 106, 0, 1.5, 5),
        (246, 108, 0, 1.5, 5),
    ),  # 5; negative: 7
    "jaw": ((223, 153, 0, 6, 10), (223, 172, 0, 7, 16)),  # 26
    "upper lip": ((214, 137, -1, -5, 8), (234, 137, 1, -5, 8), (224, 126, 0, -3, 9)),  # 9 + 10
}
MANNERS: dict[str, tuple[float, ...]] = {
    "neutral": (0, 0, 0, 0, 0, 0, 0),
    "calm": (0.15, 0, 0, 0, -0.3, 0, 0),
    "happiness": (1.0, 0.1, 0, 0, -0.3, 0.15, 0.1),
    "sadness": (-0.8, 0, 0.1, 1.0, -0.5, 0, 0),
    "anger": (-0.4, 0, 1.0, 0, 0.3, 0.1, 0.2),
    "fear": (-0.3, 0.7, 0.2, 0.4, 0.9, 0.4, 0),
    "disgust": (-0.3, 0, 0.7, 0, -0.7, 0.1, 1.0),
    "surprise": (0.0, 1.0, 0, 0, 1.0, 0.9, 0),
}
SPREAD = (0.15,) * len(ACTIONS)
PORTRAIT_SMILE = 0.9  # what the portrait shows as it is
NOSE = (224.0, 128.0)

_POINTS = np.array([point for points in ACTIONS.values() for point in points], float)
_ACTION_OF_POINT = np.repeat(np.arange(len(ACTIONS)), [len(points) for points in ACTIONS.values()])


def act(performance: Performance, frame_rate_hz: float) -> Iterator[Image]:
    """The pictures of a performance, RGB, 320 x 240, from 0 s to its end."""
    from PIL import Image

    person = performance.person
    random = randomness(person.seed, person.name, performance.name, "face")
    time_s = np.arange(round(performance.duration_s * frame_rate_hz)) / frame_rate_hz
    portrait = Image.fromarray(_portrait(person))

    centre_px = 6 * person.draw("place", 2) + 3 * random.standard_normal(2)
    sway_px = 2.5 * random.standard_normal(2)
    beat = np.sin(2 * np.pi * (random.random(3) + np.outer(time_s, random.uniform(0.3, 0.8, 3))))
    tilts = 0.04 * person.draw("tilt")[0] + 0.025 * beat[:, 2]
    build = _build(person)
    corners = _mesh_corners()
    for amounts, (beat_x, beat_y, _), tilt in zip(actions(performance, time_s), beat, tilts):
        at = np.array([WIDTH_PX / 2, HEIGHT_PX / 2]) + centre_px + sway_px * (beat_x, beat_y)
        vertices = _where_in_portrait(build, at, tilt, amounts)
        quads = vertices[corners].reshape(-1, 8)
        mesh = [(box, tuple(quad)) for box, quad in zip(_mesh_boxes(), quads.tolist())]
        yield portrait.transform((WIDTH_PX, HEIGHT_PX), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def actions(performance: Performance, time_s: Floats) -> Floats:
    """Strength of each of `ACTIONS` at each time, (times, actions): the expression, speech and a blink."""
    amounts = np.outer(performance.expressed(time_s), performance.blend(MANNERS, SPREAD))
    names = list(ACTIONS)
    amounts[:, names.index("jaw")] += 0.8 * performance.voicing(time_s)
    blink_s = performance.random[5] * performance.duration_s
    amounts[:, names.index("lids")] -= 1.8 * np.exp(-(((time_s - blink_s) / 0.06) ** 2))
    amounts[:, names.index("smile")] -= PORTRAIT_SMILE
    return np.clip(amounts, -1.8, 1.3)


def _build(person: Person) -> Floats:
    """Width and height of the head over those of the portrait; a negative width mirrors it."""
    side = 1 if person.draw("side")[0] < 0 else -1
    return (1.25 + 0.08 * person.draw("distance")[0]) * (1 + 0.06 * person.draw("build", 2)) * (side, 1)


def _where_in_portrait(build: Floats, centre_px: Floats, tilt: float, amounts: Floats) -> Floats:
    """For each vertex of the mesh, (n, 2), the place in the portrait that it shows.

    The inverse of pose and build, then of the actions; that one is approximate, and near enough as long as
    no action moves a point by more than its radius of influence.
    """
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    place = (_mesh_vertices() - centre_px) @ turn / build + NOSE
    offset = place[:, None, :] - _POINTS[None, :, :2]
    weight = np.exp(-np.sum(offset**2, axis=2) / (2 * _POINTS[:, 4] ** 2))
    return place - weight @ (amounts[_ACTION_OF_POINT, None] * _POINTS[:, 2:4])


@cache
def _mesh_vertices() -> Floats:
    """Corners of all cells, (n, 2), row by row."""
    x, y = np.meshgrid(COLUMNS_PX, ROWS_PX)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)


@cache
def _mesh_boxes() -> list[tuple[int, int, int, int]]:
    """Cells of the mesh, row by row, as left, top, right, bottom."""
    columns, rows = COLUMNS_PX.tolist(), ROWS_PX.tolist()
    return [(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


@cache
def _mesh_corners() -> npt.NDArray[np.int64]:
    """Vertices of each cell, (cells, 4), in the order that Pillow wants: NW, SW, SE, NE."""
    n_columns = len(COLUMNS_PX)
    rows, columns = np.mgrid[0 : len(ROWS_PX) - 1, 0 : n_columns - 1]
    first = (rows * n_columns + columns).ravel()
    return np.stack([first, first + n_columns, first + n_columns + 1, first + 1], axis=1)


@cache
def _portrait(person: Person) -> npt.NDArray[np.uint8]:
    """The portrait in this person's tint, (512, 512, 3) uint8."""
    from skimage.data import astronaut

    gamma = 1 + 0.2 * person.draw("complexion")[0]
    gain = 1 + 0.06 * person.draw("light", 3)
    return (255 * np.clip(gain * (astronaut() / 255) ** gamma, 0, 1)).astype(np.uint8)
