"""The ground of a town: a main street with bends, side streets, kerbs, pavements, markings and lawns.

Roads are at height 0, and everything beside them is at height KERB. x is right, z along the main street, in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas, sample

Array = NDArray[np.floating]

KERB = 0.13
ROAD, PAVEMENT, LAWN = range(3)
_ROUNDING = 7.0
"""Metres over which the edges of two roads are blended into a rounded corner."""


@dataclass(frozen=True)
class Crossing:
    """A side street at `z`. half: half its width. sides: to the left (-1), to the right (1), or both. zebra: with pedestrian crossings."""

    z: float
    half: float
    sides: tuple[int, ...]
    zebra: bool


@dataclass(frozen=True)
class Roads:
    """The streets of a town.

    half: half the width of the main street. lane: distance of the middle of a lane from the middle of the road. pavement: width of a
    pavement. parking: width of each strip for parked cars, or 0. traffic: 1 if cars drive on the right, -1 on the left. bend: amplitude,
    wavelength / 2 pi and phase of the sine that the main street follows. dashes: length of a dash of the centre line, and period.
    centre_line: dashed, double or none. paint, dark: brightness of the markings and of the asphalt.
    """

    half: float
    lane: float
    pavement: float
    parking: float
    traffic: int
    bend: tuple[float, float, float]
    crossings: tuple[Crossing, ...]
    dashes: tuple[float, float]
    centre_line: str
    edge_lines: bool
    lawn: bool
    paint: float
    dark: float

    def centre(self, z: Array) -> Array:
        """x of the middle of the main street at z."""
        size, length, phase = self.bend
        return np.asarray(size * (np.sin(z / length + phase) - np.sin(phase)), z.dtype)

    def slope(self, z: Array) -> Array:
        """The slope dx / dz of the main street at z."""
        size, length, phase = self.bend
        return np.asarray(size / length * np.cos(z / length + phase), z.dtype)

    def edge_distance(self, x: Array, z: Array) -> Array:
        """The approximate distance to the edge of the nearest road, negative on the road."""
        distance = np.abs(x - self.centre(z)) - self.half
        for crossing in self.crossings:
            along = np.abs(z - crossing.z)
            near = along < crossing.half + self.pavement + 30
            if not near.any():
                continue
            other = along[near] - crossing.half
            if len(crossing.sides) == 1:
                other = np.maximum(other, -crossing.sides[0] * (x[near] - self.centre(z[near])))
            overlap = np.maximum(_ROUNDING - np.abs(distance[near] - other), 0) / _ROUNDING
            distance[near] = np.minimum(distance[near], other) - overlap**2 * (_ROUNDING / 4)
        return distance

    def intersect(self, eye: Array, rays: Array) -> tuple[Array, Array]:
        """Where rays [N, 3] that point down meet the ground, at eye + t ray: t [N], and the distance from the edge of the road [N].

        A ray that is above a road when it reaches the pavement's height, and below a pavement when it reaches the road's height, meets the
        kerb in between.
        """
        high, low = ((eye[1] - height) / -rays[:, 1] for height in (KERB, 0.0))

        def edge_at(t: Array, chosen: NDArray[np.bool_]) -> Array:
            return self.edge_distance(eye[0] + t * rays[chosen, 0], eye[2] + t * rays[chosen, 2])

        everywhere = np.ones(len(rays), bool)
        above, below = edge_at(high, everywhere), edge_at(low, everywhere)
        t, edge = np.where(above > 0, high, low), np.where(above > 0, above, below)
        kerb = (above <= 0) & (below > 0)
        if kerb.any():
            first, last, one, other = high[kerb], low[kerb], above[kerb], below[kerb]
            for _ in range(3):
                middle = first + (last - first) * np.clip(one / np.minimum(one - other, -1e-9), 0.02, 0.98)
                value = edge_at(middle, kerb)
                on_road = value <= 0
                first, one = np.where(on_road, middle, first), np.where(on_road, value, one)
                last, other = np.where(on_road, last, middle), np.where(on_road, other, value)
            t[kerb], edge[kerb] = first, 0.0
        return t, edge

    def colour(
        self, atlas: Atlas, x: Array, z: Array, edge: Array, footprint: tuple[Array, Array], noise: Array
    ) -> tuple[Array, NDArray[np.integer]]:
        """Linear RGB [N, 3] and kinds [N] (ROAD, PAVEMENT, LAWN) of the ground at x, z, with the distance `edge` from the edge of the road.

        footprint: the metres that a sample covers in x and in z. noise [S, S, 3]: seamless, with mean 0 and standard deviation 1.
        """
        grime = sample(noise, x * 11 % len(noise), z * 11 % len(noise))[:, 0]
        kind = np.where(edge < 0, ROAD, np.where((edge < self.pavement) | (not self.lawn), PAVEMENT, LAWN))
        tile = np.array([atlas["asphalt"], atlas["paving"], atlas["grass"]])[kind]
        metres = np.array([3.0, 1.8, 2.6], np.float32)[kind]
        sample_size = np.sqrt(footprint[0] * footprint[1])
        texels = sample_size * 512 / metres
        colour = atlas.look_up(tile, np.stack([x / metres, z / metres], -1), texels)[:, :3]
        colour *= (1 + 0.07 * grime)[:, None]
        road = np.flatnonzero(kind == ROAD)
        colour[road] *= _cracks(noise, x[road], z[road], sample_size[road])[:, None]
        colour[road] = self._road_colour(colour[road], *(part[road] for part in (x, z, *footprint, grime)))
        stone = _stripe(edge, 0.0, 0.16, sample_size)
        colour += (np.float32(0.34) - colour) * (0.75 * stone)[:, None]
        gutter = _stripe(edge, -0.35, 0.0, sample_size)
        colour *= (1 - 0.13 * gutter)[:, None]
        return colour, kind

    def _road_colour(self, colour: Array, x: Array, z: Array, footprint_x: Array, footprint_z: Array, grime: Array) -> Array:
        """Linear RGB of the road's surface: darker where wheels run, with markings."""
        across = x - self.centre(z)
        beyond = np.full(len(x), np.inf, np.float32)
        for crossing in self.crossings:
            beyond = np.minimum(beyond, np.abs(z - crossing.z) - crossing.half)
        main = np.abs(across) < self.half
        wheel = np.abs(np.abs(np.abs(across) - self.lane) - 0.75)
        worn = np.exp(-((wheel / 0.35) ** 2)) * main * (beyond > 0)
        colour = colour * (self.dark * (1 - 0.1 * worn))[:, None]
        paint = np.zeros(len(x), np.float32)
        allowed = np.clip((beyond - 7.0) / np.maximum(footprint_z, 0.05), 0, 1) * main
        on, period = self.dashes
        if self.centre_line == "dashed":
            paint = np.maximum(paint, allowed * _stripe(across, -0.07, 0.07, footprint_x) * _dashes(z, on, period, footprint_z))
        elif self.centre_line == "double":
            pair = _stripe(across, -0.2, -0.08, footprint_x) + _stripe(across, 0.08, 0.2, footprint_x)
            paint = np.maximum(paint, allowed * pair)
        side = self.half - self.parking - 0.25
        if self.edge_lines:
            lines = _stripe(np.abs(across), side - 0.06, side + 0.06, footprint_x)
            paint = np.maximum(paint, allowed * lines)
        elif self.parking:
            bays = _stripe(np.abs(across), side, side + 0.1, footprint_x) * _dashes(z, 0.8, 1.6, footprint_z)
            paint = np.maximum(paint, allowed * bays)
        for crossing in self.crossings:
            paint = np.maximum(paint, self._crossing_marks(crossing, across, z, footprint_x, footprint_z))
        opacity = np.clip(0.85 + 0.18 * grime - 0.25 * worn, 0.25, 1)
        return np.asarray(colour + (self.paint - colour) * (paint * opacity)[:, None], np.float32)

    def _crossing_marks(self, crossing: Crossing, across: Array, z: Array, footprint_x: Array, footprint_z: Array) -> Array:
        """Stop lines and zebra crossings on the main street, give-way lines and centre lines on the side street: opacity [N]."""
        away = z - crossing.z
        near = np.flatnonzero(np.abs(away) < crossing.half + 12)
        opacity = np.zeros(len(z), np.float32)
        if not len(near):
            return opacity
        away, across, footprint_x, footprint_z = away[near], across[near], footprint_x[near], footprint_z[near]
        inside = np.abs(across) < self.half - 0.2
        approaching = across * np.sign(away) * self.traffic < 0
        beyond = np.abs(away) - crossing.half
        marks = _stripe(beyond, 6.6, 7.0, footprint_z) * inside * approaching
        if crossing.zebra:
            bars = _dashes(across, 0.5, 1.0, footprint_x) * _stripe(beyond, 2.6, 5.6, footprint_z) * inside
            marks = np.maximum(marks, bars)
        outside = np.abs(across) - self.half
        gives_way = away * np.sign(across) * self.traffic > 0
        dashed = _stripe(outside, 1.6, 1.9, footprint_x) * _dashes(away, 0.5, 1.0, footprint_z) * gives_way
        middle = _stripe(away, -0.07, 0.07, footprint_z) * _dashes(np.abs(across), 2.0, 5.0, footprint_x) * (outside > 4)
        open_side = np.isin(np.sign(across), crossing.sides)
        opacity[near] = np.maximum(marks, np.maximum(dashed, middle) * open_side * (np.abs(away) < crossing.half - 0.2))
        return opacity


