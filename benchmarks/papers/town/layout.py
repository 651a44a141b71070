"""A town around its streets: rows of houses or gardens, parks, trees, lamps, signs, parked cars; all that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from . import furniture, plants
from .cars import Car, draw_car
from .drive import Blot
from .houses import draw_house
from .meshes import Mesh, turned
from .roads import KERB, Crossing, Roads
from .tiles import Atlas

Array = NDArray[np.floating]

STYLES = {"town": 0.45, "suburb": 0.3, "boulevard": 0.25}
"""Rows of high houses with shops; houses in gardens; high houses behind rows of trees."""
BEYOND = 200.0
"""Metres of street that are built ahead of the last place of the camera."""
BEFORE = 25.0
_SIDE_STREET = 75.0


@dataclass
class Ground:
    """What is built up; parked: cars with their places (x, z, yaw)."""

    roads: Roads
    atlas: Atlas
    draw: np.random.Generator
    style: str
    autumn: bool
    shops: bool
    floors: tuple[int, int]
    length: float
    meshes: list[Mesh] = field(default_factory=list)
    parked: list[tuple[Car, Array]] = field(default_factory=list)
    blots: list[Blot] = field(default_factory=list)
    trees: list[Mesh] = field(default_factory=list)

    def put(self, mesh: Mesh, x: float, z: float, yaw: float = 0.0, height: float = KERB, scale: float = 1.0) -> None:
        motion = turned(yaw, (x, height, z))
        self.meshes.append(replace(mesh, corners=mesh.corners * scale).moved(motion))

    def beside(self, z: float, offset: float, side: int) -> tuple[float, float, float]:
        """x, z and yaw of a place `offset` metres from the middle of the main street; its z axis points away from the street."""
        angle = float(np.arctan(self.roads.slope(np.array([z]))[0]))
        x = float(self.roads.centre(np.array([z]))[0])
        return x + side * offset * np.cos(angle), z - side * offset * np.sin(angle), angle + side * np.pi / 2

    def tree(self, x: float, z: float, scale: float = 1.0) -> None:
        mesh = self.trees[int(self.draw.integers(len(self.trees)))]
        self.put(mesh, x, z, self.draw.uniform(0, 6.28), scale=scale * float(self.draw.uniform(0.8, 1.15)))
        self.blots.append(Blot(x, z, 0.0, (0.5 * scale, 0.5 * scale), 0.5))


def build(draw: np.random.Generator, atlas: Atlas, roads: Roads, length: float, style: str) -> Ground:
    autumn, shops = bool(draw.random() < 0.2), bool(draw.random() < 0.7 and style != "suburb")
    floors = {"town": (3, 6), "suburb": (2, 3), "boulevard": (4, 7)}[style]
    ground = Ground(roads, atlas, draw, style, autumn, shops, floors, length)
    ground.trees = [plants.draw_tree(draw, atlas, float(draw.uniform(6.5, 11)), autumn) for _ in range(6)]
    edges = [-BEFORE, *(edge for crossing in roads.crossings for edge in _gap(crossing, roads)), length + BEYOND]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end > length + BEYOND:
            end = length + BEYOND
        for side in (-1, 1):
            if end - start > 7:
                _block(ground, start, end, side)
    for crossing in roads.crossings:
        if crossing.z < length + BEYOND:
            for side in (-1, 1):
                if side in crossing.sides:
                    _side_street(ground, crossing, side)
                else:
                    _row(ground, *_gap(crossing, roads), side, _setback(ground))
            _corner(ground, crossing)
    _end(ground)
    _parked(ground)
    return ground


def _gap(crossing: Crossing, roads: Roads) -> tuple[float, float]:
    reach = crossing.half + roads.pavement
    return crossing.z - reach, crossing.z + reach


def _setback(ground: Ground) -> float:
    roads = ground.roads
    return roads.half + roads.pavement + {"town": 0.0, "suburb": 5.0, "boulevard": 2.5}[ground.style]


def _block(ground: Ground, start: float, end: float, side: int) -> None:
    """One side of the main street between two crossings."""
    draw, roads = ground.draw, ground.roads
    if draw.random() < (0.2 if ground.style == "suburb" else 0.1):
        _park(ground, start, end, side)
    elif ground.style == "suburb":
        _gardens(ground, start, end, side)
    else:
        _row(ground, start, end, side, _setback(ground))
    if ground.style == "boulevard" or draw.random() < 0.4:
        gap = draw.uniform(7, 13)
        for z in np.arange(start + 6, end - 4, gap):
            x, z, _ = ground.beside(float(z), roads.half + 0.8, side)
            ground.tree(x, z, 0.85)
    old, gap = bool(draw.random() < 0.3), draw.uniform(22, 32)
    for z in np.arange(start + 3 + (gap / 2 if side < 0 else 0), end, gap):
        x, z, yaw = ground.beside(float(z), roads.half + 0.45, side)
        ground.put(furniture.lamp_post(ground.atlas, 3.6 if old else 7.5, 1.4, old), x, z, yaw)
    if draw.random() < 0.3 and end - start > 12:
        low = draw.uniform(start, end - 10)
        for z in np.arange(low, low + 8, 1.6):
            x, z, yaw = ground.beside(float(z), roads.half + 0.35, side)
            ground.put(furniture.bollard(ground.atlas), x, z, yaw)


def _row(ground: Ground, start: float, end: float, side: int, offset: float) -> None:
    """House beside house."""
    draw, low = ground.draw, start
    while low < end - 3:
        width = min(float(draw.uniform(7, 16)), end - low)
        if end - low - width < 5:
            width = end - low
        shops, gabled = ground.shops and bool(draw.random() < 0.85), bool(draw.random() < 0.55)
        house = draw_house(draw, ground.atlas, width, 11.0, int(draw.integers(*ground.floors)), shops, gabled)
        x, z, yaw = ground.beside(low + width / 2, offset + float(draw.choice([0, 0, 0.3])), side)
        along = np.array([np.cos(yaw), -np.sin(yaw)]) * width / 2
        ground.put(house, x - along[0], z - along[1], yaw, 0.0)
        low += width
        if draw.random() < 0.08:
            low += 2.5
    if draw.random() < 0.5:
        middle = (start + end) / 2
        x, z, yaw = ground.beside(middle, offset + draw.uniform(18, 35), side)
        tower = draw_house(draw, ground.atlas, float(draw.uniform(14, 24)), 14.0, int(draw.integers(7, 13)), False, False)
        ground.put(tower, x, z, yaw, 0.0)


def _gardens(ground: Ground, start: float, end: float, side: int) -> None:
    """Houses by themselves, each in a garden behind a hedge, a fence or a wall."""
    draw, offset, low = ground.draw, ground.roads.half + ground.roads.pavement, start + 1
    while low < end - 9:
        plot = min(float(draw.uniform(12, 19)), end - low)
        width = min(plot - 2.5, float(draw.uniform(8, 12)))
        house = draw_house(draw, ground.atlas, width, 8.5, int(draw.integers(*ground.floors)), False, bool(draw.random() < 0.9))
        x, z, yaw = ground.beside(low + plot / 2, offset + float(draw.uniform(4, 6.5)), side)
        along = np.array([np.cos(yaw), -np.sin(yaw)])
        ground.put(house, x - along[0] * width / 2, z - along[1] * width / 2, yaw, 0.0)
        _border(ground, low + 0.3, low + plot - 3.0 if draw.random() < 0.6 else low + plot - 0.3, side, offset + 0.2)
        for _ in range(int(draw.integers(1, 4))):
            at = ground.beside(float(draw.uniform(low, low + plot)), offset + float(draw.uniform(1.4, 3.2)), side)
            if draw.random() < 0.3:
                ground.tree(at[0], at[1], 0.55)
            else:
                bush = plants.draw_bush(draw, ground.atlas, float(draw.uniform(0.8, 1.6)), ground.autumn)
                ground.put(bush, at[0], at[1], draw.uniform(0, 6))
        low += plot
    for z in np.arange(start, end, 7.0):
        x, z, _ = ground.beside(float(z + draw.uniform(0, 4)), offset + float(draw.uniform(17, 26)), side)
        ground.tree(x, z, 1.15)


def _border(ground: Ground, start: float, end: float, side: int, offset: float) -> None:
    draw, length = ground.draw, end - start
    kind = str(draw.choice(["hedge", "fence", "wall", "none"], p=[0.4, 0.3, 0.2, 0.1]))
    x, z, yaw = ground.beside((start + end) / 2, offset, side)
    x, z = x - np.cos(yaw) * length / 2, z + np.sin(yaw) * length / 2
    if kind == "hedge":
        ground.put(plants.draw_hedge(draw, ground.atlas, length, float(draw.uniform(0.9, 1.9)), ground.autumn), x, z, yaw)
    elif kind == "fence":
        ground.put(furniture.fence(draw, ground.atlas, length), x, z, yaw)
    elif kind == "wall":
        ground.put(furniture.garden_wall(draw, ground.atlas, length), x, z, yaw)


def _park(ground: Ground, start: float, end: float, side: int) -> None:
    draw, offset = ground.draw, ground.roads.half + ground.roads.pavement
    _border(ground, start + 1, end - 1, side, offset + 0.2)
    for row in range(5):
        for z in np.arange(start + 2, end - 2, 6.5 + row):
            x, z, _ = ground.beside(float(z + draw.uniform(-2, 2)), offset + 3 + 6.5 * row + float(draw.uniform(-2, 2)), side)
            ground.tree(x, z, 1.0 + 0.1 * row)


def _side_street(ground: Ground, crossing: Crossing, side: int) -> None:
    """Houses along a street across, and what closes it."""
    draw, roads = ground.draw, ground.roads
    middle = float(roads.centre(np.array([crossing.z]))[0])
    first = roads.half + roads.pavement + {"town": 12.0, "suburb": 16.0, "boulevard": 14.5}[ground.style]
    for up in (-1, 1):
        reach = first
        while reach < _SIDE_STREET:
            width = float(draw.uniform(8, 14))
            house = draw_house(draw, ground.atlas, width, 10.0, int(draw.integers(*ground.floors)), False, bool(draw.random() < 0.6))
            z = crossing.z + up * (crossing.half + roads.pavement + (0 if ground.style != "suburb" else 4))
            end = middle + side * reach if (side > 0) == (up > 0) else middle + side * (reach + width)
            ground.put(house, end, z, 0.0 if up > 0 else np.pi, 0.0)
            if ground.style != "town" and draw.random() < 0.6:
                ground.tree(middle + side * (reach + width / 2), crossing.z + up * (crossing.half + 0.8), 0.7)
            reach += width + (0.0 if ground.style != "suburb" else 3.0)
    for z in np.arange(-14, 15, 7.0):
        ground.tree(middle + side * (_SIDE_STREET + 14 + draw.uniform(-2, 2)), crossing.z + float(z), 1.3)
    x = middle + side * (_SIDE_STREET + 24)
    house = draw_house(draw, ground.atlas, 40.0, 10.0, ground.floors[1], False, False)
    ground.put(house, x, crossing.z - side * -20, side * np.pi / 2, 0.0)


def _corner(ground: Ground, crossing: Crossing) -> None:
    draw, roads = ground.draw, ground.roads
    lights = draw.random() < 0.5
    for ahead in (-1, 1):
        z = crossing.z + ahead * (crossing.half + roads.pavement + 3.5)
        side = -ahead * roads.traffic
        x, z, yaw = ground.beside(z, roads.half + 0.5, side)
        facing = 0.0 if ahead < 0 else np.pi
        if lights:
            ground.put(furniture.traffic_light(ground.atlas), x, z, facing)
    for _ in range(2):
        z = crossing.z + draw.uniform(-30, 30)
        if abs(z - crossing.z) > crossing.half + roads.pavement + 4:
            side = int(draw.choice([-1, 1]))
            x, z, _ = ground.beside(float(z), roads.half + 0.4, side)
            ground.put(furniture.road_sign(draw, ground.atlas), x, z, 0.0 if side == roads.traffic else np.pi)


def _end(ground: Ground) -> None:
    """What closes the main street far ahead."""
    z = ground.length + BEYOND
    x = float(ground.roads.centre(np.array([z]))[0])
    for offset in (-45.0, -15.0, 15.0):
        house = draw_house(ground.draw, ground.atlas, 30.0, 12.0, int(ground.draw.integers(3, 8)), False, False)
        ground.put(house, x + offset, z + 8, 0.0, 0.0)
    for offset in np.arange(-50, 51, 9.0):
        ground.tree(x + offset, z + ground.draw.uniform(0, 5), 1.1)


def _parked(ground: Ground) -> None:
    """Cars in the strips beside the lanes of the main street, and some in the streets across."""
    draw, roads = ground.draw, ground.roads
    crowded = draw.uniform(0.35, 0.9)
    for side in (-1, 1):
        z = -BEFORE
        while roads.parking and z < ground.length + 110:
            z += float(draw.uniform(5.4, 7.0))
            clear = min((abs(z - crossing.z) - crossing.half for crossing in roads.crossings), default=99)
            if clear > 9.5 and draw.random() < crowded:
                x, at, yaw = ground.beside(z, roads.half - 1.05 + float(draw.normal(0, 0.06)), side)
                turn = side * roads.traffic < 0 and draw.random() < 0.85
                _park_car(ground, x, at, yaw - side * np.pi / 2 + (np.pi if turn else 0) + float(draw.normal(0, 0.015)))
    for crossing in roads.crossings:
        for side in crossing.sides:
            for reach in np.arange(roads.half + 12, 55, 6.5):
                if draw.random() < 0.3 and crossing.z < ground.length + 60:
                    x = float(roads.centre(np.array([crossing.z]))[0]) + side * float(reach)
                    _park_car(ground, x, crossing.z + crossing.half - 1.0, np.pi / 2 * float(draw.choice([-1, 1])))


def _park_car(ground: Ground, x: float, z: float, yaw: float) -> None:
    car = draw_car(ground.draw, ground.atlas)
    ground.parked.append((car, np.array([x, z, yaw])))
