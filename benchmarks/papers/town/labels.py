"""The labels of a drive: those of CamVid that the shipped street segmenter knows, in its order."""

from __future__ import annotations

from stages.tables.label_tables import CAMVID, LabelTable

LABELS = LabelTable("camvid", CAMVID.names[:-1], CAMVID.palette[:-1])
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(LABELS.names))
