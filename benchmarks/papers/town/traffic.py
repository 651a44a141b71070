"""Trajectories of the camera, of cars in lanes, at corners and at parking places, and of people on pavements and crossings.

Each follows a path at a speed that may change. Cars and people are proposed first; one is accepted if it never comes too close to those
accepted before. heading is 1 or -1, the direction along z or x; rate is in frames per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .roads import Crossing, Roads

Array = NDArray[np.floating]


class Path:
    """A polyline through points [N, 2] (x, z), in metres."""

    def __init__(self, points: Array) -> None:
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        self.points = points[np.concatenate([[True], steps > 1e-6])]
        self.along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self.points, axis=0), axis=1))])
        ahead = np.gradient(self.points, axis=0)
        self.yaw = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 1]))

    def at(self, distance: Array) -> Array:
        """x, z and yaw [T, 3] after `distance` [T] metres; beyond its ends the path continues straight."""
        positions = np.stack([np.interp(distance, self.along, values) for values in (*self.points.T, self.yaw)], -1)
        over = distance - np.clip(distance, 0, self.along[-1])
        return positions + np.stack([over * np.sin(positions[:, 2]), over * np.cos(positions[:, 2]), 0 * over], -1)

    def nearest(self, x: float, z: float) -> float:
        """The distance along the path of its point nearest to (x, z)."""
        return float(self.along[int(np.hypot(self.points[:, 0] - x, self.points[:, 1] - z).argmin())])


def lane(roads: Roads, heading: int, first: float, last: float, offset: float | None = None) -> Array:
    """Points [N, 2] along the main street from z = first to last.

    offset: distance from the middle of the road, to the right in the driving direction; default: that of the lane's middle.
    """
    to_right = roads.traffic * roads.lane if offset is None else offset
    z = np.arange(first, last + heading * 0.1, heading * 0.5)
    slope = roads.slope(z)
    scale = 1 / np.hypot(1, slope)
    x = roads.centre(z)
    return np.stack([x + heading * to_right * scale, z - heading * to_right * slope * scale], -1)


def side_lane(roads: Roads, crossing: Crossing, heading: int, first: float, last: float) -> Array:
    """Points [N, 2] along a lane of a side street from x = first to last, relative to the middle of the main street."""
    x = np.arange(first, last + heading * 0.1, heading * 0.5)
    middle = float(roads.centre(np.array([crossing.z]))[0])
    return np.stack([middle + x, np.full(len(x), crossing.z - heading * roads.traffic * crossing.half / 2)], -1)


def join_by_curve(before: Array, after: Array) -> Array:
    """Two polylines joined by a smooth curve (cubic Bézier)."""
    start, end = before[-1], after[0]
    reach = 0.55 * float(np.linalg.norm(end - start))
    out, into = before[-1] - before[-2], after[1] - after[0]
    control = [start, start + reach * out / np.linalg.norm(out), end - reach * into / np.linalg.norm(into), end]
    t = np.linspace(0, 1, 60)[1:-1, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return np.concatenate([before, sum(weight * point for weight, point in zip(weights, control, strict=True)), after])


def turn_into_side_street(roads: Roads, crossing: Crossing, heading: int, side: int, first: float) -> Path:
    """The path along the main street from z = first and into the side street, to the left (side = -1) or right (1)."""
    room = crossing.half + 5.0
    before = lane(roads, heading, first, crossing.z - heading * room)
    return Path(join_by_curve(before, side_lane(roads, crossing, side, side * (roads.half + 3.5), side * 90)))


def enter_from_side_street(roads: Roads, crossing: Crossing, side: int, heading: int, last: float) -> Path:
    """The path from the side street at `side` into the main street, to z = last."""
    after = lane(roads, heading, crossing.z + heading * (crossing.half + 5.0), last)
    return Path(join_by_curve(side_lane(roads, crossing, -side, side * 80, side * (roads.half + 3.5)), after))


def parking_path(roads: Roads, heading: int, z: float, last: float, outward: bool) -> Path:
    """The path from a parking place at z into the lane, to z = last (outward), or from the lane into a parking place 16 metres after z."""
    points = lane(roads, heading, z - (0 if outward else heading * 60), last if outward else z + heading * 16, 0.0)
    along = np.abs(points[:, 1] - z) if outward else np.abs(points[:, 1] - (z + heading * 16))
    share = np.clip((along - 2) / 11, 0, 1)
    share = share * share * (3 - 2 * share)
    parked, driven = roads.traffic * (roads.half - 1.05), roads.traffic * roads.lane
    angle = np.arctan(roads.slope(points[:, 1]))
    offset = heading * (parked + (driven - parked) * share)
    return Path(points + np.stack([offset * np.cos(angle), -offset * np.sin(angle)], -1))


def integrate_speed(speed: Array, start: float, rate: float) -> Array:
    """Distances [T] in metres at speeds [T] in metres per second, beginning at `start`."""
    return np.asarray(start + np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 / rate)]))


@dataclass
class Obstacles:
    """Cars and people that others must keep a distance from, as circles: centres [T, 2] over time, and radii, in metres."""

    centres: list[Array] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)

    def try_add(self, positions: Array, half: float, radius: float, gap: float) -> bool:
        """Add an object at positions [T, 3] (x, z, yaw) if it keeps `gap` metres from all others.

        half: half its length in metres, 0 for a person. radius: of its circles, in metres. Returns whether it was added.
        """
        circles = _circles(positions, half)
        for centre, other in zip(self.centres, self.radii, strict=True):
            for circle in circles:
                if (np.hypot(*(circle - centre).T) < radius + other + gap).any():
                    return False
        self.add(positions, half, radius)
        return True

    def add(self, positions: Array, half: float, radius: float) -> None:
        """Add an object at positions [T, 3]. half, radius: as for `try_add`."""
        self.centres += _circles(positions, half)
        self.radii += [radius] * len(_circles(positions, half))


def _circles(positions: Array, half: float) -> list[Array]:
    """Centres [T, 2] of the circles that cover an object at positions [T, 3]: three along a car, one for a person (half = 0)."""
    if half <= 0:
        return [positions[:, :2]]
    ahead = np.stack([np.sin(positions[:, 2]), np.cos(positions[:, 2])], -1)
    return [positions[:, :2] + share * half * ahead for share in (-0.62, 0.0, 0.62)]


@dataclass(frozen=True)
class Trajectory:
    """positions [T, 3] (x and z in metres, yaw in radians) of the camera, a car or a person; distance [T] travelled, in metres."""

    positions: Array
    distance: Array


def draw_speed(rng: np.random.Generator, count: int, rate: float, base: float) -> Array:
    """A slowly varying speed [count] around `base`, in metres per second; it may start from rest or end in a stop."""
    time = np.arange(count) / rate
    speed = base * (1 + 0.12 * np.sin(time * rng.uniform(0.3, 0.8) + rng.uniform(0, 6)))
    kind = rng.random()
    if kind < 0.1:
        speed *= np.clip((time - rng.uniform(0, 0.8)) / 3.0, 0, 1)
    elif kind < 0.2:
        speed *= np.clip(1 - (time - rng.uniform(0, 1)) / 4.0, 0, 1)
    return np.asarray(speed)


def draw_camera_trajectory(rng: np.random.Generator, roads: Roads, count: int, rate: float) -> tuple[Path, Trajectory]:
    """The camera's path, and its trajectory of `count` frames, which begins one frame before the first."""
    base, total = float(rng.uniform(4, 13)), count / rate
    if rng.random() < 0.22:
        crossing = roads.crossings[0]
        side = int(rng.choice(crossing.sides))
        base = min(base, 7.0)
        path = turn_into_side_street(roads, crossing, 1, side, -60.0)
        corner = path.nearest(float(roads.centre(np.array([crossing.z]))[0]), crossing.z)
        start = max(corner - rng.uniform(0.15, 0.75) * base * total - 4, 45.0)
        speed = draw_speed(rng, count, rate, base)
        distance = integrate_speed(speed, start, rate)
        slow = 1 - 0.45 * np.exp(-(((distance - corner) / 9) ** 2))
        distance = integrate_speed(speed * slow, start, rate)
    else:
        path = Path(lane(roads, 1, -60.0, base * total * 1.2 + 260))
        distance = integrate_speed(draw_speed(rng, count, rate, base), 60.0, rate)
    return path, Trajectory(path.at(distance), distance)


