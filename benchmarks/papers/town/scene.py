"""Draws a drive: the town, who moves in it, the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from textures import noise

from .cars import Car, draw_car
from .drive import Blot, Camera, Drive
from .layout import STYLES, build
from .meshes import Mesh, joined, turned
from .people import PARTS, Person, draw_person
from .roads import KERB, Roads, draw_roads
from .sky import draw_weather
from .tiles import Atlas
from .traffic import Crowd, Ride, camera_ride, car_rides, walks

Array = NDArray[np.floating]

THINGS = 255
"""Most cars and people of a clip: the layer `instances` has 8 bits."""
_STILL = np.concatenate([np.eye(3), np.zeros((3, 1))], 1)


def draw_drive(draw: np.random.Generator, atlas: Atlas, frames: int, rate: float, width: int, height: int, seed: tuple[int, ...]) -> Drive:
    """The draws do not depend on the size of the frames: a larger drive shows the same scene."""
    weather = draw_weather(draw)
    style = str(draw.choice(list(STYLES), p=list(STYLES.values())))
    count = frames + 2
    roads = draw_roads(draw, 13.0 * count / rate, style)
    own, ride = camera_ride(draw, roads, count, rate)
    length = max(float(ride.places[:, 1].max()), 0.0)
    ground = build(draw, atlas, roads, length, style)
    crowd = Crowd()
    crowd.join(ride.places, 2.2, 1.2)
    for car, place in ground.parked:
        crowd.join(np.broadcast_to(place, (count, 3)), car.half[1], 1.0)
    moving = _cars(draw, atlas, roads, crowd, car_rides(draw, roads, own, ride, count, rate))
    busy = float(draw.uniform(0.3, 1.3)) * {"town": 1.2, "suburb": 0.5, "boulevard": 1.2}[style]
    people = _people(draw, atlas, crowd, walks(draw, roads, ride, count, rate, busy))
    parked = ground.parked[: max(0, THINGS - len(moving) - len(people))]
    meshes, poses = _parts(roads, parked, moving, people[: THINGS - len(moving)], count, draw)
    return Drive(
        mesh=joined([*ground.meshes, *meshes]),
        roads=roads,
        weather=weather,
        atlas=atlas,
        grime=np.repeat(noise(draw, 512, 6, 5)[..., None], 3, -1),
        poses=poses,
        cameras=_cameras(draw, ride, rate, width, height),
        standing=[*ground.blots, *(_shade(place, car.half) for car, place in parked)],
        passing=[
            [*(_shade(ride.places[time], car.half) for car, ride in moving),
             *(_shade(walk.places[time], (0.12, 0.12), 0.7) for _, walk, _ in people)]
            for time in range(count)
        ],
        seed=seed,
        words=f"{style}, {weather.words}, {len(moving)} moving and {len(parked)} parked cars, {len(people)} people",
    )  # fmt: skip


def _shade(place: Array, half: tuple[float, float], strength: float = 1.0) -> Blot:
    return Blot(float(place[0]), float(place[1]), float(place[2]), half, strength)


def _cars(draw: np.random.Generator, atlas: Atlas, roads: Roads, crowd: Crowd, rides: Sequence[Ride]) -> list[tuple[Car, Ride]]:
    found: list[tuple[Car, Ride]] = []
    for ride in rides:
        car = draw_car(draw, atlas)
        if len(found) < 40 and crowd.admits(ride.places, car.half[1], 1.0, 0.5):
            found.append((car, ride))
    return found


def _people(
    draw: np.random.Generator, atlas: Atlas, crowd: Crowd, proposals: Sequence[tuple[Ride, float]]
) -> list[tuple[Person, Ride, float]]:
    found: list[tuple[Person, Ride, float]] = []
    for ride, walking in proposals:
        if len(found) < 120 and crowd.admits(ride.places, 0.0, 0.25, 0.02):
            found.append((draw_person(draw, atlas), ride, walking))
    return found


def _parts(
    roads: Roads,
    parked: list[tuple[Car, Array]],
    moving: list[tuple[Car, Ride]],
    people: list[tuple[Person, Ride, float]],
    count: int,
    draw: np.random.Generator,
) -> tuple[list[Mesh], Array]:
    """Meshes with numbers of instances and parts, and where each part is at each moment, [count, P, 3, 4]."""
    meshes = [car.whole().moved(turned(place[2], (place[0], 0, place[1]))).owned(number) for number, (car, place) in enumerate(parked, 1)]
    poses, thing = [np.broadcast_to(_STILL, (count, 1, 3, 4))], len(parked)
    part = 1
    for car, ride in moving:
        thing += 1
        for offset, mesh in enumerate((car.body, *car.wheels)):
            meshes.append(mesh.owned(thing, part + offset))
        poses.append(np.stack([_car_pose(car, *moment) for moment in zip(ride.places, ride.distance, strict=True)]))
        part += 5
    for person, ride, walking in people:
        thing += 1
        for offset, mesh in enumerate(person.parts):
            meshes.append(mesh.owned(thing, part + offset))
        start = float(draw.uniform(0, 6.28))
        high = KERB * np.clip(roads.edge(*ride.places[:, :2].T.copy()) / 0.3 + 0.5, 0, 1)
        places = np.stack([ride.places[:, 0], high, ride.places[:, 1]], -1)
        phase = start + ride.distance * 2 * np.pi / person.stride
        poses.append(np.stack([person.pose(*moment, walking) for moment in zip(places, ride.places[:, 2], phase, strict=True)]))
        part += PARTS
    return meshes, np.concatenate(poses, 1)


def _car_pose(car: Car, place: Array, distance: float) -> Array:
    """Body and wheels, [5, 3, 4]."""
    body = turned(float(place[2]), (place[0], 0, place[1]))
    angle = distance / car.radius
    cosine, sine = np.cos(angle), np.sin(angle)
    rolled = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    wheels = [np.concatenate([body[:, :3] @ rolled, (body[:, :3] @ axle + body[:, 3])[:, None]], 1) for axle in car.axles]
    return np.stack([body, *wheels])


def _cameras(draw: np.random.Generator, ride: Ride, rate: float, width: int, height: int) -> list[Camera]:
    """Behind the windscreen, looking ahead and a little down, shaken by the road."""
    count = len(ride.places)
    tall, angle, tilt = draw.uniform(1.2, 1.75), np.radians(draw.uniform(52, 68)), np.radians(draw.uniform(1, 5))
    focal = max(width, 1.6 * height) / 2 / np.tan(angle / 2)
    aside, shaky = np.radians(draw.normal(0, 1.5)), draw.uniform(0.3, 1.0)
    speed = np.clip(np.gradient(ride.distance) * rate / 8, 0, 1.5)
    time = np.arange(count) / rate
    shake = np.zeros((4, count))
    for wave in range(5):
        beat = draw.uniform(0.6, 5.0, 4)[:, None] * 2 * np.pi
        shake += np.sin(beat * time + draw.uniform(0, 6.28, (4, 1))) / (1 + 0.7 * wave)
    shake *= np.array([0.0016, 0.0009, 0.0012, 0.006])[:, None] * shaky * speed
    cameras = []
    for index, (x, z, yaw) in enumerate(ride.places):
        turn = _looking(yaw + aside + shake[1, index], tilt + shake[0, index], shake[2, index])
        cameras.append(Camera(np.array([x, tall + shake[3, index], z]), turn, float(focal), width, height))
    return cameras


def _looking(yaw: float, down: float, roll: float) -> Array:
    """Rows are right, down and ahead of a camera."""
    ahead = np.array([np.sin(yaw) * np.cos(down), -np.sin(down), np.cos(yaw) * np.cos(down)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    low = np.array([-np.sin(yaw) * np.sin(down), -np.cos(down), -np.cos(yaw) * np.sin(down)])
    return np.stack([np.cos(roll) * right + np.sin(roll) * low, np.cos(roll) * low - np.sin(roll) * right, ahead])
