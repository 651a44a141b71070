"""Few-shot video-to-video synthesis: the commands of fsv2v as Python functions.

    import fsv2v

    fsv2v.synthesize("portrait.jpg", "talk.mp4", "out.mp4")
    for frame in fsv2v.synthesize("portrait.jpg", "talk.mp4"):  # uint8 RGB [H, W, 3]
        ...

Functions take paths, clips or arrays. Their options are those of the commands, with the same defaults. Errors derive from `fsv2v.Error`
and have a `message`, a `hint`, a stable `code` and `facts`, the values in the message. `import fsv2v` is quick: PyTorch and OpenCV are
loaded by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stages import __version__

if TYPE_CHECKING:
    from fsv2v.datasets import build_dataset, train
    from fsv2v.layers import extract_poses, extract_sketch, segment
    from fsv2v.live import Live
    from fsv2v.many import synthesize_many
    from fsv2v.metrics import evaluate
    from fsv2v.models import export_model, load_model
    from fsv2v.prediction import predict
    from fsv2v.reporting import Reporter
    from fsv2v.sources import open_clip
    from fsv2v.synthesis import finetune, preview, synthesize, synthesize_variants
    from stages.clip import Clip
    from stages.errors import Fsv2vError as Error
    from stages.models import Model

__all__ = [
    "Clip",
    "Error",
    "Live",
    "Model",
    "Reporter",
    "__version__",
    "build_dataset",
    "evaluate",
    "export_model",
    "extract_poses",
    "extract_sketch",
    "finetune",
    "load_model",
    "open_clip",
    "predict",
    "preview",
    "segment",
    "synthesize",
    "synthesize_many",
    "synthesize_variants",
    "train",
]

_DEFINITIONS = {
    "Clip": "stages.clip:Clip",
    "Error": "stages.errors:Fsv2vError",
    "Live": "fsv2v.live:Live",
    "Model": "stages.models:Model",
    "Reporter": "fsv2v.reporting:Reporter",
    "build_dataset": "fsv2v.datasets:build_dataset",
    "evaluate": "fsv2v.metrics:evaluate",
    "export_model": "fsv2v.models:export_model",
    "extract_poses": "fsv2v.layers:extract_poses",
    "extract_sketch": "fsv2v.layers:extract_sketch",
    "finetune": "fsv2v.synthesis:finetune",
    "load_model": "fsv2v.models:load_model",
    "open_clip": "fsv2v.sources:open_clip",
    "predict": "fsv2v.prediction:predict",
    "preview": "fsv2v.synthesis:preview",
    "segment": "fsv2v.layers:segment",
    "synthesize": "fsv2v.synthesis:synthesize",
    "synthesize_many": "fsv2v.many:synthesize_many",
    "synthesize_variants": "fsv2v.synthesis:synthesize_variants",
    "train": "fsv2v.datasets:train",
}
"""name -> module:attribute, which is imported at the first use of the name."""


def __getattr__(name: str) -> Any:
    if name not in _DEFINITIONS:
        raise AttributeError(f"module 'fsv2v' has no attribute {name!r}")
    module, _, attribute = _DEFINITIONS[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