def propose_cars(
    rng: np.random.Generator, roads: Roads, path: Path, trajectory: Trajectory, count: int, rate: float
) -> Sequence[Trajectory]:
    """Trajectories for moving cars, the most visible ones first. path, trajectory: those of the camera."""
    trajectories, reach = [], float(trajectory.positions[:, 1].max())
    speed = np.gradient(trajectory.distance) * rate
    if rng.random() < 0.6:
        ahead = float(rng.uniform(9, 24))
        trajectories.append(_follow(path, integrate_speed(speed * rng.uniform(0.97, 1.06), float(trajectory.distance[0]) + ahead, rate)))
    beside = [crossing for crossing in roads.crossings if crossing.z < reach + 60]
    for crossing in beside[:3]:
        for _ in range(2):
            trajectories.append(_at_crossing(rng, roads, crossing, count, rate))
    if roads.parking and rng.random() < 0.5:
        heading = int(rng.choice([-1, 1]))
        z = float(rng.uniform(trajectory.positions[0, 1] + 12, reach + 40))
        pace = draw_speed(rng, count, rate, 4.0) * np.clip((np.arange(count) / rate - rng.uniform(0, 0.8)) / 2.0, 0, 1)
        trajectories.append(_follow(parking_path(roads, heading, z, z + heading * 120, True), integrate_speed(pace, 0.0, rate)))
    if roads.parking and rng.random() < 0.35:
        heading = int(rng.choice([-1, 1]))
        way_in = parking_path(roads, heading, float(rng.uniform(trajectory.positions[0, 1] + 12, reach + 40)), 0.0, False)
        left = np.clip(integrate_speed(np.full(count, 5.0), float(rng.uniform(38, 60)), rate), 0, 74.0)
        trajectories.append(_follow(way_in, 76.0 - 20.0 * np.exp(-(left - 38) / 14)))
    oncoming = Path(lane(roads, -1, reach + 170, -120))
    position = oncoming.nearest(0.0, reach + 120)
    while position < oncoming.along[-1] - 90:
        trajectories.append(_follow(oncoming, integrate_speed(draw_speed(rng, count, rate, float(rng.uniform(6, 11))), position, rate)))
        position += float(rng.uniform(9, 45))
    same_way = Path(lane(roads, 1, -60.0, reach + 200))
    position = same_way.nearest(*trajectory.positions[0, :2]) + rng.uniform(25, 50)
    while position < same_way.along[-1] - 60:
        trajectories.append(_follow(same_way, integrate_speed(draw_speed(rng, count, rate, float(rng.uniform(6, 12))), position, rate)))
        position += float(rng.uniform(12, 50))
    return trajectories


