"""Self-contained pages for a browser: a template, the common style and script, and the content as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray


def page(template: str, content: Mapping[str, Any]) -> bytes:
    """The page: `template` with `__STYLE__`, `__SCRIPT__` and `__CONTENT__` replaced."""
    text = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    page = template.replace("__STYLE__", _read_resource("common.css")).replace("__SCRIPT__", _read_resource("common.js"))
    return page.replace("__CONTENT__", text).encode()


def _read_resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def jpeg_data_uri(image: NDArray[np.uint8], side: int) -> str:
    """An image, uint8 RGB [H, W, 3], as a data URI of a JPEG. Its longer side is reduced to at most `side` pixels."""
    import cv2

    scale = side / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
