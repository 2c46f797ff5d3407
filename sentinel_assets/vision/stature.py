"""How tall, in pixels, each person would stand in each sample: the unit of all lengths in the behavior rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.behavior_parameters import BehaviorParameters

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_UPRIGHT_ASPECT = 1.8
"""Height over width from which a box without keypoints may show a standing person."""
_LEAN_DEG = 25.0
"""A trunk, and thighs, that lean less than this belong to somebody who stands."""
_SHIN_SHARE = 0.245
"""Knee to ankle, H. Drillis and Contini 1966."""
_FIT_SAMPLES = 12
"""Upright samples from which rows and heights of a camera are fitted."""
_FIT_MOST = 300


def standing_heights(
    tracks: Sequence[tuple[Array, Array, Array, Mask]], parameters: BehaviorParameters
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
        trunk = _trunk(keypoints) / parameters.trunk_share
        seen = np.flatnonzero(upright)
        if len(seen):
            # A box that the frame cuts is a lower bound; the trunk may know better.
            is_cut = cut[seen, 1] | cut[seen, 3]
            values = np.where(is_cut, np.fmax(tall[seen], trunk[seen]), tall[seen])
            if not is_cut.all():
                seen, values = seen[~is_cut], values[~is_cut]
            heights.append((np.interp(times_s, times_s[seen], _smoothed(times_s[seen], values)), "upright"))
        elif fit is not None and not cut[:, 3].all():
            rows = np.where(cut[:, 3], np.nan, boxes[:, 3])
            rows = np.where(np.isnan(rows), np.nanmedian(rows), rows)
            heights.append((np.maximum(np.polyval(fit, rows), 1.0), "camera"))
        elif not np.isnan(trunk).all():
            heights.append((np.full(len(times_s), _from_limbs(trunk, keypoints)), "trunk"))
        else:
            heights.append((np.full(len(times_s), np.nan), "none"))
    return heights


def _from_limbs(by_trunk: Array, keypoints: Array) -> float:
    """H in px from trunk and shin: a limb that points at the camera looks shorter, never longer, so the larger counts.

    The shin alone is not trusted far: where legs are hidden, its ends are guesses.
    """
    trunk = float(np.nanquantile(by_trunk, 0.8))
    shins = np.hypot(*np.moveaxis(keypoints[:, (13, 14), :2] - keypoints[:, (15, 16), :2], -1, 0)) / _SHIN_SHARE
    shin = float(np.nanmedian(shins)) if not np.isnan(shins).all() else trunk
    return max(trunk, min(shin, 1.35 * trunk))


def _trunk(keypoints: Array) -> Array:
    """Length from the middle of the shoulders to the middle of the hips, px; nan unless all four are seen."""
    return np.asarray(np.hypot(*(keypoints[:, (5, 6), :2].mean(axis=1) - keypoints[:, (11, 12), :2].mean(axis=1)).T))


def _is_upright(boxes: Array, keypoints: Array) -> Mask:
    """Standing for certain: trunk and thighs vertical; where they cannot be seen, a slender box."""
    aspect = (boxes[:, 3] - boxes[:, 1]) / np.maximum(boxes[:, 2] - boxes[:, 0], 1e-9)
    shoulders, hips = keypoints[:, (5, 6), :2].mean(axis=1), keypoints[:, (11, 12), :2].mean(axis=1)
    knees = keypoints[:, (13, 14), :2].mean(axis=1)
    trunk, thigh = _lean(hips, shoulders), _lean(knees, hips)
    # Seen from the front a sitting person's thighs are vertical too, but short.
    share = np.hypot(*(hips - knees).T) / np.maximum(np.hypot(*(shoulders - hips).T), 1.0)
    drop = keypoints[:, (15, 16), 1].mean(axis=1) - hips[:, 1]
    of_leg = (knees[:, 1] - hips[:, 1]) / np.maximum(drop, 1.0)
    straight = (thigh < _LEAN_DEG) & ~(share <= 0.6) & ~(of_leg < 0.44)
    known = ~np.isnan(thigh)
    upright = np.where(known, straight & ~(trunk >= _LEAN_DEG) & (aspect >= 1.3), aspect >= _UPRIGHT_ASPECT)
    return np.asarray(upright & ~(trunk >= _LEAN_DEG), np.bool_)


def _lean(lower: Array, upper: Array) -> Array:
    across, up = upper[:, 0] - lower[:, 0], lower[:, 1] - upper[:, 1]
    return np.asarray(np.degrees(np.arctan2(np.abs(across), up)))


def _smoothed(times_s: Array, values: Array) -> Array:
    """Median within a second to each side: a bend or a hidden foot does not shrink anybody."""
    return np.array([float(np.median(values[np.abs(times_s - t) <= 1.0 + 1e-6])) for t in times_s])


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
