"""The skeleton tables, for those who work in this room. They lie in stages/skeletons.py, for the importers below need them too."""

from __future__ import annotations

from stages.skeletons import BODY_25 as BODY_25
from stages.skeletons import COCO_17 as COCO_17
from stages.skeletons import COCO_WHOLEBODY as COCO_WHOLEBODY
from stages.skeletons import MEDIAPIPE_33 as MEDIAPIPE_33
from stages.skeletons import OPENPOSE_18 as OPENPOSE_18
from stages.skeletons import SKELETONS as SKELETONS
from stages.skeletons import Skeleton as Skeleton
from stages.skeletons import convert as convert
from stages.skeletons import from_mediapipe as from_mediapipe
