"""Who moves where: the camera, cars in their lanes, at corners and out of parking places, people on pavements and crossings.

Everything follows a path at a speed that may change. A mover is accepted if it never comes too close to those accepted before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .roads import Crossing, Roads

Array = NDArray[np.floating]


class Path:
    """A line through points [N, 2] (x, z)."""

    def __init__(self, points: Array) -> None:
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        self.points = points[np.concatenate([[True], steps > 1e-6])]
        self.along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self.points, axis=0), axis=1))])
        ahead = np.gradient(self.points, axis=0)
        self.yaw = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 1]))

    def at(self, distance: Array) -> Array:
        """x, z and yaw [T, 3] after `distance` [T] metres; the ends go straight on."""
        found = np.stack([np.interp(distance, self.along, values) for values in (*self.points.T, self.yaw)], -1)
        over = distance - np.clip(distance, 0, self.along[-1])
        return found + np.stack([over * np.sin(found[:, 2]), over * np.cos(found[:, 2]), 0 * over], -1)

    def nearest(self, x: float, z: float) -> float:
        """The distance along the path of its point nearest to (x, z)."""
        return float(self.along[int(np.hypot(self.points[:, 0] - x, self.points[:, 1] - z).argmin())])


def lane(roads: Roads, heading: int, first: float, last: float, offset: float | None = None) -> Array:
    """Points along the main street from z = first to last; heading 1 or -1 along z.

    offset: to the right of the middle of the road as one drives; the middle of the lane without one.
    """
    away = roads.traffic * roads.lane if offset is None else offset
    z = np.arange(first, last + heading * 0.1, heading * 0.5)
    slope = roads.slope(z)
    scale = 1 / np.hypot(1, slope)
    x = roads.centre(z)
    return np.stack([x + heading * away * scale, z - heading * away * slope * scale], -1)


def side_lane(roads: Roads, crossing: Crossing, heading: int, first: float, last: float) -> Array:
    """Points along a street across, heading 1 or -1 along x, from x = first to last relative to the middle of the main street."""
    x = np.arange(first, last + heading * 0.1, heading * 0.5)
    middle = float(roads.centre(np.array([crossing.z]))[0])
    return np.stack([middle + x, np.full(len(x), crossing.z - heading * roads.traffic * crossing.half / 2)], -1)


def joined_by_curve(before: Array, after: Array) -> Array:
    """Two straight pieces and a curve between that leaves and enters them smoothly."""
    start, end = before[-1], after[0]
    reach = 0.55 * float(np.linalg.norm(end - start))
    out, into = before[-1] - before[-2], after[1] - after[0]
    control = [start, start + reach * out / np.linalg.norm(out), end - reach * into / np.linalg.norm(into), end]
    t = np.linspace(0, 1, 60)[1:-1, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return np.concatenate([before, sum(weight * point for weight, point in zip(weights, control, strict=True)), after])


def turning(roads: Roads, crossing: Crossing, heading: int, side: int, first: float) -> Path:
    """From the main street, heading along z from z = first, into the street across, to the left (-1) or right (1) of x."""
    room = crossing.half + 5.0
    before = lane(roads, heading, first, crossing.z - heading * room)
    return Path(joined_by_curve(before, side_lane(roads, crossing, side, side * (roads.half + 3.5), side * 90)))


def entering(roads: Roads, crossing: Crossing, side: int, heading: int, last: float) -> Path:
    """From the street across at `side` into the main one, heading along z."""
    after = lane(roads, heading, crossing.z + heading * (crossing.half + 5.0), last)
    return Path(joined_by_curve(side_lane(roads, crossing, -side, side * 80, side * (roads.half + 3.5)), after))


def shifting(roads: Roads, heading: int, z: float, last: float, outward: bool) -> Path:
    """Out of a parking place at z into the lane, or from the lane into it."""
    points = lane(roads, heading, z - (0 if outward else heading * 60), last if outward else z + heading * 16, 0.0)
    along = np.abs(points[:, 1] - z) if outward else np.abs(points[:, 1] - (z + heading * 16))
    share = np.clip((along - 2) / 11, 0, 1)
    share = share * share * (3 - 2 * share)
    parked, driven = roads.traffic * (roads.half - 1.05), roads.traffic * roads.lane
    angle = np.arctan(roads.slope(points[:, 1]))
    offset = heading * (parked + (driven - parked) * share)
    return Path(points + np.stack([offset * np.cos(angle), -offset * np.sin(angle)], -1))


def travelled(speed: Array, start: float, rate: float) -> Array:
    """Distances [T] at speeds [T] in metres a second."""
    return np.asarray(start + np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 / rate)]))


@dataclass
class Crowd:
    """The places [T, 3] (x, z, yaw) of all who move or stand in the way, as circles [T, 2] with radii."""

    centres: list[Array] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)

    def admits(self, places: Array, half: float, radius: float, gap: float) -> bool:
        """Whether a mover of half-length `half` and the radius of its circles keeps `gap` metres from all; if so, it joins."""
        circles = _circles(places, half)
        for centre, other in zip(self.centres, self.radii, strict=True):
            for circle in circles:
                if (np.hypot(*(circle - centre).T) < radius + other + gap).any():
                    return False
        self.join(places, half, radius)
        return True

    def join(self, places: Array, half: float, radius: float) -> None:
        self.centres += _circles(places, half)
        self.radii += [radius] * len(_circles(places, half))


def _circles(places: Array, half: float) -> list[Array]:
    if half <= 0:
        return [places[:, :2]]
    ahead = np.stack([np.sin(places[:, 2]), np.cos(places[:, 2])], -1)
    return [places[:, :2] + share * half * ahead for share in (-0.62, 0.0, 0.62)]


@dataclass(frozen=True)
class Ride:
    """places [T, 3] (x, z, yaw) and distances [T] of something that drives or walks."""

    places: Array
    distance: Array


def draw_speed(draw: np.random.Generator, count: int, rate: float, base: float) -> Array:
    """A speed that varies slowly, [count]; some start from rest, some come to rest."""
    time = np.arange(count) / rate
    speed = base * (1 + 0.12 * np.sin(time * draw.uniform(0.3, 0.8) + draw.uniform(0, 6)))
    kind = draw.random()
    if kind < 0.1:
        speed *= np.clip((time - draw.uniform(0, 0.8)) / 3.0, 0, 1)
    elif kind < 0.2:
        speed *= np.clip(1 - (time - draw.uniform(0, 1)) / 4.0, 0, 1)
    return np.asarray(speed)


def camera_ride(draw: np.random.Generator, roads: Roads, count: int, rate: float) -> tuple[Path, Ride]:
    """The camera's path and ride, [count] moments from one frame before the first."""
    base, total = float(draw.uniform(4, 13)), count / rate
    if draw.random() < 0.22:
        crossing = roads.crossings[0]
        side = int(draw.choice(crossing.sides))
        base = min(base, 7.0)
        path = turning(roads, crossing, 1, side, -60.0)
        corner = path.nearest(float(roads.centre(np.array([crossing.z]))[0]), crossing.z)
        start = max(corner - draw.uniform(0.15, 0.75) * base * total - 4, 45.0)
        speed = draw_speed(draw, count, rate, base)
        distance = travelled(speed, start, rate)
        slow = 1 - 0.45 * np.exp(-(((distance - corner) / 9) ** 2))
        distance = travelled(speed * slow, start, rate)
    else:
        path = Path(lane(roads, 1, -60.0, base * total * 1.2 + 260))
        distance = travelled(draw_speed(draw, count, rate, base), 60.0, rate)
    return path, Ride(path.at(distance), distance)


