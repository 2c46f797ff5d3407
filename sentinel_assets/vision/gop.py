"""Which packets of a video have to be decoded, so that chosen frames come out exact.

A group of pictures is a random access point and all that follows it up to the next one. Within a group, nothing behind
the last wanted frame needs decoding, and a group without a wanted frame needs none at all. Everything here works on
time stamps alone: no codec, no file. The reader (frames.py) checks what the decoder gives against what was planned.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

# How many packets may come before it is certain which picture is shown next. H.264 (table A-1) and HEVC (A.4.2) keep at
# most 16 pictures for reordering, so that a picture is never preceded in decode order by more than 16 that it precedes.
REORDER_WINDOW = 32
# Packets held back until it is known whether they are needed; beyond this they are decoded without waiting, so that a
# file that is one endless group of pictures does not end up in memory.
_PENDING_LIMIT_BYTES = 16 * 2**20
_PACKET_OVERHEAD_BYTES = 1024  # an estimate of what a held packet costs besides its payload

T = TypeVar("T")


class PlanError(Exception):
    """The time stamps cannot be trusted; only decoding everything gives the right frames."""


class SamplingRule(Protocol):
    """Is shown every frame's time once, in presentation order, and says how many samples that frame is."""

    def take(self, ticks: int) -> int:
        """How many samples the frame at `ticks` of the time base from the first frame is."""
        ...

    @property
    def finished(self) -> bool:
        """No later frame can be a sample."""
        ...


class AtRate:
    """The first frame at or after k / rate for k = 0, 1, 2, ...; a frame that serves several k is one sample."""

    finished = False

    def __init__(self, rate_hz: float, time_base: Fraction) -> None:
        # A rate such as 0.1 or 29.97 is meant as the decimal that was written, not as the nearest binary fraction.
        self._samples_per_tick = Fraction(rate_hz).limit_denominator(1_000_000) * time_base
        self._next = 0

    def take(self, ticks: int) -> int:
        reached = ticks * self._samples_per_tick.numerator // self._samples_per_tick.denominator
        if reached < self._next:
            return 0
        self._next = reached + 1
        return 1


class AtTimes:
    """The frames at given times, seconds from the first frame, ascending; a time given twice is two samples."""

    # Times travel as floats and come back as the same floats; a microsecond is far below any frame distance.
    TOLERANCE_S = 1e-6

    def __init__(self, times_s: Sequence[float], time_base: Fraction) -> None:
        self._times_s = times_s
        self._seconds_per_tick = time_base
        self._next = 0

    @property
    def finished(self) -> bool:
        return self._next >= len(self._times_s)

    def take(self, ticks: int) -> int:
        latest = float(ticks * self._seconds_per_tick) + self.TOLERANCE_S
        before = self._next
        while not self.finished and self._times_s[self._next] <= latest:
            self._next += 1
        return self._next - before


@dataclass(frozen=True)
class Step(Generic[T]):
    """Decode `packet` next. `droppable`: its picture is not wanted, only those that refer to it may be. `jumped`: it is
    a random access point, and packets before it were left out."""

    packet: T
    droppable: bool
    jumped: bool


@dataclass(eq=False, slots=True)
class _Picture(Generic[T]):
    packet: T
    cost: int
    group: _Group[T]
    leading: bool  # shown before the access point it follows in decode order: refers to the group before
    decided: bool
    wanted: bool = False
    sent: bool = False


@dataclass(eq=False, slots=True)
class _Group(Generic[T]):
    starts_at: int
    pending: deque[_Picture[T]] = field(default_factory=deque)
    jumped: bool = False


