"""Decodes chosen frames of a video, and as few others as is exact.

Two ways lead to the same frames. The planned way (gop.py) decodes only what the chosen frames need, and checks what
comes out of the decoder against the plan. Where the file's time stamps or access points cannot be trusted, the other
way decodes all frames and applies the same rule to them.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error

from sentinel_assets.vision.containers import DecodeDevice, DecodeWork, OpenVideo, as_of_the_cpu, open_video
from sentinel_assets.vision.errors import FootageDamaged
from sentinel_assets.vision.gop import GroupPlan, PlanError, SamplingRule, Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChosenFrame:
    """A frame that the rule took, how many samples it is, and its exact time in seconds from the first frame."""

    picture: Any  # av.VideoFrame
    samples: int
    time_s: float


def chosen_frames(
    path: Path,
    rule: Callable[[Fraction], SamplingRule],
    *,
    on_damage: Callable[[str], None] | None = None,
    work: DecodeWork | None = None,
    device: DecodeDevice = "cpu",
) -> Iterator[ChosenFrame]:
    """The frames that `rule`, made for the stream's time base, takes; in presentation order. They are the same on each
    device; a file that cannot be decoded by plan is decoded on the CPU.

    Damage (truncation, packets that cannot be decoded) is told to `on_damage` in a line each, after the last frame;
    without one it is logged as a warning. Raises FootageMissing, NotAVideo, or FootageDamaged where no frame at all can
    be decoded.
    """
    report = on_damage or (lambda what: logger.warning("%s: %s", path, what))
    work = work if work is not None else DecodeWork()
    given = 0
    with open_video(path, device) as video:
        video.work, work.device = work, video.device
        if video.can_be_planned:
            work.planned = True
            try:
                for chosen in _planned_frames(video, rule, report):
                    given += 1
                    yield chosen
                return
            except PlanError as broken:
                logger.debug("%s: decoding everything, since %s", path, broken)
            except av.error.FFmpegError as error:
                logger.debug("%s: decoding everything, since the decoder says %s", path, error)
    work.planned, work.packets, work.device = False, 0, "cpu"
    with open_video(path) as video:
        video.work = work
        for place, chosen in enumerate(_all_frames(video, rule, report)):
            if place >= given:
                yield chosen


def _planned_frames(
    video: OpenVideo, make_rule: Callable[[Fraction], SamplingRule], report: Callable[[str], None]
) -> Iterator[ChosenFrame]:
    rule = make_rule(video.time_base)
    plan: GroupPlan[Any] = GroupPlan(rule)
    check = _PlanCheck(plan, make_rule(video.time_base), video.time_base)
    for packet in video.packets():
        if packet.pts is None or packet.is_corrupt:
            raise PlanError("a packet is damaged or has no time stamp")
        starts, _ = video.access_point(packet)
        for step in plan.add(packet, packet.pts, starts_group=starts, shown=not packet.is_discard, size=packet.size):
            yield from check.accept(_decode_step(video, step, check))
        if rule.finished:
            break
    for step in plan.finish():
        yield from check.accept(_decode_step(video, step, check))
    yield from check.accept(video.drain())
    check.all_came()
    if not rule.finished and (truncation := video.signs_of_truncation()):
        report(truncation)


def _decode_step(video: OpenVideo, step: Step[Any], check: _PlanCheck) -> list[Any]:
    frames = []
    if step.jumped:
        check.access_points.add(step.packet.pts)
        if not video.access_point(step.packet)[1]:
            # Otherwise the decoder would relate the new group to the one that was left unfinished.
            frames = video.drain()
            video.decoder.flush_buffers()
    return frames + video.decode(step.packet, droppable=step.droppable)


class _PlanCheck:
    """Takes the rule's frames out of what the decoder gives, and makes sure that they are the planned ones."""

    def __init__(self, plan: GroupPlan[Any], rule: SamplingRule, time_base: Fraction) -> None:
        self.access_points: set[int] = set()
        self._plan = plan
        self._rule = rule
        self._time_base = time_base
        self._came: deque[Any] = deque()
        self._last: int | None = None

    def accept(self, frames: list[Any]) -> Iterator[ChosenFrame]:
        self._came.extend(frames)
        # A frame may come out, decoded for the sake of another, before the plan has decided about it.
        while self._came and self._plan.has_decided(self._came[0].pts):
            frame = self._came.popleft()
            self._verify(frame)
            elapsed = frame.pts - self._plan.first
            samples = self._rule.take(elapsed)
            if samples:
                if not self._plan.wanted or self._plan.wanted.popleft() != frame.pts:
                    raise PlanError(f"the decoder did not give what was planned around {frame.pts}")
                yield ChosenFrame(as_of_the_cpu(frame), samples, float(elapsed * self._time_base))

    def _verify(self, frame: Any) -> None:
        if frame.pts is None or frame.is_corrupt or (self._last is not None and frame.pts <= self._last):
            raise PlanError(f"the decoder gave a frame at {frame.pts} after {self._last}")
        if self._last is None and frame.pts != self._plan.first:
            raise PlanError(f"the first frame is at {frame.pts}, not {self._plan.first}")
        if frame.pts in self.access_points:
            self.access_points.discard(frame.pts)
            if not frame.key_frame:
                raise PlanError(f"the frame at {frame.pts} is no access point")
        self._last = frame.pts

    def all_came(self) -> None:
        if self._last is None or self._plan.wanted or self._came:
            raise PlanError("the decoder did not give all that was planned")


