"""Videos with unusual pixels: interlaced, anamorphic, of odd sizes, in many colour spaces and chroma subsamplings, with HDR or alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from strange_files.encoding import H264, WEIGHTS, Coding, encode, raw_frames, write
from strange_files.frames import GREY_PATCHES, HALF_TRANSPARENT, add_alpha
from strange_files.registry import Setup, Truth, register


@register("interlaced", "fields.mkv", "libx264")
def _interlaced(setup: Setup, path: Path) -> Truth:
    """Both fields of a frame show the same number, so frames do not have to be deinterlaced."""
    write(setup, path, replace(H264, options=(*H264.options, "-flags", "+ilme+ildct", "-x264-params", "tff=1")))
    return setup.truth()


@register("interlaced MPEG-2 with B-frames", "fields.mpg", "mpeg2video")
def _interlaced_mpeg2(setup: Setup, path: Path) -> Truth:
    options = ("-flags", "+ilme+ildct", "-bf", "2", "-qscale:v", "1", "-qmin", "1")
    write(setup, path, Coding("mpeg2video", options))
    return setup.truth()


@register("anamorphic pixels", "wide.mp4", "libx264")
def _anamorphic(setup: Setup, path: Path) -> Truth:
    """fsv2v treats all pixels as square."""
    coding = replace(H264, options=(*H264.options, "-aspect", "16:9"))
    write(setup, path, coding)
    return setup.truth()


@register("odd size", "odd.mp4", "libx264")
def _odd(setup: Setup, path: Path) -> Truth:
    size = (setup.size[0] - 1, setup.size[1] - 1)
    write(setup, path, replace(H264, layout="yuv444p"), frames=setup.frames(size))
    return setup.truth(size=size)


@register("odd size, 4:2:0", "odd.mkv", "ffv1")
def _odd_420(setup: Setup, path: Path) -> Truth:
    size = (setup.size[0] - 1, setup.size[1] - 1)
    write(setup, path, Coding("ffv1", ()), frames=setup.frames(size))
    return setup.truth(size=size)


@register("cropped by the stream", "cropped.mp4", "libx264")
def _cropped(setup: Setup, path: Path) -> Truth:
    """A height that is not a multiple of 16 is encoded larger, and the decoder crops it."""
    size = (setup.size[0] + 2, setup.size[1] + 6)
    write(setup, path, H264, frames=setup.frames(size))
    return setup.truth(size=size)


for _matrix in WEIGHTS:
    for _full in (False, True):
        if _matrix != "bt2020":
            _name = f"{_matrix.upper().replace('BT', 'BT.')}, {'full' if _full else 'limited'} range"
            register(_name, "colour.mp4", "libx264")(encode(replace(H264, matrix=_matrix, full=_full)))
for _layout, _bits in (("yuv444p", 8), ("yuv422p", 8), ("yuv444p", 10), ("yuv422p", 10), ("yuv420p", 10)):
    _name = f"4:{_layout[4]}:{_layout[5]}{', 10 bits' if _bits > 8 else ''}"
    register(_name, "sampled.mp4", "libx264")(encode(replace(H264, layout=_layout, bits=_bits)))
register("4:1:1", "sampled.mkv", "ffv1")(encode(Coding("ffv1", (), layout="yuv411p")))


def _grey(coding: Coding) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        write(setup, path, coding)
        return setup.truth(patches=GREY_PATCHES)

    return make


register("grey, full range", "grey.mkv", "ffv1")(_grey(Coding("ffv1", (), layout="gray", full=True)))
register("grey, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray")))
register("grey, 10 bits, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray", bits=10)))
register("grey AV1, limited range", "grey.mkv", "libaom-av1")(
    _grey(Coding("libaom-av1", ("-crf", "0", "-cpu-used", "8", "-usage", "realtime"), layout="gray"))
)


def _linear_light(srgb: np.ndarray) -> np.ndarray:
    """Linear light from 0 to 1 of sRGB from 0 to 255."""
    value = srgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


BT709_TO_BT2020 = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]])
"""The matrix from linear RGB of BT.709 to linear RGB of BT.2020 (ITU-R BT.2087)."""


def _pq(nits: np.ndarray) -> np.ndarray:
    """The PQ signal of light in nits (SMPTE ST 2084)."""
    power = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def _hlg(nits: np.ndarray) -> np.ndarray:
    """The HLG signal of light on a screen of 1000 nits, whose system gamma is 1.2."""
    luminance = nits @ np.array([0.2627, 0.6780, 0.0593]) / 1000
    scene = nits / 1000 * luminance[..., None] ** (1 / 1.2 - 1)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def _hdr(curve: Callable[[np.ndarray], np.ndarray], transfer: str) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        frames = [curve(203 * _linear_light(frame) @ BT709_TO_BT2020.T) for frame in setup.frames()]
        write(setup, path, Coding(layout="yuv420p", matrix="bt2020", bits=10, tags=("bt2020nc", "bt2020", transfer)), frames=frames)
        return setup.truth()

    return make


@register("BT.2020 without HDR", "wide.mp4", "libx264")
def _bt2020(setup: Setup, path: Path) -> Truth:
    """The signal for a BT.1886 screen, whose light is the signal to the power of 2.4."""
    frames = [((frame / 255) ** 2.4 @ BT709_TO_BT2020.T) ** (1 / 2.4) for frame in setup.frames()]
    write(setup, path, Coding(matrix="bt2020", bits=10), frames=frames)
    return setup.truth()


register("PQ", "hdr.mp4", "libx264")(_hdr(_pq, "smpte2084"))
register("HLG", "hdr.mp4", "libx264")(_hdr(_hlg, "arib-std-b67"))


@register("RGB in H.264", "rgb.mp4", "libx264rgb")
def _rgb(setup: Setup, path: Path) -> Truth:
    setup.ffmpeg(*raw_frames(setup, setup.frames()), "-c:v", "libx264rgb", "-qp", "0", path.name)
    return setup.truth()


def _transparent(*coding: object) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        setup.ffmpeg(*raw_frames(setup, add_alpha(setup.frames()), "rgba"), *coding, path.name)
        return setup.truth(patches=HALF_TRANSPARENT)

    return make


register("alpha, QuickTime animation", "alpha.mov", "qtrle")(_transparent("-c:v", "qtrle", "-pix_fmt", "argb"))
register("alpha, ProRes 4444", "alpha.mov", "prores_ks")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt709:flags=accurate_rnd,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"),
        *("-c:v", "prores_ks", "-profile:v", "4444", "-qscale:v", "1", "-pix_fmt", "yuva444p10le"),
    )
)
register("alpha, PNG", "alpha.mov", "png")(_transparent("-c:v", "png"))
register("alpha, FFV1", "alpha.mkv", "ffv1")(_transparent("-c:v", "ffv1", "-pix_fmt", "bgra"))
register("alpha, VP9", "alpha.webm", "libvpx-vp9")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt601:flags=accurate_rnd,setparams=colorspace=smpte170m"),
        *("-c:v", "libvpx-vp9", "-lossless", "1", "-pix_fmt", "yuva420p", "-cpu-used", "8", "-deadline", "realtime"),
    )
)