def car_rides(draw: np.random.Generator, roads: Roads, own: Path, ride: Ride, count: int, rate: float) -> Sequence[Ride]:
    """Proposals of cars that move, the likeliest to matter first."""
    rides, reach = [], float(ride.places[:, 1].max())
    speed = np.gradient(ride.distance) * rate
    if draw.random() < 0.6:
        ahead = float(draw.uniform(9, 24))
        rides.append(_ride(own, travelled(speed * draw.uniform(0.97, 1.06), float(ride.distance[0]) + ahead, rate)))
    beside = [crossing for crossing in roads.crossings if crossing.z < reach + 60]
    for crossing in beside[:3]:
        for _ in range(2):
            rides.append(_at_crossing(draw, roads, crossing, count, rate))
    if roads.parking and draw.random() < 0.5:
        heading = int(draw.choice([-1, 1]))
        z = float(draw.uniform(ride.places[0, 1] + 12, reach + 40))
        pace = draw_speed(draw, count, rate, 4.0) * np.clip((np.arange(count) / rate - draw.uniform(0, 0.8)) / 2.0, 0, 1)
        rides.append(_ride(shifting(roads, heading, z, z + heading * 120, True), travelled(pace, 0.0, rate)))
    if roads.parking and draw.random() < 0.35:
        heading = int(draw.choice([-1, 1]))
        path = shifting(roads, heading, float(draw.uniform(ride.places[0, 1] + 12, reach + 40)), 0.0, False)
        left = np.clip(travelled(np.full(count, 5.0), float(draw.uniform(38, 60)), rate), 0, 74.0)
        rides.append(_ride(path, 76.0 - 20.0 * np.exp(-(left - 38) / 14)))
    oncoming = Path(lane(roads, -1, reach + 170, -120))
    place = oncoming.nearest(0.0, reach + 120)
    while place < oncoming.along[-1] - 90:
        rides.append(_ride(oncoming, travelled(draw_speed(draw, count, rate, float(draw.uniform(6, 11))), place, rate)))
        place += float(draw.uniform(9, 45))
    same_way = Path(lane(roads, 1, -60.0, reach + 200))
    place = same_way.nearest(*ride.places[0, :2]) + draw.uniform(25, 50)
    while place < same_way.along[-1] - 60:
        rides.append(_ride(same_way, travelled(draw_speed(draw, count, rate, float(draw.uniform(6, 12))), place, rate)))
        place += float(draw.uniform(12, 50))
    return rides


