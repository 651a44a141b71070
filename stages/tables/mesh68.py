"""From MediaPipe's 478-point face mesh to the 68 points of iBUG 300-W.

The contour of the mesh is a closed oval with uneven steps, and its brows are bands. An iBUG point that lies between two vertices is their
mean. Point 0 of the contour is at the temple on the left of the image, point 16 at the temple on the right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MESH_POINTS = 478
IRISES = slice(468, 478)
"""Five points of each iris: centre, right, upper, left and lower end. The eye on the left of the image comes first."""

_CONTOUR = [(127, 127), (234, 93), (93, 132), (132, 58), (58, 172), (136, 136), (150, 149), (176, 148), (152, 152)]
_CONTOUR += [(377, 400), (378, 379), (365, 365), (397, 288), (288, 361), (361, 323), (323, 454), (356, 356)]
_BROWS = [(70, 46), (63, 53), (105, 52), (66, 65), (107, 55), (336, 285), (296, 295), (334, 282), (293, 283), (300, 276)]
_NOSE = [168, 197, 5, 4, 98, 97, 2, 326, 327]
_EYES = [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
_OUTER_LIPS = [61, 40, 37, 0, 267, 270, 291, 321, 405, 17, 181, 91]
_INNER_LIPS = [78, 81, 13, 311, 308, 402, 14, 178]

PAIRS: NDArray[np.int32] = np.array(
    _CONTOUR + _BROWS + [(i, i) for i in _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS],
    dtype=np.int32,
)
"""[68, 2]: the two mesh vertices whose mean is the iBUG point."""


def mesh_to_68(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """mesh [..., 478, C] -> [..., 68, C]."""
    return np.asarray(mesh[..., PAIRS, :].mean(axis=-2))
