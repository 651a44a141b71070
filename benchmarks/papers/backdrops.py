"""Places for actors: studios, rooms, parks and streets, as textured boxes in front of a sky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import textures
from numpy.typing import NDArray
from textures import SIDE, Colour, Image

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Box:
    """A box from corner `low` to corner `high` in metres. Its sides have a tile that repeats every `size` metres."""

    low: Array
    high: Array
    tile: Image
    size: float

    def colours(self, across: Array, down: Array) -> Array:
        """sRGB [N, 3] at positions [N] on a side, in metres across and down."""
        if not len(across):
            return np.zeros((0, 3), np.float32)
        rows = -(-len(across) // 512)
        coordinates = np.zeros((2, rows * 512), np.float32)
        for row, values in enumerate((across, down)):
            coordinates[row, : len(across)] = values / self.size % 1 * SIDE - 0.5
        x, y = coordinates.reshape(2, rows, 512)
        samples = np.asarray(cv2.remap(self.tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
        return samples.reshape(-1, 3)[: len(across)]


@dataclass(frozen=True)
class Backdrop:
    """Boxes, and what is visible behind them. sky: directions [..., 3] -> sRGB."""

    boxes: list[Box]
    sky: Callable[[Array], Array]
    outdoors: bool = False
    description: str = field(default="")


def draw_backdrop(rng: np.random.Generator) -> Backdrop:
    kind = str(rng.choice(["studio", "room", "park", "street"], p=[0.18, 0.42, 0.2, 0.2]))
    return {"studio": _studio, "room": _room, "park": _park, "street": _street}[kind](rng)


def box(low: tuple[float, float, float], high: tuple[float, float, float], tile: Image, size: float = 1.0) -> Box:
    return Box(np.array(low, np.float32), np.array(high, np.float32), tile.astype(np.float32), size)


def _floor(tile: Image, size: float) -> Box:
    return box((-60, -1, -80), (60, 0, 8), tile, size)


def _studio(rng: np.random.Generator) -> Backdrop:
    """A studio with a paper backdrop."""
    base = textures.hex_colour(str(rng.choice(["8d9094", "c9c9c6", "4b4e54", "b8a58c", "7f93a8", "dcd8d0", "5b6a58", "a87f78", "2f3136"])))
    paper = textures.uneven_tile(rng, _flat_tile(base * rng.uniform(0.85, 1.1)), 0.012)
    back = -rng.uniform(0.9, 2.5)
    floor = paper if rng.random() < 0.7 else _planks(rng)
    return Backdrop([_floor(floor, 3.0), box((-60, 0, back - 1), (60, 60, back), paper, 4.0)], _plain_sky(base), description="studio")


def _room(rng: np.random.Generator) -> Backdrop:
    back, left, right = -rng.uniform(0.9, 3.5), -rng.uniform(0.9, 3.5), rng.uniform(0.9, 3.5)
    paint = textures.hex_colour(
        str(rng.choice(["e9e4d8", "d5dbdf", "c9bfa8", "b7c4b8", "a7b6c6", "d9c1b0", "8fa3a8", "efefec", "c58f75", "6f7f8f"]))
    )
    wall, wall_size = _wall(rng, paint)
    floor = [_planks, _floor_tiles, _carpet][rng.integers(3)](rng)
    boxes = [_floor(floor, float(rng.uniform(0.9, 1.8)))]
    boxes.append(box((-60, 0, back - 1), (60, 4, back), wall, wall_size))
    side = wall if rng.random() < 0.6 else textures.uneven_tile(rng, _flat_tile(paint * 0.85), 0.03)
    boxes.append(box((left - 1, 0, -60), (left, 4, 3), side, wall_size))
    boxes.append(box((right, 0, -60), (right + 1, 4, 3), side, wall_size))
    skirting = textures.uneven_tile(rng, _flat_tile(paint * (1.12 if rng.random() < 0.7 else 0.4)), 0.01)
    boxes.append(box((-60, 0, back), (60, float(rng.uniform(0.06, 0.14)), back + 0.02), np.clip(skirting, 0, 1)))
    for _ in range(int(rng.integers(1, 5))):
        boxes += _wall_decoration(rng, back)
    for _ in range(int(rng.integers(0, 4))):
        boxes.append(_furniture(rng, back))
    return Backdrop(boxes, _plain_sky(paint * 0.9), description="room")


def _wall_decoration(rng: np.random.Generator, back: float) -> list[Box]:
    """A picture, window or door with its frame, on the back wall."""
    kind = rng.choice(["picture", "window", "door"], p=[0.6, 0.25, 0.15])
    width, height, bottom = {
        "picture": (rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.8), rng.uniform(1.0, 1.7)),
        "window": (rng.uniform(0.7, 1.4), rng.uniform(0.9, 1.4), 0.9),
        "door": (0.85, 2.0, 0.0),
    }[str(kind)]
    x, rim = rng.uniform(-2.2, 2.2), 0.05
    if kind == "picture":
        inner = textures.fabric(rng, textures.cloth_colour(rng, 0.2), 0.3)
        inner = np.clip(inner + 0.25 * textures.noise(rng, SIDE, 2, 4)[..., None] * rng.normal(size=3), 0, 1)
    elif kind == "window":
        inner = textures.mix(textures.hex_colour("dfeefa"), textures.hex_colour("8fae86"), textures.noise(rng, SIDE, 2, 4) * 0.4 + 0.3)
    else:
        inner = textures.uneven_tile(rng, _flat_tile(textures.cloth_colour(rng, 0.8)), 0.04)
    frame = textures.uneven_tile(rng, _flat_tile(textures.cloth_colour(rng, 0.9)), 0.03)
    outer = box((x - rim, bottom - rim, back), (x + width + rim, bottom + height + rim, back + 0.03), frame)
    return [outer, box((x, bottom, back), (x + width, bottom + height, back + 0.035), inner.astype(np.float32), max(width, height))]


def _furniture(rng: np.random.Generator, back: float) -> Box:
    width, height, depth = rng.uniform(0.4, 1.6), float(rng.choice([0.45, 0.75, 1.0, 1.9])) * rng.uniform(0.9, 1.1), rng.uniform(0.3, 0.5)
    x = float(rng.choice([-1, 1])) * rng.uniform(0.2, 1.6) - width / 2
    tile = _planks(rng) if rng.random() < 0.6 else textures.fabric(rng, textures.cloth_colour(rng), 4)
    return box((x, 0, back), (x + width, height, min(back + depth, -0.55)), tile, rng.uniform(0.5, 1.2))


def _park(rng: np.random.Generator) -> Backdrop:
    green = textures.hex_colour(str(rng.choice(["5d7a35", "6f8a45", "4c6a33", "8a8a4a", "7d9150"])))
    grass = np.clip(
        green * (1 + 0.2 * textures.noise(rng, SIDE, 16, 4)[..., None]) + 0.04 * textures.noise(rng, SIDE, 3, 3)[..., None], 0, 1
    )
    ground = grass if rng.random() < 0.65 else _gravel(rng)
    leaves = textures.hex_colour(str(rng.choice(["3f5a2a", "4c6b2f", "2f4a2c", "7a6a2c", "5a7a3a"])))
    boxes = [_floor(ground, 1.7)]
    if rng.random() < 0.6:
        back = -rng.uniform(2.5, 9)
        boxes.append(box((-60, 0, back - 1), (60, float(rng.uniform(0.7, 3.0)), back), _foliage(rng, leaves), rng.uniform(1.2, 2.5)))
    for _ in range(int(rng.integers(0, 4))):
        x, z, thickness = rng.uniform(-3.5, 3.5), -rng.uniform(1.5, 8), rng.uniform(0.1, 0.3)
        bark = np.clip(textures.hex_colour("6a5540") * (1 + 0.3 * textures.noise(rng, SIDE, 6, 4, (1, 4))[..., None]), 0, 1)
        boxes.append(box((x, 0, z - thickness), (x + thickness, 8, z), bark, 0.8))
    return Backdrop(boxes, _sky_with_horizon(rng, leaves), outdoors=True, description="park")


def _street(rng: np.random.Generator) -> Backdrop:
    paving = [_gravel, _floor_tiles][rng.integers(2)](rng)
    paving = np.clip(0.5 * paving + 0.5 * textures.hex_colour("8b8a87"), 0, 1)
    boxes = [_floor(paving, float(rng.uniform(0.9, 2.0)))]
    x, back = -14.0, -rng.uniform(1.5, 8)
    while x < 14:
        width, height = rng.uniform(2.5, 7), rng.uniform(3.5, 14)
        boxes.append(box((x, 0, back - 8), (x + width, height, back + rng.uniform(-0.4, 0.0)), _facade(rng), rng.uniform(2.0, 3.2)))
        x += width + (rng.uniform(0.5, 3) if rng.random() < 0.3 else 0)
    for _ in range(int(rng.integers(0, 4))):
        x, z, width, height = rng.uniform(-3, 3), rng.uniform(back + 0.2, -0.8), rng.uniform(0.1, 1.2), rng.uniform(0.4, 2.6)
        boxes.append(box((x, 0, z - 0.3), (x + width, height, z), textures.fabric(rng, textures.cloth_colour(rng), 10), 1.0))
    return Backdrop(boxes, _sky_with_horizon(rng, textures.hex_colour("7f8b93")), outdoors=True, description="street")


def _flat_tile(base: Colour) -> Image:
    return np.broadcast_to(np.clip(base, 0, 1), (SIDE, SIDE, 3)).astype(np.float32)


def _wall(rng: np.random.Generator, paint: Colour) -> tuple[Image, float]:
    kind = rng.random()
    if kind < 0.6:
        return textures.uneven_tile(rng, _flat_tile(paint), 0.025), 2.5
    if kind < 0.8:
        return textures.fabric(rng, paint, 0.3) * 0.35 + _flat_tile(paint) * 0.65, float(rng.uniform(0.5, 1.0))
    return _bricks(rng, paint), 1.0


def _bricks(rng: np.random.Generator, paint: Colour) -> Image:
    base = textures.hex_colour(str(rng.choice(["9a5a45", "8a6a55", "b0a090", "d8d4cc"]))) if rng.random() < 0.7 else paint
    tile = _flat_tile(base * 0.75).copy()
    for row in range(12):
        for column in range(-1, 4):
            x, y = column * 64 + 32 * (row % 2), row * SIDE // 12
            cv2.rectangle(tile, (x + 2, y + 2), (x + 61, y + 19), np.clip(base * rng.uniform(0.85, 1.15), 0, 1).tolist(), cv2.FILLED)
    return textures.uneven_tile(rng, tile, 0.05)


def _planks(rng: np.random.Generator) -> Image:
    base = textures.hex_colour(str(rng.choice(["a67c52", "c8a577", "7a5638", "d6c3a3", "5a4636", "9a8c7c", "8b5a3a"])))
    tile = _flat_tile(base).copy()
    count = int(rng.integers(5, 9))
    edges = np.linspace(0, SIDE, count + 1).astype(int)
    for top, bottom in zip(edges, edges[1:], strict=False):
        tile[top:bottom] *= rng.uniform(0.85, 1.1)
        tile[top : top + 2] *= 0.6
        tile[top:bottom, int(rng.integers(SIDE - 2)) :][:, :2] *= 0.7
    grain = textures.noise(rng, SIDE, 3, 4, (10, 1))
    planks = np.clip(tile * (1 + 0.07 * grain[..., None]), 0, 1)
    return planks if rng.random() < 0.5 else np.ascontiguousarray(planks.swapaxes(0, 1))


def _floor_tiles(rng: np.random.Generator) -> Image:
    one = textures.hex_colour(str(rng.choice(["d8d4cc", "b7b2a8", "8c8c8c", "c4a98a", "5e6468"])))
    other = one * rng.uniform(0.5, 0.9) if rng.random() < 0.35 else one
    count = int(rng.choice([2, 4]))
    tile, side = _flat_tile(one).copy(), SIDE // count
    for row in range(count):
        for column in range(count):
            part = tile[row * side : (row + 1) * side, column * side : (column + 1) * side]
            part[:] = (one if (row + column) % 2 else other) * rng.uniform(0.95, 1.05)
            part[:3], part[:, :3] = one * 0.65, one * 0.65
    return textures.uneven_tile(rng, np.clip(tile, 0, 1), 0.04)


def _carpet(rng: np.random.Generator) -> Image:
    base = textures.cloth_colour(rng, 0.85) * 0.85
    return np.clip(base * (1 + 0.08 * textures.noise(rng, SIDE, 40, 2)[..., None]), 0, 1).astype(np.float32)


def _gravel(rng: np.random.Generator) -> Image:
    base = textures.hex_colour(str(rng.choice(["8b8a87", "6e6f72", "a39a8a", "b7ab95", "55575b"])))
    rough = 0.1 * textures.noise(rng, SIDE, 24, 3) + 0.06 * textures.noise(rng, SIDE, 2, 3)
    return np.clip(base * (1 + rough[..., None]), 0, 1).astype(np.float32)


def _foliage(rng: np.random.Generator, leaves: Colour) -> Image:
    light = textures.noise(rng, SIDE, 12, 4) * 0.28 + textures.noise(rng, SIDE, 3, 2) * 0.2
    return np.clip(leaves * (1 + light[..., None] * np.array([1.0, 1.1, 0.7])), 0, 1).astype(np.float32)


def _facade(rng: np.random.Generator) -> Image:
    base = textures.hex_colour(str(rng.choice(["b9a58c", "9a5a45", "c8c2b4", "8f9aa3", "d6c6a0", "77706a", "a8b0a0", "dcd8d0"])))
    tile = _bricks(rng, base) if rng.random() < 0.3 else textures.uneven_tile(rng, _flat_tile(base), 0.04).copy()
    glass = textures.hex_colour(str(rng.choice(["3a4650", "566a7a", "28303a", "8fa3b0"])))
    for x in (0, SIDE // 2) if rng.random() < 0.6 else (0,):
        width = int(rng.integers(50, 90))
        cv2.rectangle(tile, (x + 16, 50), (x + 24 + width, 198), np.clip(base * 1.2, 0, 1).tolist(), cv2.FILLED)
        cv2.rectangle(tile, (x + 20, 54), (x + 20 + width, 194), glass.tolist(), cv2.FILLED)
        cv2.line(tile, (x + 20 + width // 2, 54), (x + 20 + width // 2, 194), np.clip(base * 1.2, 0, 1).tolist(), 4)
    return tile


def _plain_sky(base: Colour) -> Callable[[Array], Array]:
    def sky(rays: Array) -> Array:
        return np.broadcast_to(np.clip(base, 0, 1), rays.shape).astype(np.float32).copy()

    return sky


def _sky_with_horizon(rng: np.random.Generator, far: Colour) -> Callable[[Array], Array]:
    """A gradient with clouds, and distant trees or houses of the colour `far`."""
    zenith, horizon = (
        textures.hex_colour(str(rng.choice(names))) for names in (["6f9fd0", "8fb4d8", "b8c4cc", "5a86c0"], ["dbe6ee", "e8e4d8", "cfd6da"])
    )
    clouds, outline = textures.noise(rng, SIDE, 3, 5), textures.noise(rng, SIDE, 6, 5)
    skyline, mist = rng.uniform(0.05, 0.3), rng.uniform(0.0, 0.5)

    def sky(rays: Array) -> Array:
        level = (rays[..., 1] / np.hypot(rays[..., 0], rays[..., 2])).astype(np.float32)
        column = (np.arctan2(rays[..., 0], -rays[..., 2]) / 1.2 % 1 * SIDE).astype(np.float32)
        cloud = cv2.remap(clouds, column, (level / 0.8 % 1 * SIDE).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        colour = textures.mix(textures.mix(horizon, zenith, np.clip(level * 1.6, 0, 1)), np.ones(3, np.float32), 0.35 * cloud)
        edge = skyline * (1 + 0.25 * cv2.remap(outline, column, np.full_like(column, 40), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
        rough = cv2.remap(outline, column, (level / 0.4 % 1 * SIDE).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        trees = np.clip(far * (1 + 0.22 * rough[..., None]) + mist * (horizon - far), 0, 1)
        share = np.clip((edge + 0.02 * rough - level) * 60, 0, 1)[..., None]
        return (colour + (trees - colour) * share).astype(np.float32)

    return sky
