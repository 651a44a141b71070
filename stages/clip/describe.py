"""A summary of a clip."""

from __future__ import annotations

from typing import Any

from stages.clip.clip import Clip
from stages.clip.schema import rational_text


def describe(clip: Clip) -> dict[str, Any]:
    """A record for JSON: size, rate, length and source of the clip, and for each layer how it was made and its size in bytes."""
    layers = {}
    for kind in clip.layers():
        meta = clip.layer(kind).meta
        made = {key: meta["producer"].get(key) for key in ("stage", "backend", "version", "device", "seconds")}
        layers[kind] = {"bytes": meta.get("bytes"), "digest": meta["digest"], "storage": meta.get("storage"), **made}
    return {
        "clip": str(clip.path),
        "id": clip.id,
        "width": clip.width,
        "height": clip.height,
        "num_frames": clip.num_frames,
        "fps": rational_text(clip.fps),
        "variable_rate": clip.timestamps is not None,
        "seconds": round(float(clip.num_frames / clip.fps), 3),
        "source": (clip.source or {}).get("path"),
        "layers": layers,
    }
