"""How tall, in pixels, each person would stand in each sample: the unit of all lengths in the behavior rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.skeleton import ANKLES, HIPS, KNEES, SHOULDERS, lean_deg, middle
from sentinel_assets.vision.windows import windows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_UPRIGHT_ASPECT = 1.8
"""Height over width from which a box without keypoints shows a standing person."""
_LEGS_ASPECT = 1.6
"""The same for one whose legs look straight: a body that lies along the line of sight looks straight too, but broad."""
_LEAN_DEG = 25.0
"""A trunk, and thighs, that lean less than this belong to somebody who stands."""
_TRUNK_SHARE = 0.29
"""Middle of the shoulders to middle of the hips, H. Drillis and Contini 1966."""
_SHIN_SHARE = 0.245
"""Knee to ankle, H. Drillis and Contini 1966."""
_THIGH_OF_LEG = 0.43
"""Thigh over leg of straight legs: 0.5, measured on people who stand or walk 0.44 and more; less of those who sit."""
_UPRIGHT_PART = 0.2
"""Share of a track's samples, or else two in a row, that look upright when the height is learned from them anyway."""
_TALLER = 1.15
"""Fewer count only if they show somebody this much taller than the limbs seen in the others do; a fall's first sample
does, a sitting person whose guessed legs look straight once does not."""
_HIGHEST, _LONGEST = 1.15, 1.25
"""H. Of a box: the height of somebody who stands, the length of somebody who lies, with an arm half stretched out."""
_FIT_SAMPLES = 12
"""Upright samples from which rows and heights of a camera are fitted."""
_FIT_MOST = 300


def standing_heights(
    tracks: Sequence[tuple[Array, Array, Array, Mask]],
) -> list[tuple[Array, str]]:
    """For each track, of (boxes, keypoints, times, cut), its standing height (N,) px in each sample, and the source.

    Sources, best first: `upright`, the person was seen standing, before or after; `camera`, others stood in the same
    row; `trunk`, the length of the trunk over its share of the height; `none`, in which case all are nan.
    """
    standing = [_is_upright(boxes, keypoints) for boxes, keypoints, _, _ in tracks]
    fit = _camera_fit(tracks, standing)
    heights: list[tuple[Array, str]] = []
    for (boxes, keypoints, times_s, cut), upright in zip(tracks, standing, strict=True):
        tall = boxes[:, 3] - boxes[:, 1]
        trunk = _trunk(keypoints) / _TRUNK_SHARE
        seen = np.flatnonzero(upright)
        if len(seen):
            # A box that the frame cuts is a lower bound; the trunk may know better.
            is_cut = cut[seen, 1] | cut[seen, 3]
            values = np.where(is_cut, np.fmax(tall[seen], trunk[seen]), tall[seen])
            if not is_cut.all():
                seen, values = seen[~is_cut], values[~is_cut]
            learned = np.interp(times_s, times_s[seen], _smoothed(times_s[seen], values))
            # Who comes closer without being seen upright is taller than learned: no box is higher than a raised arm.
            heights.append((np.maximum(learned, tall / _HIGHEST), "upright"))
        elif fit is not None and not cut[:, 3].all():
            rows = np.where(cut[:, 3], np.nan, boxes[:, 3])
            rows = np.where(np.isnan(rows), np.nanmedian(rows), rows)
            heights.append((np.maximum(np.polyval(fit, rows), 1.0), "camera"))
        elif not np.isnan(trunk).all():
            heights.append((np.full(len(times_s), max(_from_limbs(keypoints), _from_boxes(boxes))), "trunk"))
        else:
            heights.append((np.full(len(times_s), np.nan), "none"))
    return heights


def _from_limbs(keypoints: Array) -> float:
    """H in px from trunk and shin: a limb that points at the camera looks shorter, never longer, so the larger counts.

    The shin alone is not trusted far: where legs are hidden, its ends are guesses. 0 where no trunk was seen.
    """
    by_trunk = _trunk(keypoints) / _TRUNK_SHARE
    if np.isnan(by_trunk).all():
        return 0.0
    trunk = float(np.nanquantile(by_trunk, 0.8))
    shins = np.hypot(*np.moveaxis(keypoints[:, KNEES, :2] - keypoints[:, ANKLES, :2], -1, 0)) / _SHIN_SHARE
    shin = float(np.nanmedian(shins)) if not np.isnan(shins).all() else trunk
    return max(trunk, min(shin, 1.35 * trunk))