class GroupPlan(Generic[T]):
    """Takes packets in decode order, gives back those that must be decoded, as soon as that is known.

    `first` is the first frame's time stamp, once known; it is always decoded, since all times count from it. `wanted`
    is filled with the time stamps of the frames that the rule takes, in order. Raises PlanError where the time stamps
    contradict themselves.
    """

    def __init__(self, rule: SamplingRule) -> None:
        self.wanted: deque[int] = deque()
        self._rule = rule
        self._groups: deque[_Group[T]] = deque()
        self._window: list[tuple[int, int, _Picture[T]]] = []
        self._added = 0
        self.first: int | None = None
        self._decided_until: int | None = None
        self._latest: int | None = None
        self._pending_cost = 0

    def add(self, packet: T, pts: int, *, starts_group: bool, shown: bool = True, size: int = 0) -> Iterator[Step[T]]:
        """`shown` is false for a packet that is decoded but cut away by the container's edit list."""
        if starts_group:
            if self._latest is not None and pts <= self._latest:
                raise PlanError(f"access point at {pts} is not after {self._latest}")
            self._groups.append(_Group(starts_at=pts))
        elif not self._groups:
            raise PlanError("does not begin with an access point")
        group = self._groups[-1]
        leading = shown and pts < group.starts_at
        if leading and len(self._groups) == 1 and self.first is None:
            raise PlanError("begins with pictures that refer to what is not there")
        picture = _Picture(packet, size + _PACKET_OVERHEAD_BYTES, group, leading, decided=not shown)
        group.pending.append(picture)
        self._pending_cost += picture.cost
        self._latest = pts if self._latest is None else max(self._latest, pts)
        if shown:
            heapq.heappush(self._window, (pts, self._added, picture))
            self._added += 1
            if len(self._window) > REORDER_WINDOW:
                yield from self._decide_next()
        if self._pending_cost > _PENDING_LIMIT_BYTES:
            yield from self._release_decided(self._groups[0])

    def has_decided(self, pts: int | None) -> bool:
        """Is it settled whether the frame at `pts` is wanted? A frame without a time stamp never will be."""
        return pts is None or (self._decided_until is not None and pts <= self._decided_until)

    def finish(self) -> Iterator[Step[T]]:
        """No more packets will come."""
        while self._window:
            yield from self._decide_next()

    def _decide_next(self) -> Iterator[Step[T]]:
        """The picture that is shown next: is it wanted?"""
        pts, _, picture = heapq.heappop(self._window)
        if self._decided_until is not None and pts <= self._decided_until:
            raise PlanError(f"picture at {pts} comes after the one at {self._decided_until}")
        self._decided_until = pts
        is_first = self.first is None
        if self.first is None:
            self.first = pts
        taken = self._rule.take(pts - self.first) > 0
        picture.decided, picture.wanted = True, taken or is_first
        if not picture.leading:
            self._drop_groups_before(picture.group)
        if taken:
            self.wanted.append(pts)
        if picture.wanted:
            yield from self._release(picture)

    def _drop_groups_before(self, group: _Group[T]) -> None:
        """Everything shown before `group` is decided, and what was wanted of it has been released."""
        while self._groups[0] is not group:
            gone = self._groups.popleft()
            if any(not picture.leading for picture in gone.pending):
                self._groups[0].jumped = True
            self._pending_cost -= sum(picture.cost for picture in gone.pending)

    def _release(self, picture: _Picture[T]) -> Iterator[Step[T]]:
        """All that `picture` needs, and itself."""
        if picture.sent:  # for another that may refer to it
            return
        if picture.leading:
            for earlier in self._groups:
                if earlier is picture.group:
                    break
                while earlier.pending:
                    yield from self._send(earlier)
        while not picture.sent:
            yield from self._send(picture.group, with_leading=picture.leading)

    def _release_decided(self, group: _Group[T]) -> Iterator[Step[T]]:
        while group.pending and group.pending[0].decided:
            yield from self._send(group)

    def _send(self, group: _Group[T], *, with_leading: bool = False) -> Iterator[Step[T]]:
        """The group's next packet; leading pictures only on request, since none shown later refers to them."""
        picture = group.pending.popleft()
        self._pending_cost -= picture.cost
        if picture.leading and not with_leading:
            if not picture.decided:
                raise PlanError("a leading picture is shown out of order")
            return
        picture.sent = True
        jumped, group.jumped = group.jumped, False
        yield Step(picture.packet, droppable=picture.decided and not picture.wanted, jumped=jumped)
