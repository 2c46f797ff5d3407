"""Whether a video can be analysed at all, told before a model is loaded: whole, large enough, several pictures."""

from __future__ import annotations

from pathlib import Path

from sentinel_assets.vision.errors import FootageDamaged, FootageTooPoor
from sentinel_assets.vision.frames import Clip

MIN_SIDE_PX = 64  # of the shorter side: somebody who fills such a frame is as small as the detectors still find
MIN_FRAMES = 2  # what people do is a matter of time


def require_suitable(path: Path, clip: Clip, *, accept_truncated: bool = False) -> None:
    """Read all packets, decode none. Raises FootageTooPoor, or FootageDamaged where the end of the file is missing."""
    from sentinel_assets.vision.containers import open_video

    if min(clip.width, clip.height) < MIN_SIDE_PX:
        raise FootageTooPoor(
            f"frames of {clip.width}x{clip.height} px are too small to recognise anybody",
            where=path,
            remedy=f"The shorter side must have at least {MIN_SIDE_PX} px",
        )
    with open_video(path) as video:
        frames = sum(1 for _ in video.packets())
        truncation = video.signs_of_truncation()
    if truncation and not accept_truncated:
        remedy = "Copy it again, or analyse what is there: --partial, or SENTINEL_ACCEPT_TRUNCATED=1"
        raise FootageDamaged(f"the file {truncation}", where=path, remedy=remedy)
    if frames < MIN_FRAMES:
        raise FootageTooPoor(
            "the video has a single frame, and what people do takes time",
            where=path,
            remedy=f"Give it at least {MIN_FRAMES} frames",
        )