class _Clock:
    """When each frame is shown, in ticks of the time base.

    A container with presentation times says so itself. Where it only has decode times (H.264 in AVI), or none (an
    elementary stream), frames come out of the decoder in presentation order and take the packets' times in ascending
    order.
    """

    def __init__(self, video: OpenVideo) -> None:
        self._trusts_pts = not video.has_only_decode_times
        self._frame_ticks = 1 / (video.rate * video.time_base)
        self._slots: list[int] = []
        self._fed = 0
        self._last: int | None = None

    def feed(self, packet: Any) -> None:
        if packet.pts is None and packet.dts is None:
            slot = round(self._fed * self._frame_ticks)
            self._trusts_pts = False
        else:
            slot = packet.pts if packet.dts is None else packet.dts
            # A single missing stamp does not make the container's others worthless.
            self._trusts_pts = self._trusts_pts and not (packet.pts is None and self._fed == 0)
        self._fed += 1
        if not self._trusts_pts:
            heapq.heappush(self._slots, slot)

    def lose(self) -> None:
        """The packet fed last gives no frame."""
        if self._slots:
            self._slots.remove(max(self._slots))
            heapq.heapify(self._slots)

    def show(self, frame: Any) -> int:
        if not self._trusts_pts and self._slots:
            ticks = heapq.heappop(self._slots)
        elif frame.pts is not None and self._trusts_pts:
            ticks = frame.pts
        else:
            ticks = 0 if self._last is None else self._last + round(self._frame_ticks)
        self._last = ticks
        return ticks


def _all_frames(
    video: OpenVideo, make_rule: Callable[[Fraction], SamplingRule], report: Callable[[str], None]
) -> Iterator[ChosenFrame]:
    rule = make_rule(video.time_base)
    clock = _Clock(video)
    losses = _Losses(video.time_base)
    first: int | None = None
    latest = 0
    for frames in _decoded(video, clock, losses):
        for frame in frames:
            ticks = clock.show(frame)
            if frame.is_corrupt:
                losses.add()
                continue
            first = ticks if first is None else first
            losses.last_good = latest = max(latest, ticks - first)
            samples = rule.take(ticks - first)
            if samples:
                yield ChosenFrame(frame, samples, float((ticks - first) * video.time_base))
        if rule.finished:
            return
    if first is None:
        raise FootageDamaged(
            "no frame can be decoded", where=video.path, remedy="Copy or upload it again, or convert it to H.264"
        )
    for line in (losses.line(), video.signs_of_truncation()):
        if line:
            report(line)


def _decoded(video: OpenVideo, clock: _Clock, losses: _Losses) -> Iterator[list[Any]]:
    """Everything that can be decoded; what cannot is counted."""
    for packet in video.packets():
        if packet.is_corrupt:
            losses.add()
            continue
        if not packet.is_discard:
            clock.feed(packet)
        try:
            yield video.decode(packet)
        except av.error.FFmpegError:
            losses.add()
            clock.lose()
    try:
        yield video.drain()
    except av.error.FFmpegError:
        losses.add()


class _Losses:
    """Packets and frames that were skipped, and where the first was."""

    def __init__(self, time_base: Fraction) -> None:
        self.last_good = 0
        self._time_base = time_base
        self._count = 0
        self._first_s = 0.0

    def add(self) -> None:
        if not self._count:
            self._first_s = float(self.last_good * self._time_base)
        self._count += 1

    def line(self) -> str:
        if not self._count:
            return ""
        frames = "1 frame" if self._count == 1 else f"{self._count} frames"
        return f"{frames} could not be decoded, the first after {self._first_s:.1f} s"
