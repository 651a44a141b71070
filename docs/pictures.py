"""Draws the images of the pages in docs/ and of the README: `python docs/pictures.py [--only NAME]`."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import fsv2v
from stages.clip import open_clip, read_image
from stages.conditions.poses import draw_pose
from stages.conditions.retarget import retarget

PAGES = Path(__file__).parent
EXAMPLES = PAGES.parent / "examples"
MOMENTS = (24, 40, 72, 104)
"""Frames of the driving clip that the README shows."""
SIZE = (360, 300)
"""Height and width of a panel with a skeleton."""
PORTRAIT_SIDE = 384
"""Side of a panel with a portrait."""
UPRIGHT = np.array(
    [(0, 0), (0, 15), (-10, 15), (-15, 30), (-15, 45), (10, 15), (15, 30), (15, 45), (0, 45), (-7, 45), (-7, 70), (-7, 95), (7, 45),
     (7, 70), (7, 95), (-2, -2), (2, -2), (-4, -1), (4, -1), (9, 100), (10, 99), (6, 100), (-9, 100), (-10, 99), (-6, 100)]
)  # fmt: skip
"""The BODY_25 keypoints of an upright person, in hundredths of the height."""


def body(height: float, x: float, ground: float, legs: float = 1.0) -> np.ndarray:
    """The keypoints [25, 3] of a standing person. height, x and ground (y of the feet) are in pixels; legs: factor of the length of the
    legs."""
    shape = UPRIGHT.astype(np.float32)
    is_leg = shape[:, 1] > 45
    shape[is_leg, 1] = 45 + (shape[is_leg, 1] - 45) * legs
    points = np.array([x, ground]) + (shape - [0, shape[:, 1].max()]) * height / shape[:, 1].max()
    return np.column_stack([points, np.ones(25)]).astype(np.float32)


def raise_arms(person: np.ndarray, phase: float) -> np.ndarray:
    """The person with both arms raised. phase in [0, 1]: from hanging arms to the end of the swing."""
    moved = person.copy()
    for shoulder, elbow, wrist, side in ((2, 3, 4, -1), (5, 6, 7, 1)):
        upper, lower = (np.linalg.norm(person[a, :2] - person[b, :2]) for a, b in ((shoulder, elbow), (elbow, wrist)))
        angle = np.pi / 2 - 1.3 * phase
        moved[elbow, :2] = moved[shoulder, :2] + upper * np.array([side * np.cos(angle), np.sin(angle)])
        moved[wrist, :2] = moved[elbow, :2] + lower * np.array([side * np.cos(angle - 0.6), np.sin(angle - 0.6)])
    return moved


def panel(person: np.ndarray, title: str) -> np.ndarray:
    """A titled picture of a skeleton on the ground."""
    image = draw_pose(person[None], *SIZE)
    cv2.line(image, (0, 330), (SIZE[1], 330), (70, 70, 70), 1)
    cv2.putText(image, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (220, 220, 220), 1, cv2.LINE_AA)
    return image


def draw_retargeting() -> np.ndarray:
    """In each row a tall driver, a child as the example, and the driver's pose fitted to the child."""
    child = body(140, 90, 330, legs=0.85)
    driver = np.stack([raise_arms(body(280, 180, 330, legs=1.1), phase) for phase in np.linspace(0, 1, 9)])
    fitted = retarget(driver, child[None])
    rows = []
    for frame in (0, 8):
        rows.append(np.hstack([panel(driver[frame], "driver"), panel(child, "example"), panel(fitted[frame], "what drives")]))
    return np.vstack(rows)


def draw_animation() -> np.ndarray:
    """The example portrait, then frames that the shipped model makes from it, each with the driving sketch in a corner."""
    portrait, driving = EXAMPLES / "astronaut.png", EXAMPLES / "driving.clip"
    frames = list(islice(fsv2v.synthesize(portrait, driving, backend="dlib"), MOMENTS[-1] + 1))
    sketch = open_clip(driving).layer("sketch")
    panels = [
        cv2.resize(image, (PORTRAIT_SIDE, PORTRAIT_SIDE), interpolation=cv2.INTER_AREA)
        for image in (read_image(portrait), *map(frames.__getitem__, MOMENTS))
    ]
    for image, moment in zip(panels[1:], MOMENTS, strict=True):
        small = cv2.resize(sketch.image(moment), (PORTRAIT_SIDE // 3, PORTRAIT_SIDE // 3), interpolation=cv2.INTER_AREA)
        image[-len(small) :, -len(small) :] = small[..., None]
    return np.hstack(panels)


PICTURES = {"animation.jpg": draw_animation, "retargeting.png": draw_retargeting}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(PICTURES), help="draw only this image")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else PICTURES:
        cv2.imwrite(str(PAGES / name), PICTURES[name]()[:, :, ::-1])