def _cracks(noise: Array, x: Array, z: Array, sample_size: Array) -> Array:
    """The factor [N] by which cracks (level lines of the noise) and patches darken asphalt."""
    size = len(noise)
    level = sample(noise, (x * 37 + 100) % size, (z * 29 + 50) % size)[:, 0]
    line = np.exp(-np.square(level / (0.02 + 0.6 * sample_size))) * np.clip(0.035 / sample_size, 0, 1)
    patch = sample(noise, (z * 7 + 200) % size, (x * 9 + 300) % size)[:, 0]
    return np.asarray(1 - 0.3 * line * np.clip(patch + 0.6, 0, 1) - 0.16 * np.clip((patch - 1.3) / (0.03 + sample_size), 0, 1))


def _stripe(position: Array, low: float, high: float, sample_size: Array) -> Array:
    """The share of the interval of width `sample_size` around `position` that lies between low and high."""
    return np.clip((np.minimum(high, position + sample_size / 2) - np.maximum(low, position - sample_size / 2)) / sample_size, 0, 1)


def _dashes(position: Array, on: float, period: float, sample_size: Array) -> Array:
    """As `_stripe`, for stripes of width `on` that begin at each multiple of `period`."""

    def filled(end: Array) -> Array:
        return np.floor(end / period) * on + np.minimum(end % period, on)

    return np.asarray((filled(position + sample_size / 2) - filled(position - sample_size / 2)) / sample_size)


