"""From a decoded frame to an upright RGB image: all of it, scaled, or a part."""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from sentinel_assets.vision.protocols import Image

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
# Video that does not say its colour matrix: BT.709 from this height on, BT.601 below, as players assume.
_HIGH_DEFINITION_HEIGHT = 720
# Pixel formats of 8 bits in which a part can be cut out of each plane: (horizontal, vertical) chroma subsampling.
_CHROMA_SUBSAMPLING = {
    "yuv420p": (2, 2),
    "yuvj420p": (2, 2),
    "yuv422p": (2, 1),
    "yuvj422p": (2, 1),
    "yuv444p": (1, 1),
    "yuvj444p": (1, 1),
}
# Chroma around a crop that is converted with it, so that the crop's border is interpolated as inside the frame, px.
_MARGIN = 2


def quarter_turns(picture: Any) -> int:
    """Counter-clockwise quarter turns that make the stored picture upright; odd angles are left as they are."""
    turns, rest = divmod(picture.rotation, 90)
    return turns % 4 if rest == 0 else 0


def to_rgb(picture: Any, turns: int, *, size: tuple[int, int] | None = None, matrix: Colorspace | None = None) -> Image:
    """An upright (H, W, 3) image; `size` is the width and height to scale the stored picture to.

    `matrix` is the colour matrix, where the picture itself does not say.
    """
    width, height = size or (picture.width, picture.height)
    scaled = picture.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix or _colour_matrix(picture),
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )
    return _turned(cast(Image, scaled.to_ndarray()), turns)


def crop_to_rgb(picture: Any, turns: int, box: tuple[int, int, int, int]) -> Image:
    """The pixels of `box` (left, top, right, bottom in the upright picture, within it)."""
    left, top, right, bottom = _stored_box(box, turns, picture.width, picture.height)
    subsampling = _CHROMA_SUBSAMPLING.get(picture.format.name)
    if subsampling is None:
        return _turned(to_rgb(picture, 0)[top:bottom, left:right], turns)
    across, down = subsampling
    # Chroma samples cover whole blocks, so the part that is cut out begins and ends at block borders.
    x0, y0 = max(0, left - _MARGIN) // across * across, max(0, top - _MARGIN) // down * down
    x1, y1 = min(picture.width, right + _MARGIN), min(picture.height, bottom + _MARGIN)
    part = av.VideoFrame(x1 - x0, y1 - y0, picture.format.name)
    part.colorspace, part.color_range = picture.colorspace, picture.color_range
    for source, target, (h, v) in zip(picture.planes, part.planes, ((1, 1), subsampling, subsampling), strict=True):
        top_left = slice(y0 // v, y0 // v + target.height), slice(x0 // h, x0 // h + target.width)
        _pixels(target)[: target.height, : target.width] = _pixels(source)[top_left]
    rgb = to_rgb(part, 0, matrix=_colour_matrix(picture))
    return _turned(rgb[top - y0 : bottom - y0, left - x0 : right - x0], turns)


def _pixels(plane: Any) -> Image:
    """The plane's memory, padding at the line ends included, shared and not copied."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def _colour_matrix(picture: Any) -> Colorspace | None:
    if picture.colorspace != _UNSPECIFIED or picture.height < _HIGH_DEFINITION_HEIGHT:
        return None  # as the frame says, or FFmpeg's default, which is BT.601
    return Colorspace.ITU709


def _turned(image: Image, turns: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, turns))


def _stored_box(box: tuple[int, int, int, int], turns: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The box in the stored picture of `width` x `height`, before it is turned counter-clockwise `turns` times."""
    left, top, right, bottom = box
    if turns == 1:  # upright (x, y) was stored at (width - y, x)
        return width - bottom, left, width - top, right
    if turns == 2:
        return width - right, height - bottom, width - left, height - top
    if turns == 3:  # upright (x, y) was stored at (y, height - x)
        return top, height - right, bottom, height - left
    return box
