"""Videos in codecs other than H.264."""

from __future__ import annotations

from strange_files.encoding import Coding, encode
from strange_files.registry import register

LOSSLESS_265 = ("-x265-params", "lossless=1:bframes=3:log-level=none", "-preset", "ultrafast")
FAST_VPX = ("-cpu-used", "8", "-deadline", "realtime")
for _name, _file, _coding in (
    ("MJPEG", "motion.avi", Coding("mjpeg", ("-q:v", "1", "-qmin", "1"), full=True)),
    ("MJPEG in mov", "motion.mov", Coding("mjpeg", ("-q:v", "1", "-qmin", "1"), layout="yuv444p", full=True)),
    ("HEVC", "high.mp4", Coding("libx265", LOSSLESS_265, matrix="bt709")),
    ("HEVC, 10 bits", "high.mkv", Coding("libx265", LOSSLESS_265, bits=10)),
    ("VP8", "vp8.webm", Coding("libvpx", ("-crf", "4", "-b:v", "4M", "-qmin", "0", "-qmax", "4", *FAST_VPX))),
    ("VP9", "vp9.webm", Coding("libvpx-vp9", ("-lossless", "1", *FAST_VPX))),
    ("AV1", "av1.mp4", Coding("libsvtav1", ("-crf", "4", "-preset", "6"), matrix="bt709")),
    ("AV1 by libaom", "av1.mkv", Coding("libaom-av1", ("-crf", "0", "-cpu-used", "8", "-usage", "realtime"))),
    ("ProRes 422", "prores.mov", Coding("prores_ks", ("-profile:v", "hq", "-qscale:v", "1"), layout="yuv422p", bits=10, matrix="bt709")),
    ("FFV1", "archive.mkv", Coding("ffv1", ("-level", "3"), layout="yuv422p", bits=10)),
    ("MPEG-4 with B-frames", "divx.avi", Coding("mpeg4", ("-q:v", "1", "-qmin", "1", "-bf", "2"))),
    ("FFVHuff (HuffYUV)", "huff.avi", Coding("ffvhuff", (), layout="yuv422p")),
    ("Theora", "theora.ogv", Coding("libtheora", ("-q:v", "10"))),
):  # fmt: skip
    register(_name, _file, _coding.encoder)(encode(_coding))