def draw_roads(rng: np.random.Generator, length: float, style: str) -> Roads:
    """Streets for a drive of `length` metres that begins at z = 0. style: one of `layout.STYLES`."""
    lane = rng.uniform(1.6, 1.95)
    parking = 2.2 if rng.random() < 0.65 else 0.0
    half = 2 * lane + parking
    z, crossings = rng.uniform(18, 75), []
    while z < length + 220:
        sides = ((-1, 1), (-1,), (1,))[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        crossings.append(Crossing(float(z), float(rng.uniform(3.2, 4.2)), sides, bool(rng.random() < 0.6)))
        z += rng.uniform(55, 110)
    bend = (rng.choice([0, 1]) * rng.uniform(3, 10), rng.uniform(45, 80), rng.uniform(0, 6.28))
    return Roads(
        half=float(half),
        lane=float(lane),
        pavement=float(rng.uniform(2.2, 4.0)),
        parking=parking,
        traffic=int(rng.choice([-1, 1])),
        bend=(float(bend[0]), float(bend[1]), float(bend[2])),
        crossings=tuple(crossings),
        dashes=((2.0, 6.0), (3.0, 9.0), (1.5, 4.5))[int(rng.integers(3))],
        centre_line=str(rng.choice(["dashed", "dashed", "double", "none"])),
        edge_lines=bool(rng.random() < 0.35),
        lawn=style != "town",
        paint=float(rng.uniform(0.55, 0.75)),
        dark=float(rng.uniform(0.75, 1.15)),
    )