def _from_boxes(boxes: Array) -> float:
    """The least H in px that can fill the largest box."""
    return float(max((boxes[:, 3] - boxes[:, 1]).max() / _HIGHEST, (boxes[:, 2] - boxes[:, 0]).max() / _LONGEST))


def _trunk(keypoints: Array) -> Array:
    """Length from the middle of the shoulders to the middle of the hips, px; nan unless all four are seen."""
    return np.asarray(np.hypot(*(keypoints[:, SHOULDERS, :2].mean(axis=1) - keypoints[:, HIPS, :2].mean(axis=1)).T))


def _is_upright(boxes: Array, keypoints: Array) -> Mask:
    """Standing for certain: trunk and thighs vertical; where no joint is seen, a slender box."""
    tall = boxes[:, 3] - boxes[:, 1]
    aspect = tall / np.maximum(boxes[:, 2] - boxes[:, 0], 1e-9)
    shoulders, hips = middle(keypoints, SHOULDERS), middle(keypoints, HIPS)
    knees, ankles = middle(keypoints, KNEES), middle(keypoints, ANKLES)
    # Seen from the front a sitting person's thighs are vertical too, but short.
    of_trunk = np.hypot(*(hips - knees).T) / np.maximum(np.hypot(*(shoulders - hips).T), 1.0)
    of_leg = (knees[:, 1] - hips[:, 1]) / np.maximum(ankles[:, 1] - hips[:, 1], 1.0)
    legs = (
        (lean_deg(knees, hips) < _LEAN_DEG) & ~(of_trunk <= 0.6) & ~(of_leg < _THIGH_OF_LEG) & (aspect >= _LEGS_ASPECT)
    )
    blind = np.isnan(keypoints[:, :, 0]).all(axis=1)
    upright = np.where(blind, aspect >= _UPRIGHT_ASPECT, legs & ~(lean_deg(hips, shoulders) >= _LEAN_DEG))
    if _is_lone(upright) and _from_limbs(keypoints[~upright]) * _TALLER > float(tall[upright].max()):
        return np.zeros_like(upright)
    return np.asarray(upright, np.bool_)


def _is_lone(upright: Mask) -> bool:
    """Some samples look upright, but few, and no two in a row."""
    return bool(upright.any() and upright.mean() < _UPRIGHT_PART and not (upright[1:] & upright[:-1]).any())


def _smoothed(times_s: Array, values: Array) -> Array:
    """Median within a second to each side: a bend or a hidden foot does not shrink anybody."""
    return np.array([float(np.median(values[window])) for window in windows(times_s, 1.0)])


def _camera_fit(tracks: Sequence[tuple[Array, Array, Array, Mask]], standing: Sequence[Mask]) -> Array | None:
    """Line through (foot row, height) of all who stand whole in the picture; None when they do not determine one."""
    rows, heights = [], []
    for (boxes, _, _, cut), upright in zip(tracks, standing, strict=True):
        whole = upright & ~cut[:, 1] & ~cut[:, 3]
        rows.extend(boxes[whole, 3])
        heights.extend(boxes[whole, 3] - boxes[whole, 1])
    if len(rows) < _FIT_SAMPLES or np.ptp(rows) < 0.5 * np.median(heights):
        return None
    # Theil-Sen: half of the samples may be wrong (people behind shelves). All pairs of at most _FIT_MOST samples.
    some = np.linspace(0, len(rows) - 1, min(len(rows), _FIT_MOST)).astype(int)
    x, y = np.array(rows)[some], np.array(heights)[some]
    one, other = np.triu_indices(len(some), 1)
    apart = np.abs(x[one] - x[other]) > 1.0
    slope = float(np.median((y[one] - y[other])[apart] / (x[one] - x[other])[apart]))
    return np.array([slope, float(np.median(y - slope * x))]) if slope > 0 else None
