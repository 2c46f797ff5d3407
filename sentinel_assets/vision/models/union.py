"""Several detectors as one: a person whom two of them see is one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentinel_assets.vision.protocols import JOINED, Boxes, Detector, Floats, Image

SAME_IOU = 0.45
"""Two boxes of two models that overlap by this are of the same person."""

SAME_CONTAINMENT = 0.7
"""And so are two of which the smaller lies in the larger by this part: one model sees a head and shoulders where the
other sees the whole, or draws one box around two people whom the other tells apart."""


class UnionDetector:
    """The boxes of the first detector, and of each further one those that no earlier box stands for.

    Put the detector with the tighter boxes first. `source` of each box names the models that saw it;
    its confidence is the first one's.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        if not detectors:
            raise ValueError("a union of no detectors")
        self._detectors = tuple(detectors)
        self.name = JOINED.join(detector.name for detector in detectors)

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        by_detector = [detector.detect(images) for detector in self._detectors]
        names = [detector.name for detector in self._detectors]
        return [unite(dict(zip(names, boxes, strict=True))) for boxes in zip(*by_detector, strict=True)]


def unite(found: dict[str, Boxes]) -> Boxes:
    """One image's boxes of several models, by the models' names, as one set."""
    kept: list[Floats] = []
    confidence: list[float] = []
    sources: list[list[str]] = []
    for name, boxes in found.items():
        earlier = len(kept)  # boxes of one model are never merged with each other: it has told them apart
        for box, score in zip(boxes.xyxy, boxes.confidence, strict=True):
            same = [i for i in range(earlier) if _is_same(box, kept[i])]
            if same:
                closest = max(same, key=lambda i: _overlap(box, kept[i])[0])
                if name not in sources[closest]:
                    sources[closest].append(name)
            else:
                kept.append(box)
                confidence.append(float(score))
                sources.append([name])
    if not kept:
        return Boxes.none()
    return Boxes(np.stack(kept), np.array(confidence, np.float32), tuple(JOINED.join(s) for s in sources))


def _is_same(one: Floats, other: Floats) -> bool:
    iou, containment = _overlap(one, other)
    return iou >= SAME_IOU or containment >= SAME_CONTAINMENT


def _overlap(one: Floats, other: Floats) -> tuple[float, float]:
    """Intersection over union, and over the smaller of the two."""
    common = _area(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))
    areas = _area(one), _area(other)
    if min(areas) <= 0:
        return 0.0, 0.0
    return common / (sum(areas) - common), common / min(areas)


def _area(box: Floats) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))
