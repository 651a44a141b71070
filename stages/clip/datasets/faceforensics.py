"""FaceForensics++: videos of news speakers (youtube) and actors, each at up to three levels of compression.

    ROOT/
      original_sequences/
        youtube/c23/videos/000.mp4 ... 999.mp4          also c40/, raw/ (c0/)
        actors/c23/videos/01__exit_phone_room.mp4 ...
      manipulated_sequences/METHOD/c23/videos/*.mp4     not imported: manipulated faces are not for training

Clips refer to the videos and have their frame rate, mostly 25 or 30 frames per second. A clip is named like youtube-c23-000. The older
FaceForensics (2018), which the papers use, has another layout: import its videos one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, folders_in, videos_in

_ORIGINALS = "original_sequences"


def _recognises(root: Path) -> bool:
    return (root / _ORIGINALS).is_dir()


def _recordings(root: Path) -> Iterator[Recording]:
    for origin in folders_in(root / _ORIGINALS):
        for compression in folders_in(origin):
            for video in videos_in(compression / "videos"):
                yield Recording(f"{origin.name}-{compression.name}-{video.stem}", video)


LAYOUT = Layout("faceforensics", _recognises, _recordings)