def _ride(path: Path, distance: Array) -> Ride:
    return Ride(path.at(distance), distance)


def _at_crossing(draw: np.random.Generator, roads: Roads, crossing: Crossing, count: int, rate: float) -> Ride:
    """A car that turns in or out of a street across, or goes straight through it."""
    side, heading = int(draw.choice(crossing.sides)), int(draw.choice([-1, 1]))
    total, base = count / rate, float(draw.uniform(3.5, 6))
    kind = str(draw.choice(["in", "out", "through", "waits"]))
    if kind == "in":
        path = turning(roads, crossing, heading, side, crossing.z - heading * 90)
    elif kind == "through" and len(crossing.sides) == 2:
        path = Path(side_lane(roads, crossing, -side, side * 80, -side * 80))
    else:
        path = entering(roads, crossing, side, heading, crossing.z + heading * 150)
    corner = path.nearest(float(roads.centre(np.array([crossing.z]))[0]), crossing.z)
    if kind == "waits":
        return _ride(path, np.full(count, 80 - roads.half - 4.6))
    start = corner - base * total * draw.uniform(-0.1, 1.0)
    return _ride(path, travelled(np.full(count, base), max(float(start), 0.0), rate))


def walks(draw: np.random.Generator, roads: Roads, ride: Ride, count: int, rate: float, crowded: float) -> list[tuple[Ride, float]]:
    """People, with how much each walks: 1, or 0 for those who stand."""
    found = []
    low, high = float(ride.places[:, 1].min()) - 8, float(ride.places[:, 1].max()) + 85
    for _ in range(int(crowded * (high - low) / 9)):
        side, heading, z = int(draw.choice([-1, 1])), int(draw.choice([-1, 1])), float(draw.uniform(low, high))
        offset = side * heading * (roads.half + float(draw.uniform(0.5, max(0.8, roads.pavement - 0.6))))
        path = Path(lane(roads, heading, z, z + heading * 60, offset))
        kind = draw.random()
        if kind < 0.75:
            pace = float(draw.uniform(0.9, 1.6))
            walk = _ride(path, travelled(np.full(count, pace), 0.0, rate))
            found.append((walk, 1.0))
            if draw.random() < 0.3:
                beside = Path(lane(roads, heading, z, z + heading * 60, offset + 0.62))
                found.append((_ride(beside, travelled(np.full(count, pace), 0.0, rate)), 1.0))
        else:
            place = path.at(np.zeros(count))
            place[:, 2] += float(draw.uniform(0, 6.28))
            found.append((Ride(place, np.zeros(count)), 0.0))
            if draw.random() < 0.6:
                ahead = np.stack([np.sin(place[:, 2]), np.cos(place[:, 2])], -1)
                found.append((Ride(np.concatenate([place[:, :2] + 0.8 * ahead, place[:, 2:] + np.pi], 1), np.zeros(count)), 0.0))
    for crossing in roads.crossings:
        for _ in range(3):
            if low < crossing.z < high and draw.random() < 0.7 * crowded:
                found.append((_across(draw, roads, crossing, count, rate), 1.0))
    return found


def _across(draw: np.random.Generator, roads: Roads, crossing: Crossing, count: int, rate: float) -> Ride:
    """Someone who crosses the main street at a crossing."""
    side, ahead = int(draw.choice([-1, 1])), int(draw.choice([-1, 1]))
    z = crossing.z + ahead * (crossing.half + float(draw.uniform(3, 5.2)))
    middle = float(roads.centre(np.array([z]))[0])
    reach = roads.half + 6.0
    path = Path(np.array([[middle + side * reach, z], [middle, z + 0.01], [middle - side * reach, z]]))
    start = float(draw.uniform(0, 1.7 * roads.half))
    return _ride(path, travelled(np.full(count, float(draw.uniform(1.1, 1.7))), start, rate))
