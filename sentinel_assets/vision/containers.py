"""A video file as FFmpeg opens it: its stream, packets and decoder, what its header says, and whether it is whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import av.error
from av.codec.hwaccel import HWAccel

from sentinel_assets.vision.errors import FootageMissing, NotAVideo

logger = logging.getLogger(__name__)

DecodeDevice = Literal["cpu", "cuda"]

# FFmpeg chooses a reader by a file's content. Only these are allowed, so that an upload which is really a playlist
# cannot make it open other files or addresses (as the concat and hls readers do), and a photo is not taken for a video.
_READERS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg,ivf,h264,hevc,m4v,mpegvideo,mjpeg,dhav"
_OPEN_OPTIONS = {"format_whitelist": _READERS, "protocol_whitelist": "file"}

# Codecs in which a picture shown after an access point never needs what was before it.
_PLANNED_CODECS = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9", "av1"})
# Codecs in which a picture that FFmpeg calls unreferenced is referred to by none. Not HEVC: its non-reference types
# hold within one temporal sub-layer only, and pictures of a higher one may refer to them.
_EXACT_SKIPPING = frozenset({"h264", "mpeg4", "mpeg2video"})
# AVI has no presentation time stamps. FFmpeg restores them for MPEG-4 part 2; for these it hands out decode times.
_UNTIMED_IN_AVI = frozenset({"h264", "hevc"})
_H264_IDR = 5  # H.264, table 7-1
_HEVC_RESETS, _HEVC_CRA = frozenset(range(16, 21)), 21  # BLA and IDR; CRA (H.265, table 7-1)

# A file that ends this much before its own header says is called truncated; less may be the last frame's length.
_TRUNCATION_TOLERANCE_S = 0.5

# The largest frame of HEVC's level 6.2 (H.265, table A.8), 8192x4352. A GIF of a few kB may declare 65535x65535.
_MAX_FRAME_PX = 35_651_584

# First bytes of containers that are recognised in a file which cannot be opened: at which offset, and whose they are.
_SIGNATURES = (
    (4, b"ftyp", "MP4 or MOV"),
    (4, b"moov", "MP4 or MOV"),
    (0, b"RIFF", "AVI"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"GIF8", "GIF"),
)
_GIVE_A_VIDEO = "Give an MP4, MOV, MKV, WebM, AVI or GIF with a video stream"


@dataclass
class DecodeWork:
    """What it took: packets read from the file, packets given to the decoder, frames that it gave back; and where."""

    packets: int = 0
    decoded: int = 0
    frames: int = 0
    planned: bool = False
    device: DecodeDevice = "cpu"


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
        self.device: DecodeDevice = "cuda" if self.decoder.is_hwaccel else "cpu"
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
        """All packets of the stream in decode order; ends early and sets `read_error` where the file breaks off."""
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

        The units are length-prefixed where the extradata is an avcC or hvcC box (it begins with 1, and the byte at
        `length_at` holds the size of the prefix; ISO/IEC 14496-15), and separated by start codes otherwise.
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
        # Matroska says when the stream ends, counted from 0 wherever it begins: 00:01:02.500000000
        ends_at = re.fullmatch(r"(\d+):(\d+):([\d.]+)", self.stream.metadata.get("DURATION", ""))
        if ends_at:
            hours, minutes, seconds = (float(part) for part in ends_at.groups())
            return hours * 3600 + minutes * 60 + seconds - float((self.stream.start_time or 0) * self.time_base)
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
        if "mp4" in self.container.format.name and _breaks_off_in_a_box(self.path):
            return f"ends after {self._read_s():.1f} s, within a box: it looks truncated"
        return ""

    def _read_s(self) -> float:
        if self.first_pts is None or self.end_pts is None:
            return float(self.work.packets / self.rate)
        return float((self.end_pts - self.first_pts) * self.time_base)


# What a GPU gives, with both chroma planes in one, and what the CPU's decoder gives in its place. A full range FFmpeg
# calls yuvj420p, which is the same but for the name.
_PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def as_of_the_cpu(picture: Any) -> Any:
    """The picture as the CPU's decoder gives it, to the byte: decoding is exact by the codecs' standards, and what
    differs is how a GPU lays the same values out."""
    planar = _PLANAR.get(picture.format.name)
    if planar is None:
        return picture
    if planar == "yuv420p" and picture.color_range == _FULL_RANGE:
        planar = "yuvj420p"
    return picture.reformat(format=planar, threads=1)


@contextmanager
def open_video(path: Path, device: DecodeDevice = "cpu") -> Iterator[OpenVideo]:
    """`device` "cuda": decode on the first GPU where there is one that can, else on the CPU, with a warning.

    Raises FootageMissing or NotAVideo. FFmpeg's own messages go nowhere (PyAV's default).
    """
    path = Path(path)
    if not path.exists():
        raise FootageMissing("no such file", where=path, remedy="Check the path")
    if not path.is_file():
        raise NotAVideo("a directory, not a file", where=path, remedy="Name the video files in it")
    if path.stat().st_size == 0:
        raise NotAVideo("an empty file", where=path, remedy="Copy or upload it again")
    container = _on_the_gpu(path) if device == "cuda" else None
    try:
        container = container or _opened(path)
    except PermissionError as error:
        raise FootageMissing("permission denied", where=path, remedy="Make the file readable") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _not_a_video(path, "not a video file that can be read") from error
    with container:
        yield OpenVideo(path, container, _video_stream(path, container))


def _opened(path: Path, **options: Any) -> Any:
    # An absolute path cannot be taken for a protocol, as the relative path "http:x.mp4" would be.
    return av.open(str(path.absolute()), options=dict(_OPEN_OPTIONS), metadata_errors="replace", **options)


def _on_the_gpu(path: Path) -> Any | None:
    """The file with decoders of the GPU; None where that fails, for whatever reason: the CPU's say what is wrong with a
    file."""
    try:
        return _opened(path, hwaccel=HWAccel("cuda"))
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        logger.warning("%s: decoding on the CPU, since the GPU does not (%s)", path, error)
        return None


def _video_stream(path: Path, container: Any) -> Any:
    moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not moving:
        if container.streams.audio:
            raise NotAVideo("sound without a video stream", where=path, remedy=_GIVE_A_VIDEO)
        raise _not_a_video(path, "a file without a video stream")
    best = container.streams.best("video")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise NotAVideo("of a codec that this FFmpeg cannot decode", where=path, remedy="Convert it to H.264")
    if stream.time_base is None:
        raise NotAVideo("without a time base", where=path, remedy="Convert it to MP4")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > _MAX_FRAME_PX:
        raise NotAVideo(f"of frames of {width}x{height} px", where=path, remedy="Scale it to 8192x4352 px at most")
    stream.thread_type = "AUTO"
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    return stream


def _not_a_video(path: Path, what: str) -> NotAVideo:
    with path.open("rb") as file:
        head = file.read(16)
    for offset, signature, kind in _SIGNATURES:
        if head[offset:].startswith(signature):
            what = f"begins like {kind} but looks truncated"
            return NotAVideo(what, where=path, remedy="Copy or upload it again, whole")
    return NotAVideo(what, where=path, remedy=_GIVE_A_VIDEO)


def _breaks_off_in_a_box(path: Path) -> bool:
    """Does the last box of an MP4 or MOV reach beyond the end of the file? (ISO/IEC 14496-12, 4.2)"""
    end, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place + 8 <= end:
            file.seek(place)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(header[8:16], "big")
            if size < 8:  # 0 means: to the end of the file
                return False
            place += size
    return place > end


def _ends_like_a_gif(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().rstrip(b"\x00").endswith(b"\x3b")  # the trailer block (GIF89a, section 27)
