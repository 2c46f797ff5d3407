"""Decoded frames that are kept for the later stages of a run, which look at the same ones again.

    with HELD.known_as(path, content):          # `Footage.local_copy` does so
        for frame in sample_frames(path):       # a frame in which somebody is found is kept: `Frame.keep`
            ...
        frames_at(path, times)                  # takes what is kept, and decodes the rest

Only within one process, as of a run worker or of a job that serves a run's steps; of one video at a time, known by its
content, as each step may have a copy of its own; and within `bound_bytes`, first come, first kept. A file that nobody
has named is never held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEFAULT_MB = 128
"""40 frames of full HD. A job on a GPU host has more to give: `gpu_steps.job_environment`."""


class HeldFrames:
    """Pictures (av.VideoFrame) of the video that was kept last, by presentation time."""

    def __init__(self, bound_bytes: int = DEFAULT_MB << 20) -> None:
        self.bound_bytes = bound_bytes
        self.bytes = 0
        self._content = ""
        self._pictures: dict[int, Any] = {}
        self._named: dict[Path, str] = {}

    @contextmanager
    def known_as(self, path: Path, content: str) -> Iterator[None]:
        """For the while, the file at `path` has that content, such as an ETag."""
        self._named[path] = content
        try:
            yield
        finally:
            self._named.pop(path, None)

    def keep(self, path: Path, time_s: float, picture: Any) -> None:
        """Without effect where the file is not known, the bound is reached, or the frame is kept already."""
        content = self._named.get(path)
        if content is None:
            return
        if content != self._content:
            self.forget()
            self._content = content
        size = sum(plane.buffer_size for plane in picture.planes)
        if self.bytes + size <= self.bound_bytes and _key(time_s) not in self._pictures:
            self._pictures[_key(time_s)] = picture
            self.bytes += size

    def find(self, path: Path, time_s: float) -> Any | None:
        """The picture that was kept of this file at this time, if any."""
        if not self._pictures or self._named.get(path) != self._content:
            return None
        return self._pictures.get(_key(time_s))

    def forget(self) -> None:
        self._content, self.bytes = "", 0
        self._pictures.clear()


def _key(time_s: float) -> int:
    """Microseconds: times travel as floats, and no two frames are so near."""
    return round(time_s * 1e6)


HELD = HeldFrames()
"""Of this process."""
