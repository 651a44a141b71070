"""Draws a drive at random: the town, its traffic, the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from textures import noise

from .atlas import Atlas
from .cars import Car, draw_car
from .drive import BlobShadow, Camera, Drive
from .layout import STYLES, build_town
from .meshes import Mesh, join, rigid_motion
from .people import PARTS, Person, draw_person
from .roads import KERB, Roads, draw_roads
from .sky import draw_weather
from .traffic import Obstacles, Trajectory, draw_camera_trajectory, propose_cars, propose_people

Array = NDArray[np.floating]

MAX_SPEED = 13.0
"""Maximum mean speed of the camera in metres per second, from which the length of the streets follows."""
MAX_INSTANCES = 255
"""Maximum number of cars and people in a clip: the layer `instances` has 8 bits."""
_IDENTITY_MOTION = np.concatenate([np.eye(3), np.zeros((3, 1))], 1)


def draw_drive(rng: np.random.Generator, atlas: Atlas, frames: int, rate: float, width: int, height: int, seed: tuple[int, ...]) -> Drive:
    """A drive of `frames` frames at `rate` frames per second, of width x height pixels. The scene does not depend on width and height.

    atlas: the textures of the town. seed: of the sensor noise.
    """
    weather = draw_weather(rng)
    style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
    count = frames + 2
    roads = draw_roads(rng, length=MAX_SPEED * count / rate, style=style)
    path, trajectory = draw_camera_trajectory(rng, roads, count, rate)
    length = max(float(trajectory.positions[:, 1].max()), 0.0)
    town = build_town(rng, atlas, roads, length=length, style=style)
    obstacles = Obstacles()
    obstacles.add(trajectory.positions, half=2.2, radius=1.2)
    for car, position in town.parked_cars:
        obstacles.add(np.broadcast_to(position, (count, 3)), half=car.half[1], radius=1.0)
    moving = _add_cars(rng, atlas, roads, obstacles, propose_cars(rng, roads, path, trajectory, count, rate))
    busyness = float(rng.uniform(0.3, 1.3)) * {"town": 1.2, "suburb": 0.5, "boulevard": 1.2}[style]
    people = _add_people(rng, atlas, obstacles, propose_people(rng, roads, trajectory, count, rate, busyness))
    parked = town.parked_cars[: max(0, MAX_INSTANCES - len(moving) - len(people))]
    meshes, poses = _parts(roads, parked, moving, people[: MAX_INSTANCES - len(moving)], count, rng)
    return Drive(
        mesh=join([*town.meshes, *meshes]),
        roads=roads,
        weather=weather,
        atlas=atlas,
        grime=np.repeat(noise(rng, 512, 6, 5)[..., None], 3, -1),
        poses=poses,
        cameras=_cameras(rng, trajectory, rate, width, height),
        static_shadows=[*town.blob_shadows, *(_blob_shadow(position, car.half) for car, position in parked)],
        moving_shadows=[
            [*(_blob_shadow(trajectory.positions[time], car.half) for car, trajectory in moving),
             *(_blob_shadow(walk.positions[time], half=(0.12, 0.12), strength=0.7) for _, walk, _ in people)]
            for time in range(count)
        ],
        seed=seed,
        description=f"{style}, {weather.name}, {len(moving)} moving and {len(parked)} parked cars, {len(people)} people",
    )  # fmt: skip


def _blob_shadow(position: Array, half: tuple[float, float], strength: float = 1.0) -> BlobShadow:
    """The shadow of an object at position [3] (x, z, yaw)."""
    return BlobShadow(float(position[0]), float(position[1]), float(position[2]), half, strength)


def _add_cars(
    rng: np.random.Generator, atlas: Atlas, roads: Roads, obstacles: Obstacles, trajectories: Sequence[Trajectory]
) -> list[tuple[Car, Trajectory]]:
    cars: list[tuple[Car, Trajectory]] = []
    for trajectory in trajectories:
        car = draw_car(rng, atlas)
        if len(cars) < 40 and obstacles.try_add(trajectory.positions, half=car.half[1], radius=1.0, gap=0.5):
            cars.append((car, trajectory))
    return cars


def _add_people(
    rng: np.random.Generator, atlas: Atlas, obstacles: Obstacles, proposals: Sequence[tuple[Trajectory, float]]
) -> list[tuple[Person, Trajectory, float]]:
    people: list[tuple[Person, Trajectory, float]] = []
    for trajectory, walking in proposals:
        if len(people) < 120 and obstacles.try_add(trajectory.positions, half=0.0, radius=0.25, gap=0.02):
            people.append((draw_person(rng, atlas), trajectory, walking))
    return people


def _parts(
    roads: Roads,
    parked: list[tuple[Car, Array]],
    moving: list[tuple[Car, Trajectory]],
    people: list[tuple[Person, Trajectory, float]],
    count: int,
    rng: np.random.Generator,
) -> tuple[list[Mesh], Array]:
    """Meshes with their instances and parts, and the rigid motions of the P parts in each frame, [count, P, 3, 4]."""
    meshes = [
        car.at_rest().transform(rigid_motion(position[2], (position[0], 0, position[1]))).with_instance(number)
        for number, (car, position) in enumerate(parked, 1)
    ]
    poses, instance = [np.broadcast_to(_IDENTITY_MOTION, (count, 1, 3, 4))], len(parked)
    part = 1
    for car, trajectory in moving:
        instance += 1
        for offset, mesh in enumerate((car.body, *car.wheels)):
            meshes.append(mesh.with_instance(instance, part + offset))
        poses.append(np.stack([_car_pose(car, *moment) for moment in zip(trajectory.positions, trajectory.distance, strict=True)]))
        part += 5  # the body and four wheels
    for person, trajectory, walking in people:
        instance += 1
        for offset, mesh in enumerate(person.parts):
            meshes.append(mesh.with_instance(instance, part + offset))
        start = float(rng.uniform(0, 6.28))
        height = KERB * np.clip(roads.edge_distance(*trajectory.positions[:, :2].T.copy()) / 0.3 + 0.5, 0, 1)
        positions = np.stack([trajectory.positions[:, 0], height, trajectory.positions[:, 1]], -1)
        phase = start + trajectory.distance * 2 * np.pi / person.stride
        poses.append(np.stack([person.pose(*moment, walking) for moment in zip(positions, trajectory.positions[:, 2], phase, strict=True)]))
        part += PARTS
    return meshes, np.concatenate(poses, 1)


def _car_pose(car: Car, position: Array, distance: float) -> Array:
    """Rigid motions of body and wheels, [5, 3, 4]."""
    body = rigid_motion(float(position[2]), (position[0], 0, position[1]))
    angle = distance / car.radius
    cosine, sine = np.cos(angle), np.sin(angle)
    rolled = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    wheels = [np.concatenate([body[:, :3] @ rolled, (body[:, :3] @ axle + body[:, 3])[:, None]], 1) for axle in car.axles]
    return np.stack([body, *wheels])


def _cameras(rng: np.random.Generator, trajectory: Trajectory, rate: float, width: int, height: int) -> list[Camera]:
    """Cameras behind the windscreen that look ahead and slightly down, with shake."""
    count = len(trajectory.positions)
    eye_height, angle, tilt = rng.uniform(1.2, 1.75), np.radians(rng.uniform(52, 68)), np.radians(rng.uniform(1, 5))
    focal = max(width, 1.6 * height) / 2 / np.tan(angle / 2)
    yaw_offset, shakiness = np.radians(rng.normal(0, 1.5)), rng.uniform(0.3, 1.0)
    speed = np.clip(np.gradient(trajectory.distance) * rate / 8, 0, 1.5)
    time = np.arange(count) / rate
    shake = np.zeros((4, count))
    for wave in range(5):
        beat = rng.uniform(0.6, 5.0, 4)[:, None] * 2 * np.pi
        shake += np.sin(beat * time + rng.uniform(0, 6.28, (4, 1))) / (1 + 0.7 * wave)
    shake *= np.array([0.0016, 0.0009, 0.0012, 0.006])[:, None] * shakiness * speed
    cameras = []
    for index, (x, z, yaw) in enumerate(trajectory.positions):
        rotation = _camera_rotation(yaw + yaw_offset + shake[1, index], tilt + shake[0, index], shake[2, index])
        cameras.append(Camera(np.array([x, eye_height + shake[3, index], z]), rotation, float(focal), width, height))
    return cameras


def _camera_rotation(yaw: float, down: float, roll: float) -> Array:
    """A camera's rotation [3, 3]; its rows are the directions right, down and ahead. down: tilt; all angles in radians."""
    ahead = np.array([np.sin(yaw) * np.cos(down), -np.sin(down), np.cos(yaw) * np.cos(down)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    low = np.array([-np.sin(yaw) * np.sin(down), -np.cos(down), -np.cos(yaw) * np.sin(down)])
    return np.stack([np.cos(roll) * right + np.sin(roll) * low, np.cos(roll) * low - np.sin(roll) * right, ahead])
