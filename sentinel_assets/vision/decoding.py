"""Opens a video file and decodes chosen frames of it, and as few others as is exact.

Two ways lead to the same frames. The planned way (gop.py) decodes only what the chosen frames need, and checks what comes
out of the decoder against the plan. Where the file's time stamps or access points cannot be trusted, the other way decodes
all frames and applies the same rule to them.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from sentinel_assets.vision.errors import FootageDamaged, FootageMissing, NotAVideo
from sentinel_assets.vision.gop import GroupPlan, PlanBroken, SamplingRule, Step

logger = logging.getLogger(__name__)

# FFmpeg chooses a reader by a file's content. Only these are allowed, so that an upload which is really a playlist cannot
# make it open other files or addresses (the hls, concat and dash readers do), and a photo is not taken for a video.
_READERS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg,ivf,h264,hevc,m4v,mpegvideo,mjpeg,dhav"
_OPEN_OPTIONS = {"format_whitelist": _READERS, "protocol_whitelist": "file"}

# Codecs in which a picture shown after an access point never needs what was before it.
_PLANNED_CODECS = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9", "av1"})
# Codecs in which a picture that FFmpeg calls unreferenced is referred to by none. Not HEVC: its "non-reference" types hold
# within one temporal layer only (H.265, 3.151), and pictures of a higher layer may refer to them.
_EXACT_SKIPPING = frozenset({"h264", "mpeg4", "mpeg2video"})
# AVI has no presentation time stamps. FFmpeg restores them for MPEG-4 part 2; for these it hands out decode times.
_UNTIMED_IN_AVI = frozenset({"h264", "hevc"})
_H264_IDR = 5  # H.264, table 7-1
_HEVC_RESETS, _HEVC_CRA = frozenset(range(16, 21)), 21  # BLA and IDR; CRA (H.265, table 7-1)

# A file that ends this much before its own header says is called truncated; less is rounding of the last frame's length.
_TRUNCATION_TOLERANCE_S = 0.5

# First bytes of containers that are recognised in a file which cannot be opened: at which offset, and whose they are.
_SIGNATURES = (
    (4, b"ftyp", "MP4 or MOV"),
    (4, b"moov", "MP4 or MOV"),
    (0, b"RIFF", "AVI"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"GIF8", "GIF"),
)


@dataclass
class DecodeWork:
    """What it took: packets read from the file, packets given to the decoder, frames that it gave back."""

    packets: int = 0
    decoded: int = 0
    frames: int = 0
    planned: bool = False


@dataclass(frozen=True)
class ChosenFrame:
    """A frame that the rule took, how many samples it is, and its exact time in seconds from the first frame."""

    picture: Any  # av.VideoFrame
    samples: int
    time_s: float


class OpenVideo:
    """A file's video stream and its decoder."""

    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self.path = path
        self.container = container
        self.stream = stream
        self.decoder = stream.codec_context
        self.codec: str = self.decoder.codec.canonical_name
        self.time_base: Fraction = stream.time_base
        self.intra_only: bool = self.decoder.codec.intra_only
        self.is_avi: bool = container.format.name == "avi"
        self.work = DecodeWork()
        self.first_pts: int | None = None
        self.end_pts: int | None = None
        self.longest_gap = 0
        self.read_error = ""

    @property
    def rate(self) -> Fraction:
        """Frames a second as the file states or FFmpeg guesses it; 25 where nobody knows, as FFmpeg assumes."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def can_be_planned(self) -> bool:
        return self.intra_only or (self.codec in _PLANNED_CODECS and not self.has_only_decode_times)

    @property
    def has_only_decode_times(self) -> bool:
        return self.is_avi and self.codec in _UNTIMED_IN_AVI

    def packets(self) -> Iterator[Any]:
        """All packets of the stream in decode order; ends early, with `read_error` set, where the file cannot be read on."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                self.read_error = error.strerror or str(error)
                return
            if packet.size == 0:
                continue
            self.work.packets += 1
            self._note_time(packet)
            yield packet

    def _note_time(self, packet: Any) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return
        end = stamp + (packet.duration or 0)
        if self.first_pts is None or self.end_pts is None:
            self.first_pts, self.end_pts = stamp, end
            return
        self.longest_gap = max(self.longest_gap, stamp - self.end_pts)
        self.first_pts, self.end_pts = min(self.first_pts, stamp), max(self.end_pts, end)

    def decode(self, packet: Any, *, droppable: bool = False) -> list[Any]:
        """The frames that the packet brings out, in presentation order."""
        if self.codec in _EXACT_SKIPPING:
            self.decoder.skip_frame = "NONREF" if droppable else "DEFAULT"
        self.work.decoded += 1
        return self._counted(self.decoder.decode(packet))

    def drain(self) -> list[Any]:
        """The frames that the decoder still held."""
        return self._counted(self.decoder.decode(None))

    def _counted(self, frames: list[Any]) -> list[Any]:
        self.work.frames += len(frames)
        return frames

    def access_point(self, packet: Any) -> tuple[bool, bool]:
        """Can decoding begin here, and does the packet by itself make the decoder forget what was before?"""
        if self.intra_only:
            return True, True
        if self.codec == "h264":
            resets = any(header & 0x1F == _H264_IDR for header in self._unit_headers(packet, length_at=4))
            return resets, resets
        if self.codec == "hevc":
            kinds = {header >> 1 & 0x3F for header in self._unit_headers(packet, length_at=21)}
            resets = not kinds.isdisjoint(_HEVC_RESETS)
            return resets or _HEVC_CRA in kinds, resets
        return bool(packet.is_keyframe), False

    def _unit_headers(self, packet: Any, *, length_at: int) -> Iterator[int]:
        """The first byte of each NAL unit.

        The units are length-prefixed where the extradata is an avcC or hvcC box (it begins with 1, and the byte at `length_at`
        holds the size of the prefix; ISO/IEC 14496-15), and separated by start codes otherwise.
        """
        extradata = self.decoder.extradata or b""
        data = bytes(packet)
        if extradata[:1] == b"\x01" and len(extradata) > length_at:
            prefix, place = (extradata[length_at] & 3) + 1, 0
            while place + prefix < len(data):
                yield data[place + prefix]
                place += prefix + int.from_bytes(data[place : place + prefix], "big")
        else:
            place = data.find(b"\x00\x00\x01")
            while 0 <= place < len(data) - 3:
                yield data[place + 3]
                place = data.find(b"\x00\x00\x01", place + 3)

    @property
    def declared_duration_s(self) -> float | None:
        """What the header says about the video stream alone; None where it does not say."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        hours, _, rest = self.stream.metadata.get("DURATION", "").partition(":")  # Matroska: 00:01:02.500000000
        minutes, _, seconds = rest.partition(":")
        if seconds:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if self.container.duration and len(self.container.streams) == 1:
            return float(self.container.duration / av.time_base)
        return None

    def duration_s(self) -> float:
        """What the container declares, or else what the packets span; these are read, not decoded."""
        declared = self.declared_duration_s
        if declared is not None:
            return declared
        if self.container.duration:
            return float(self.container.duration / av.time_base)
        for _ in self.packets():
            pass
        return self._read_s()

    def signs_of_truncation(self) -> str:
        """What of the file is missing, once all its packets have been read; empty when it seems whole."""
        if self.read_error:
            return f"cannot be read on after {self._read_s():.1f} s ({self.read_error})"
        missing_frames = self.stream.frames - self.work.packets
        declared = self.declared_duration_s
        tolerance = max(_TRUNCATION_TOLERANCE_S, float(self.longest_gap * self.time_base))
        if self.is_avi and missing_frames > tolerance * self.rate:
            return f"holds {self.work.packets} frames where its header says {self.stream.frames}: it looks truncated"
        if declared is not None and declared - self._read_s() > tolerance:
            return f"ends after {self._read_s():.1f} s where its header says {declared:.1f} s: it looks truncated"
        if self.container.format.name == "gif" and not _ends_like_a_gif(self.path):
            return f"ends after {self._read_s():.1f} s without a GIF's last byte: it looks truncated"
        return ""

    def _read_s(self) -> float:
        if self.first_pts is None or self.end_pts is None:
            return float(self.work.packets / self.rate)
        return float((self.end_pts - self.first_pts) * self.time_base)


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """Raises FootageMissing or NotAVideo. FFmpeg's own messages go nowhere (PyAV's default)."""
    path = Path(path)
    if not path.exists():
        raise FootageMissing("no such file", where=path, remedy="Check the path")
    if not path.is_file():
        raise NotAVideo("a directory, not a file", where=path, remedy="Name the video files in it")
    if path.stat().st_size == 0:
        raise NotAVideo("an empty file", where=path, remedy="Copy or upload it again")
    try:
        # An absolute path cannot be taken for a protocol, as the relative path "http:x.mp4" would be.
        container = av.open(str(path.absolute()), options=dict(_OPEN_OPTIONS), metadata_errors="replace")
    except PermissionError as error:
        raise FootageMissing(
            "may not be read (permission denied)", where=path, remedy="Check its permissions"
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _not_a_video(path, "not a video file that can be read") from error
    with container:
        yield OpenVideo(path, container, _video_stream(path, container))


def _video_stream(path: Path, container: Any) -> Any:
    moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not moving:
        what = "without a video stream"
        if container.streams.audio:
            what += ", only sound"
        raise _not_a_video(path, what)
    best = container.streams.best("video")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise NotAVideo("of a codec that this FFmpeg cannot decode", where=path, remedy="Convert it to H.264")
    if stream.time_base is None:
        raise NotAVideo("without a time base", where=path, remedy="Convert it to MP4")
    stream.thread_type = "AUTO"
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    return stream


def _not_a_video(path: Path, what: str) -> NotAVideo:
    with path.open("rb") as file:
        head = file.read(16)
    for offset, signature, kind in _SIGNATURES:
        if head[offset:].startswith(signature) and "sound" not in what:
            return NotAVideo(
                f"begins like {kind} but looks truncated", where=path, remedy="Copy or upload it again, whole"
            )
    return NotAVideo(what, where=path, remedy="Give an MP4, MOV, MKV, WebM, AVI or GIF with a video stream")


def _ends_like_a_gif(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().rstrip(b"\x00").endswith(b"\x3b")  # the trailer block (GIF89a, section 27)


def chosen_frames(
    path: Path,
    rule: Callable[[Fraction], SamplingRule],
    *,
    on_damage: Callable[[str], None] | None = None,
    work: DecodeWork | None = None,
) -> Iterator[ChosenFrame]:
    """The frames that `rule`, made for the stream's time base, takes; in presentation order.

    Damage (truncation, packets that cannot be decoded) is told to `on_damage` in a line each, after the last frame; without
    one it is logged as a warning. Raises FootageMissing, NotAVideo, or FootageDamaged where no frame at all can be decoded.
    """
    report = on_damage or (lambda what: logger.warning("%s: %s", path, what))
    work = work if work is not None else DecodeWork()
    given = 0
    with open_video(path) as video:
        video.work = work
        if video.can_be_planned:
            work.planned = True
            try:
                for chosen in _planned_frames(video, rule, report):
                    given += 1
                    yield chosen
                return
            except PlanBroken as broken:
                logger.debug("%s: decoding everything, since %s", path, broken)
            except av.error.FFmpegError as error:
                logger.debug("%s: decoding everything, since the decoder says %s", path, error)
    work.planned, work.packets = False, 0
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
            raise PlanBroken("a packet is damaged or has no time stamp")
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
        self._first: int | None = None
        self._last: int | None = None

    def accept(self, frames: list[Any]) -> Iterator[ChosenFrame]:
        for frame in frames:
            if frame.pts is None or (self._last is not None and frame.pts <= self._last) or frame.is_corrupt:
                raise PlanBroken(f"the decoder gave a frame at {frame.pts} after {self._last}")
            if frame.pts in self.access_points:
                self.access_points.discard(frame.pts)
                if not frame.key_frame:
                    raise PlanBroken(f"the frame at {frame.pts} is no access point")
            self._last = frame.pts
            if self._first is None:
                self._first = frame.pts
                if self._plan.first != frame.pts:
                    raise PlanBroken(f"the first frame is at {frame.pts}, not {self._plan.first}")
            samples = self._rule.take(frame.pts - self._first)
            if samples:
                if not self._plan.wanted or self._plan.wanted.popleft() != frame.pts:
                    raise PlanBroken(f"the decoder did not give what was planned around {frame.pts}")
                yield ChosenFrame(frame, samples, float((frame.pts - self._first) * self._time_base))

    def all_came(self) -> None:
        if self._first is None or self._plan.wanted:
            raise PlanBroken("the decoder did not give all that was planned")


class _Clock:
    """When each frame is shown, in ticks of the time base.

    A container with presentation times says so itself. Where it only has decode times (H.264 in AVI), or none (an elementary
    stream), frames come out of the decoder in presentation order and take the packets' times in ascending order.
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
            "no frame can be decoded",
            where=video.path,
            remedy="Copy or upload it again; if it plays nowhere, it is lost",
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
