"""Makes examples/driving.clip: a drawn face that talks, blinks, turns and nods, as landmarks and as a sketch.

    python examples/make_driving.py [OUT.clip]

No person was filmed. The 68 points of an average head, listed below in millimetres, are moved according to a script of speech and movements
and projected by a pinhole camera. The clip is free to use and reproducible. To see how a driving clip works, change the script and drive
your own example image with the result. `fsv2v clip preview examples/driving.clip` draws the clip.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from stages.clip import Producer, create_clip
from stages.conditions.landmarks import MIRROR, draw_sketch

SIZE, FRAMES, FPS = 256, 120, Fraction(25)

# The script. LETTERS has the durations and mouth shapes of letters of SPEECH, OTHER_CONSONANT those of all other letters, PAUSE those of
# other characters. Other movements are (first frame, last frame, amount).
SPEECH = " hela, aim a fes. ai tok, ai tan, end bau. bai! "
LETTERS = {
    # letter: (frames, jaw in degrees, lips wide in millimetres, lips forward in millimetres)
    "a": (4, 10.0, 1.0, 0.0), "e": (3, 5.5, 3.0, 0.0), "i": (3, 2.5, 4.0, 0.0), "o": (4, 7.0, -6.0, 4.0), "u": (3, 3.0, -9.0, 6.0),
    "m": (2, -0.5, -0.5, 0.0), "b": (2, -0.5, 0.0, 0.0), "f": (2, 0.8, 1.0, -1.0), "l": (1, 3.0, 1.0, 0.0),
}  # fmt: skip
OTHER_CONSONANT, PAUSE = (1, 1.5, 0.5, 0.0), (2, 0.0, 0.0, 0.0)  # like the values of LETTERS
BLINKS = ((22, 27), (58, 63), (101, 106))
BROWS_UP = ((8, 24, 5.0), (88, 110, 4.0))  # millimetres
YAW = ((24, 62, 20.0), (50, 90, -20.0))  # degrees, to the right of the image and to the left
PITCH = ((4, 18, -3.0), (86, 100, 9.0), (98, 114, 7.0))  # degrees, down is positive
ROLL = ((20, 60, 4.0), (62, 96, -5.0))  # degrees

# The right half of an average head and its middle, (x, y, z) in millimetres: x to the right of the image, y down, z away from the
# camera; the origin lies between the eyes. The other half is its mirror image.
HALF_HEAD = {
    0: (-75, 0, 66), 1: (-74, 21, 63), 2: (-71, 42, 58), 3: (-66, 62, 51), 4: (-58, 80, 40), 5: (-47, 95, 25),
    6: (-33, 107, 9), 7: (-17, 114, -3), 8: (0, 116, -7),
    17: (-59, -17, 16), 18: (-51, -25, 5), 19: (-40, -28, -4), 20: (-28, -26, -9), 21: (-16, -21, -11),
    27: (0, -3, -11), 28: (0, 11, -19), 29: (0, 25, -27), 30: (0, 38, -35), 31: (-15, 48, -15), 32: (-8, 51, -20), 33: (0, 53, -23),
    36: (-45, 1, 9), 37: (-36.5, -5, 1), 38: (-26.5, -5, -1), 39: (-18, 2, 3), 40: (-26.5, 5, 0), 41: (-36.5, 5, 2),
    48: (-25, 78, -6), 49: (-15.5, 73, -16), 50: (-6, 70, -21), 51: (0, 71.5, -22), 57: (0, 87.5, -19), 58: (-7.5, 87, -18),
    59: (-16, 84, -13), 60: (-21.5, 78, -8), 61: (-8, 77, -17), 62: (0, 77.7, -18), 66: (0, 78.6, -17.5), 67: (-8, 78.4, -16.5),
}  # fmt: skip
JAW_JOINT = np.array([0.0, 12.0, 62.0])
JAW_FOLLOWS = {  # landmark -> share of the jaw's rotation that it follows
    2: 0.1, 3: 0.3, 4: 0.6, 5: 0.85, 6: 1.0, 7: 1.0, 8: 1.0, 48: 0.4, 60: 0.42, 59: 0.8, 58: 0.97, 57: 1.0, 67: 0.95, 66: 1.0,
    49: -0.04, 50: -0.08, 51: -0.08, 61: -0.08, 62: -0.08,
}  # fmt: skip
NECK = np.array([0.0, 85.0, 95.0])
CHEEK_SCALE, CHEEK_SHIFT = np.array([0.93, 1.0, 0.4]), np.array([0.0, 0.0, -6.0])  # turn points of the jaw line into points of the cheek
CAMERA_DISTANCE, FOCAL_LENGTH = 700.0, 555.0  # millimetres, pixels
CENTRE = np.array([127.5, 112.0])  # pixel at which the point between the eyes is projected


def mean_head() -> np.ndarray:
    """The head at rest, [68, 3] in millimetres."""
    head = np.full((68, 3), np.nan)
    for index, point in HALF_HEAD.items():
        head[MIRROR[index]] = np.multiply(point, (-1, 1, 1))
        head[index] = point
    return head


def over_time(events: tuple[tuple[int, int, float], ...]) -> np.ndarray:
    """The sum of smooth bumps, [FRAMES]. Each rises from 0 to its amount in the middle of its frames and falls to 0 again."""
    time = np.arange(FRAMES)
    curve = np.zeros(FRAMES)
    for first, last, amount in events:
        phase = np.clip((time - first) / (last - first), 0, 1)
        curve += amount * np.sin(np.pi * phase) ** 2
    return curve


def speech() -> np.ndarray:
    """The mouth shapes of SPEECH, smoothed over time, [FRAMES, 3]: jaw, wide and forward as in LETTERS."""
    shapes = []
    for letter in SPEECH:
        frames, *shape = LETTERS.get(letter, OTHER_CONSONANT if letter.isalpha() else PAUSE)
        shapes += [shape] * frames
    per_frame = np.array((shapes + [PAUSE[1:]] * FRAMES)[:FRAMES])
    window = np.array([1, 3, 4, 3, 1]) / 12
    return np.stack([np.convolve(np.pad(column, 2, "edge"), window, "valid") for column in per_frame.T], -1)


def expression(head: np.ndarray, jaw: float, wide: float, forward: float, closed: float, brows: float) -> np.ndarray:
    """The head [68, 3] with the jaw rotated (degrees), the lips widened and moved forward (mm), the eyes closed (0 to 1), the brows raised
    (mm)."""
    face = head.copy()
    for index, share in JAW_FOLLOWS.items():
        for side in {index, int(MIRROR[index])}:
            face[side] = rotation(pitch=jaw * share) @ (head[side] - JAW_JOINT) + JAW_JOINT
    lips = slice(48, 68)
    face[lips, 0] += wide * head[lips, 0] / 25
    face[lips, 2] -= forward
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        face[upper] += closed * 0.9 * (head[lower] - head[upper])
        face[lower] -= closed * 0.1 * (head[lower] - head[upper])
    face[17:27, 1] -= brows
    return face


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """The matrix [3, 3] of a roll, then a pitch (down is positive), then a yaw (to the right of the image is positive), all in degrees."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    yaw_matrix = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch_matrix = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll_matrix = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return yaw_matrix @ pitch_matrix @ roll_matrix


