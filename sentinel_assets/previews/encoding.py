"""Pictures as Markdown that fits into an event log."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from sentinel_assets.previews.markdown import escape
from sentinel_assets.vision.errors import SentinelError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_MARKDOWN = 50_000
"""Characters of one picture, or of a table with all its pictures: Dagster's event log keeps it for ever."""
MAX_PICTURE = 36_000
"""Bytes: base64 makes four characters of three bytes, and the rest is for the words around."""

_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))
_LOWEST_QUALITY = 32
_QUALITIES = (45, 60, 75, 85)
_COLOURS = (128, 64, 32)
_SMALLEST_SIDE = 16


def as_markdown(picture: bytes, alt: str) -> str:
    """The encoded picture (PNG, JPEG, WebP or GIF) as a Markdown image that needs no server."""
    kind = next((kind for signature, kind in _SIGNATURES if picture.startswith(signature)), None)
    if kind is None:
        raise SentinelError("neither PNG, JPEG, WebP nor GIF", where="preview")
    return f"![{escape(alt)}](data:image/{kind};base64,{base64.b64encode(picture).decode()})"


def photo(picture: Picture, limit: int = MAX_PICTURE) -> bytes:
    """The picture as WebP of at most `limit` bytes: as large as the lowest quality allows, in the best that fits."""
    while min(picture.size) >= _SMALLEST_SIDE:
        best = _saved(picture, "WEBP", quality=_LOWEST_QUALITY)
        if len(best) > limit:
            picture = _smaller(picture, max(0.5, min(0.95, (limit / len(best)) ** 0.5)))
            continue
        for quality in _QUALITIES:
            encoded = _saved(picture, "WEBP", quality=quality)
            if len(encoded) > limit:
                break
            best = encoded
        return best
    raise SentinelError(f"no picture fits into {limit} bytes", where="preview")


def chart(picture: Picture, limit: int = MAX_PICTURE) -> bytes:
    """The picture as PNG with a palette, of at most `limit` bytes: in fewer colours first, then smaller."""
    from PIL import Image as Pillow

    while min(picture.size) >= _SMALLEST_SIDE:
        for colours in _COLOURS:
            encoded = _saved(picture.quantize(colours, dither=Pillow.Dither.NONE), "PNG", optimize=True)
            if len(encoded) <= limit:
                return encoded
        picture = _smaller(picture, 0.85)
    raise SentinelError(f"no picture fits into {limit} bytes", where="preview")


def _saved(picture: Picture, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _smaller(picture: Picture, factor: float) -> Picture:
    return picture.resize((max(1, int(picture.width * factor)), max(1, int(picture.height * factor))))
