"""How well boxes and identities agree with labelled ones: average precision and IDF1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Boxes = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """One frame: labelled boxes (N, 4) with ids (N,), found boxes (M, 4) with ids and confidences (M,)."""

    truth: Boxes
    truth_ids: Ids
    found: Boxes
    found_ids: Ids
    confidence: NDArray[np.float64]


def iou(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """(N, M) intersection over union."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clip(0).prod(axis=-1)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=-1)[:, None] + (other[:, 2:] - other[:, :2]).prod(axis=-1)[None]
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def average_precision(samples: Sequence[Sample], least_iou: float = 0.5) -> float | None:
    """Area under precision over recall, interpolated at every recall (Pascal VOC 2010); None without labelled boxes.

    Found boxes are taken by confidence; each labelled box can be found once.
    """
    total = sum(len(sample.truth) for sample in samples)
    if not total:
        return None
    ranked = sorted(
        ((float(c), s, i) for s, sample in enumerate(samples) for i, c in enumerate(sample.confidence)),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    overlaps = [iou(sample.truth, sample.found) for sample in samples]
    free = [np.ones(len(sample.truth), np.bool_) for sample in samples]
    right = np.zeros(len(ranked))
    for place, (_, s, i) in enumerate(ranked):
        candidates = np.where(free[s], overlaps[s][:, i], 0.0)
        if len(candidates) and candidates.max() >= least_iou:
            free[s][int(candidates.argmax())] = False
            right[place] = 1.0
    if not ranked:
        return 0.0
    hits = np.cumsum(right)
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(np.concatenate([[0.0], recall])) * best_from_here).sum())


def idf1(samples: Sequence[Sample], least_iou: float = 0.5) -> float | None:
    """2 IDTP / (2 IDTP + IDFP + IDFN): labelled and found persons are paired one to one so that most boxes agree
    (Ristani et al. 2016, arXiv:1609.01775); None where there is nobody."""
    truths = sorted({int(i) for sample in samples for i in sample.truth_ids})
    founds = sorted({int(i) for sample in samples for i in sample.found_ids})
    boxes = sum(len(s.truth) + len(s.found) for s in samples)
    if not boxes:
        return None
    rows, columns = {t: r for r, t in enumerate(truths)}, {f: c for c, f in enumerate(founds)}
    agreeing = np.zeros((len(truths), len(founds)))
    for sample in samples:
        for r, c in zip(*np.nonzero(iou(sample.truth, sample.found) >= least_iou), strict=True):
            agreeing[rows[int(sample.truth_ids[r])], columns[int(sample.found_ids[c])]] += 1
    pairing = linear_sum_assignment(agreeing, maximize=True)
    return float(2 * agreeing[pairing].sum() / boxes)


def identity_switches(samples: Sequence[Sample], least_iou: float = 0.5) -> int:
    """How often a labelled person is given another id than when last found."""
    last: dict[int, int] = {}
    switches = 0
    for sample in samples:
        overlap = iou(sample.truth, sample.found)
        for r, c in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[r, c] < least_iou:
                continue
            person, given = int(sample.truth_ids[r]), int(sample.found_ids[c])
            switches += last.get(person, given) != given
            last[person] = given
    return switches
