"""The static part of a town: houses, gardens, parks, trees, street furniture and parked cars along its streets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from . import furniture, plants
from .atlas import Atlas
from .cars import Car, draw_car
from .drive import BlobShadow
from .houses import draw_house
from .meshes import Mesh, rigid_motion
from .roads import KERB, Crossing, Roads

Array = NDArray[np.floating]

STYLES = {"town": 0.45, "suburb": 0.3, "boulevard": 0.25}
"""Style -> probability. town: rows of tall houses with shops; suburb: houses in gardens; boulevard: tall houses behind rows of trees."""
METRES_AHEAD = 200.0
"""The street is built this far ahead of the last position of the camera."""
METRES_BEHIND = 25.0
"""The street begins this far behind the first position of the camera."""
_SIDE_STREET = 75.0
"""Length of a side street in metres."""


@dataclass
class TownBuilder:
    """A town while it is built.

    style: one of STYLES. floors: range of the number of floors, without its end. length: of the drive in metres. trees: meshes to choose
    from. parked_cars: each with its x, z and yaw.
    """

    roads: Roads
    atlas: Atlas
    rng: np.random.Generator
    style: str
    autumn: bool
    shops: bool
    floors: tuple[int, int]
    length: float
    meshes: list[Mesh] = field(default_factory=list)
    parked_cars: list[tuple[Car, Array]] = field(default_factory=list)
    blob_shadows: list[BlobShadow] = field(default_factory=list)
    trees: list[Mesh] = field(default_factory=list)

    def add(self, mesh: Mesh, x: float, z: float, yaw: float = 0.0, height: float = KERB, scale: float = 1.0) -> None:
        """Add a mesh at (x, height, z), scaled, then rotated by yaw."""
        motion = rigid_motion(yaw, (x, height, z))
        self.meshes.append(replace(mesh, corners=mesh.corners * scale).transform(motion))

    def position_beside(self, z: float, offset: float, side: int) -> tuple[float, float, float]:
        """x, z and yaw of a position `offset` metres to the left (side = -1) or right (1) of the main street's middle.

        The z axis of an object with this yaw points away from the street.
        """
        angle = float(np.arctan(self.roads.slope(np.array([z]))[0]))
        x = float(self.roads.centre(np.array([z]))[0])
        return x + side * offset * np.cos(angle), z - side * offset * np.sin(angle), angle + side * np.pi / 2

    def add_tree(self, x: float, z: float, scale: float = 1.0) -> None:
        mesh = self.trees[int(self.rng.integers(len(self.trees)))]
        self.add(mesh, x, z, self.rng.uniform(0, 6.28), scale=scale * float(self.rng.uniform(0.8, 1.15)))
        self.blob_shadows.append(BlobShadow(x, z, 0.0, (0.5 * scale, 0.5 * scale), 0.5))


def build_town(rng: np.random.Generator, atlas: Atlas, roads: Roads, length: float, style: str) -> TownBuilder:
    """The static part of a town for a drive of `length` metres. style: one of STYLES."""
    autumn, shops = bool(rng.random() < 0.2), bool(rng.random() < 0.7 and style != "suburb")
    floors = {"town": (3, 6), "suburb": (2, 3), "boulevard": (4, 7)}[style]
    town = TownBuilder(roads, atlas, rng, style, autumn, shops, floors, length)
    town.trees = [plants.draw_tree(rng, atlas, float(rng.uniform(6.5, 11)), autumn) for _ in range(6)]
    edges = [-METRES_BEHIND, *(edge for crossing in roads.crossings for edge in _crossing_range(crossing, roads)), length + METRES_AHEAD]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end > length + METRES_AHEAD:
            end = length + METRES_AHEAD
        for side in (-1, 1):
            if end - start > 7:
                _block(town, start, end, side)
    for crossing in roads.crossings:
        if crossing.z < length + METRES_AHEAD:
            for side in (-1, 1):
                if side in crossing.sides:
                    _side_street(town, crossing, side)
                else:
                    _house_row(town, *_crossing_range(crossing, roads), side, _setback(town))
            _furnish_crossing(town, crossing)
    _block_far_end(town)
    _park_cars(town)
    return town


def _crossing_range(crossing: Crossing, roads: Roads) -> tuple[float, float]:
    """z of the beginning and the end of a side street with its pavements."""
    reach = crossing.half + roads.pavement
    return crossing.z - reach, crossing.z + reach


def _setback(town: TownBuilder) -> float:
    """Distance of the houses from the middle of the main street."""
    roads = town.roads
    return roads.half + roads.pavement + {"town": 0.0, "suburb": 5.0, "boulevard": 2.5}[town.style]


def _block(town: TownBuilder, start: float, end: float, side: int) -> None:
    """One side of the main street between two crossings."""
    rng, roads = town.rng, town.roads
    if rng.random() < (0.2 if town.style == "suburb" else 0.1):
        _build_park(town, start, end, side)
    elif town.style == "suburb":
        _houses_with_gardens(town, start, end, side)
    else:
        _house_row(town, start, end, side, _setback(town))
    if town.style == "boulevard" or rng.random() < 0.4:
        gap = rng.uniform(7, 13)
        for z in np.arange(start + 6, end - 4, gap):
            x, z, _ = town.position_beside(float(z), roads.half + 0.8, side)
            town.add_tree(x, z, 0.85)
    old, gap = bool(rng.random() < 0.3), rng.uniform(22, 32)
    for z in np.arange(start + 3 + (gap / 2 if side < 0 else 0), end, gap):
        x, z, yaw = town.position_beside(float(z), roads.half + 0.45, side)
        town.add(furniture.lamp_post(town.atlas, height=3.6 if old else 7.5, arm=1.4, old=old), x, z, yaw)
    if rng.random() < 0.3 and end - start > 12:
        first = rng.uniform(start, end - 10)
        for z in np.arange(first, first + 8, 1.6):
            x, z, yaw = town.position_beside(float(z), roads.half + 0.35, side)
            town.add(furniture.bollard(town.atlas), x, z, yaw)


def _house_row(town: TownBuilder, start: float, end: float, side: int, offset: float) -> None:
    """A row of adjacent houses, `offset` metres from the middle of the street."""
    rng, house_start = town.rng, start
    while house_start < end - 3:
        width = min(float(rng.uniform(7, 16)), end - house_start)
        if end - house_start - width < 5:
            width = end - house_start
        shops, gabled = town.shops and bool(rng.random() < 0.85), bool(rng.random() < 0.55)
        house = draw_house(rng, town.atlas, width, depth=11.0, floors=int(rng.integers(*town.floors)), shops=shops, gabled=gabled)
        x, z, yaw = town.position_beside(house_start + width / 2, offset + float(rng.choice([0, 0, 0.3])), side)
        along = np.array([np.cos(yaw), -np.sin(yaw)]) * width / 2
        town.add(house, x - along[0], z - along[1], yaw, 0.0)
        house_start += width
        if rng.random() < 0.08:
            house_start += 2.5
    if rng.random() < 0.5:
        middle = (start + end) / 2
        x, z, yaw = town.position_beside(middle, offset + rng.uniform(18, 35), side)
        width = float(rng.uniform(14, 24))
        tower = draw_house(rng, town.atlas, width, depth=14.0, floors=int(rng.integers(7, 13)), shops=False, gabled=False)
        town.add(tower, x, z, yaw, 0.0)


def _houses_with_gardens(town: TownBuilder, start: float, end: float, side: int) -> None:
    """Detached houses, each in a garden behind a hedge, a fence or a wall."""
    rng, offset, plot_start = town.rng, town.roads.half + town.roads.pavement, start + 1
    while plot_start < end - 9:
        plot = min(float(rng.uniform(12, 19)), end - plot_start)
        width = min(plot - 2.5, float(rng.uniform(8, 12)))
        floors, gabled = int(rng.integers(*town.floors)), bool(rng.random() < 0.9)
        house = draw_house(rng, town.atlas, width, depth=8.5, floors=floors, shops=False, gabled=gabled)
        x, z, yaw = town.position_beside(plot_start + plot / 2, offset + float(rng.uniform(4, 6.5)), side)
        along = np.array([np.cos(yaw), -np.sin(yaw)])
        town.add(house, x - along[0] * width / 2, z - along[1] * width / 2, yaw, 0.0)
        border_end = plot_start + plot - (3.0 if rng.random() < 0.6 else 0.3)
        _garden_border(town, plot_start + 0.3, border_end, side, offset + 0.2)
        for _ in range(int(rng.integers(1, 4))):
            at = town.position_beside(float(rng.uniform(plot_start, plot_start + plot)), offset + float(rng.uniform(1.4, 3.2)), side)
            if rng.random() < 0.3:
                town.add_tree(at[0], at[1], 0.55)
            else:
                bush = plants.draw_bush(rng, town.atlas, float(rng.uniform(0.8, 1.6)), town.autumn)
                town.add(bush, at[0], at[1], rng.uniform(0, 6))
        plot_start += plot
    for z in np.arange(start, end, 7.0):
        x, z, _ = town.position_beside(float(z + rng.uniform(0, 4)), offset + float(rng.uniform(17, 26)), side)
        town.add_tree(x, z, 1.15)


def _garden_border(town: TownBuilder, start: float, end: float, side: int, offset: float) -> None:
    rng, length = town.rng, end - start
    kind = str(rng.choice(["hedge", "fence", "wall", "none"], p=[0.4, 0.3, 0.2, 0.1]))
    x, z, yaw = town.position_beside((start + end) / 2, offset, side)
    x, z = x - np.cos(yaw) * length / 2, z + np.sin(yaw) * length / 2
    if kind == "hedge":
        town.add(plants.draw_hedge(rng, town.atlas, length, float(rng.uniform(0.9, 1.9)), town.autumn), x, z, yaw)
    elif kind == "fence":
        town.add(furniture.fence(rng, town.atlas, length), x, z, yaw)
    elif kind == "wall":
        town.add(furniture.garden_wall(rng, town.atlas, length), x, z, yaw)


def _build_park(town: TownBuilder, start: float, end: float, side: int) -> None:
    """A park with rows of trees behind a hedge, a fence or a wall, beside the main street from z = start to end."""
    rng, offset = town.rng, town.roads.half + town.roads.pavement
    _garden_border(town, start + 1, end - 1, side, offset + 0.2)
    for row in range(5):
        for z in np.arange(start + 2, end - 2, 6.5 + row):
            x, z, _ = town.position_beside(float(z + rng.uniform(-2, 2)), offset + 3 + 6.5 * row + float(rng.uniform(-2, 2)), side)
            town.add_tree(x, z, 1.0 + 0.1 * row)


def _side_street(town: TownBuilder, crossing: Crossing, side: int) -> None:
    """Houses and trees along a side street, and a house across its end."""
    rng, roads = town.rng, town.roads
    middle = float(roads.centre(np.array([crossing.z]))[0])
    first_distance = roads.half + roads.pavement + {"town": 12.0, "suburb": 16.0, "boulevard": 14.5}[town.style]
    for far_side in (-1, 1):  # the side of the side street: -1 nearer to the camera, 1 farther from it
        distance = first_distance
        while distance < _SIDE_STREET:
            width = float(rng.uniform(8, 14))
            floors, gabled = int(rng.integers(*town.floors)), bool(rng.random() < 0.6)
            house = draw_house(rng, town.atlas, width, depth=10.0, floors=floors, shops=False, gabled=gabled)
            z = crossing.z + far_side * (crossing.half + roads.pavement + (0 if town.style != "suburb" else 4))
            house_x = middle + side * distance if (side > 0) == (far_side > 0) else middle + side * (distance + width)
            town.add(house, house_x, z, 0.0 if far_side > 0 else np.pi, 0.0)
            if town.style != "town" and rng.random() < 0.6:
                town.add_tree(middle + side * (distance + width / 2), crossing.z + far_side * (crossing.half + 0.8), 0.7)
            distance += width + (0.0 if town.style != "suburb" else 3.0)
    for z in np.arange(-14, 15, 7.0):
        town.add_tree(middle + side * (_SIDE_STREET + 14 + rng.uniform(-2, 2)), crossing.z + float(z), 1.3)
    x = middle + side * (_SIDE_STREET + 24)
    house = draw_house(rng, town.atlas, width=40.0, depth=10.0, floors=town.floors[1], shops=False, gabled=False)
    town.add(house, x, crossing.z + side * 20, side * np.pi / 2, 0.0)


def _furnish_crossing(town: TownBuilder, crossing: Crossing) -> None:
    """Traffic lights and signs."""
    rng, roads = town.rng, town.roads
    lights = rng.random() < 0.5
    for ahead in (-1, 1):
        z = crossing.z + ahead * (crossing.half + roads.pavement + 3.5)
        side = -ahead * roads.traffic
        x, z, yaw = town.position_beside(z, roads.half + 0.5, side)
        facing = 0.0 if ahead < 0 else np.pi
        if lights:
            town.add(furniture.traffic_light(town.atlas), x, z, facing)
    for _ in range(2):
        z = crossing.z + rng.uniform(-30, 30)
        if abs(z - crossing.z) > crossing.half + roads.pavement + 4:
            side = int(rng.choice([-1, 1]))
            x, z, _ = town.position_beside(float(z), roads.half + 0.4, side)
            town.add(furniture.road_sign(rng, town.atlas), x, z, 0.0 if side == roads.traffic else np.pi)


def _block_far_end(town: TownBuilder) -> None:
    """Houses and trees across the far end of the main street."""
    z = town.length + METRES_AHEAD
    x = float(town.roads.centre(np.array([z]))[0])
    for offset in (-45.0, -15.0, 15.0):
        floors = int(town.rng.integers(3, 8))
        house = draw_house(town.rng, town.atlas, width=30.0, depth=12.0, floors=floors, shops=False, gabled=False)
        town.add(house, x + offset, z + 8, 0.0, 0.0)
    for offset in np.arange(-50, 51, 9.0):
        town.add_tree(x + offset, z + town.rng.uniform(0, 5), 1.1)


def _park_cars(town: TownBuilder) -> None:
    """Park cars in the strips beside the lanes of the main street, and some in the side streets."""
    rng, roads = town.rng, town.roads
    occupancy = rng.uniform(0.35, 0.9)
    for side in (-1, 1):
        z = -METRES_BEHIND
        while roads.parking and z < town.length + 110:
            z += float(rng.uniform(5.4, 7.0))
            clear = min((abs(z - crossing.z) - crossing.half for crossing in roads.crossings), default=99)
            if clear > 9.5 and rng.random() < occupancy:
                x, at, yaw = town.position_beside(z, roads.half - 1.05 + float(rng.normal(0, 0.06)), side)
                as_oncoming = side * roads.traffic < 0 and rng.random() < 0.85
                _park_car(town, x, at, yaw - side * np.pi / 2 + (np.pi if as_oncoming else 0) + float(rng.normal(0, 0.015)))
    for crossing in roads.crossings:
        for side in crossing.sides:
            for reach in np.arange(roads.half + 12, 55, 6.5):
                if rng.random() < 0.3 and crossing.z < town.length + 60:
                    x = float(roads.centre(np.array([crossing.z]))[0]) + side * float(reach)
                    _park_car(town, x, crossing.z + crossing.half - 1.0, np.pi / 2 * float(rng.choice([-1, 1])))


def _park_car(town: TownBuilder, x: float, z: float, yaw: float) -> None:
    """Add a random parked car."""
    car = draw_car(town.rng, town.atlas)
    town.parked_cars.append((car, np.array([x, z, yaw])))