def _follow(path: Path, distance: Array) -> Trajectory:
    return Trajectory(path.at(distance), distance)


def _at_crossing(rng: np.random.Generator, roads: Roads, crossing: Crossing, count: int, rate: float) -> Trajectory:
    """A car that turns into a side street, comes out of it, crosses the main street, or waits."""
    side, heading = int(rng.choice(crossing.sides)), int(rng.choice([-1, 1]))
    total, base = count / rate, float(rng.uniform(3.5, 6))
    kind = str(rng.choice(["in", "out", "through", "waits"]))
    if kind == "in":
        path = turn_into_side_street(roads, crossing, heading, side, crossing.z - heading * 90)
    elif kind == "through" and len(crossing.sides) == 2:
        path = Path(side_lane(roads, crossing, -side, side * 80, -side * 80))
    else:
        path = enter_from_side_street(roads, crossing, side, heading, crossing.z + heading * 150)
    corner = path.nearest(float(roads.centre(np.array([crossing.z]))[0]), crossing.z)
    if kind == "waits":
        return _follow(path, np.full(count, 80 - roads.half - 4.6))
    start = corner - base * total * rng.uniform(-0.1, 1.0)
    return _follow(path, integrate_speed(np.full(count, base), max(float(start), 0.0), rate))


def propose_people(
    rng: np.random.Generator, roads: Roads, trajectory: Trajectory, count: int, rate: float, busyness: float
) -> list[tuple[Trajectory, float]]:
    """Trajectories for people, each with 1 for a person who walks or 0 for one who stands. trajectory: that of the camera."""
    trajectories = []
    low, high = float(trajectory.positions[:, 1].min()) - 8, float(trajectory.positions[:, 1].max()) + 85
    for _ in range(int(busyness * (high - low) / 9)):
        side, heading, z = int(rng.choice([-1, 1])), int(rng.choice([-1, 1])), float(rng.uniform(low, high))
        offset = side * heading * (roads.half + float(rng.uniform(0.5, max(0.8, roads.pavement - 0.6))))
        path = Path(lane(roads, heading, z, z + heading * 60, offset))
        kind = rng.random()
        if kind < 0.75:
            pace = float(rng.uniform(0.9, 1.6))
            walk = _follow(path, integrate_speed(np.full(count, pace), 0.0, rate))
            trajectories.append((walk, 1.0))
            if rng.random() < 0.3:
                beside = Path(lane(roads, heading, z, z + heading * 60, offset + 0.62))
                trajectories.append((_follow(beside, integrate_speed(np.full(count, pace), 0.0, rate)), 1.0))
        else:
            position = path.at(np.zeros(count))
            position[:, 2] += float(rng.uniform(0, 6.28))
            trajectories.append((Trajectory(position, np.zeros(count)), 0.0))
            if rng.random() < 0.6:
                ahead = np.stack([np.sin(position[:, 2]), np.cos(position[:, 2])], -1)
                trajectories.append(
                    (Trajectory(np.concatenate([position[:, :2] + 0.8 * ahead, position[:, 2:] + np.pi], 1), np.zeros(count)), 0.0)
                )
    for crossing in roads.crossings:
        for _ in range(3):
            if low < crossing.z < high and rng.random() < 0.7 * busyness:
                trajectories.append((_cross_street(rng, roads, crossing, count, rate), 1.0))
    return trajectories


def _cross_street(rng: np.random.Generator, roads: Roads, crossing: Crossing, count: int, rate: float) -> Trajectory:
    """A person who crosses the main street near a side street."""
    side, ahead = int(rng.choice([-1, 1])), int(rng.choice([-1, 1]))
    z = crossing.z + ahead * (crossing.half + float(rng.uniform(3, 5.2)))
    middle = float(roads.centre(np.array([z]))[0])
    reach = roads.half + 6.0
    path = Path(np.array([[middle + side * reach, z], [middle, z + 0.01], [middle - side * reach, z]]))
    start = float(rng.uniform(0, 1.7 * roads.half))
    return _follow(path, integrate_speed(np.full(count, float(rng.uniform(1.1, 1.7))), start, rate))