def project(head: np.ndarray) -> np.ndarray:
    """Points [..., 3] in millimetres -> pixels [..., 2]."""
    return CENTRE + FOCAL_LENGTH * head[..., :2] / (CAMERA_DISTANCE + head[..., 2:])


def outline(jaw_line: np.ndarray, cheeks: np.ndarray) -> np.ndarray:
    """The contour [17, 2] in the image. On the side that is turned away, the cheek hides the jaw line and the ear."""
    from_chin = np.arange(17) - 8
    cheek_outside = (cheeks - jaw_line)[:, 0] * np.sign(from_chin)  # pixels
    hidden = np.clip(abs(from_chin) / 4, 0, 1) / (1 + np.exp(-cheek_outside))
    return jaw_line + hidden[:, None] * (cheeks - jaw_line)


def driving_points() -> np.ndarray:
    """The points of the layer `landmarks`, [FRAMES, 1, 68, 3] float32: x, y in pixels and confidence 1."""
    head = mean_head()
    blinks = over_time(tuple((first, last, 1.0) for first, last in BLINKS))
    script = zip(speech(), blinks, over_time(BROWS_UP), over_time(YAW), over_time(PITCH), over_time(ROLL), strict=True)
    points = np.ones((FRAMES, 1, 68, 3), np.float32)
    for frame, ((jaw, wide, forward), closed, brows, yaw, pitch, roll) in zip(points, script, strict=True):
        face = expression(head, jaw, wide, forward, closed, brows)
        rotate = rotation(yaw, pitch, roll).T
        frame[0, :, :2] = project((face - NECK) @ rotate + NECK)
        frame[0, :17, :2] = outline(frame[0, :17, :2], project((face[:17] * CHEEK_SCALE + CHEEK_SHIFT - NECK) @ rotate + NECK))
    return points


def write_clip(out: Path) -> None:
    """Write the clip `out`. Raises ParametersDiffer when it exists."""
    points = driving_points()
    clip = create_clip(out, width=SIZE, height=SIZE, num_frames=FRAMES, fps=FPS)
    producer = Producer(stage="make_driving")
    with clip.writing("landmarks", producer, inputs={}) as layer:
        layer.arrays(points=points)
    with clip.writing("sketch", producer, inputs={"landmarks": clip.layer("landmarks").digest}) as layer:
        for faces in points:
            layer.image(draw_sketch(faces, SIZE, SIZE))


if __name__ == "__main__":
    write_clip(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("driving.clip")))
