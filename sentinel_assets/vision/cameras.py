"""What is known of a camera beside its picture: zones, lines, opening hours, and rules of its own; read from YAML.

videos: ["aisle-*.mp4", "s3://footage/store-7/aisle/*"]   # whose name or address matches is this camera's
frame: [1280, 720]                    # px that the points below are measured in
yaw_deg: 90                           # where the camera looks, on the store's plan, clockwise from its top
recorded: "aisle-%Y%m%d-%H%M%S"       # how the name tells when the first frame was taken
opening_hours: {mon-sat: "07:00-23:00", sun: closed}
zones:
  - {name: drinks, kind: shelf, polygon: [[40, 80], [400, 80], [400, 420], [40, 420]], bearing_deg: 0}
  - {name: till, kind: checkout, polygon: [[900, 400], [1100, 400], [1100, 600], [900, 600]]}
lines:
  - {name: door, from: [600, 700], to: [900, 700]}
rules: {loitering_s: 120, crowd: 6}   # of BehaviorParameters
sampling: {mode: adaptive, person_hz: 8}   # in place of the deployment's; see AdaptiveSampling
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, time, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from sentinel_assets.vision.adaptive import AdaptiveSampling
from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.zones import Line, Zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DIRECTIVES = {"Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}"}
_KEYS = ("videos", "frame", "yaw_deg", "recorded", "opening_hours", "zones", "lines", "rules", "sampling")
_ZONE_KEYS, _LINE_KEYS = ("name", "kind", "polygon", "bearing_deg"), ("name", "from", "to")
_SAMPLING_MODES = ("fixed", "adaptive")
_MOST_OF_SAMPLING = 30
"""Hz, and of all else no more either."""
_SAMPLING = ("mode", "rate_hz", *(field.name for field in fields(AdaptiveSampling) if field.name != "scout_hz"))
_RULES = tuple(field.name for field in fields(BehaviorParameters))
_MIDNIGHT_MIN = 24 * 60


@dataclass(frozen=True)
class Camera:
    """One camera. `opening_hours` holds, for Monday to Sunday, (from, to) in minutes of the day or None when closed;
    () when nothing is known of them. `bearing_deg` of a zone is relative to the camera here."""

    name: str
    videos: tuple[str, ...]
    frame: tuple[int, int]
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    yaw_deg: float | None = None
    recorded: str | None = None
    opening_hours: tuple[tuple[int, int] | None, ...] = ()
    rules: tuple[tuple[str, float], ...] = ()
    sampling: tuple[tuple[str, str | float], ...] = ()
    """`mode` and the rates that are this camera's own; () for those of the deployment."""

    @classmethod
    def from_mapping(cls, name: str, content: Any, *, where: object) -> Camera:
        """A camera of what its YAML holds. Raises SentinelError, naming the entry, where that is wrong."""
        entry = _mapping(content, _KEYS, "the camera", where)
        frame = _numbers(entry.get("frame"), 2, "frame", where, remedy="Write frame: [width, height] in px")
        if min(frame) < 1 or any(side != int(side) for side in frame):
            raise SentinelError(f"frame is {list(frame)}", where=where, remedy="Write whole px, at least 1")
        videos = entry.get("videos")
        if not isinstance(videos, list) or not videos or not all(isinstance(v, str) and v for v in videos):
            raise SentinelError(
                f"videos is {videos!r}", where=where, remedy='Write patterns of names, such as videos: ["aisle-*.mp4"]'
            )
        yaw = _optional_number(entry.get("yaw_deg"), "yaw_deg", where)
        recorded = entry.get("recorded")
        if recorded is not None:
            _time_pattern(recorded, where)
        zones = [_zone(z, i, frame, yaw, where) for i, z in enumerate(_list(entry, "zones", where), 1)]
        lines = [_line(line, i, frame, where) for i, line in enumerate(_list(entry, "lines", where), 1)]
        names = [zone.name for zone in zones] + [line.name for line in lines]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise SentinelError(f"two places are called {twice[0]!r}", where=where, remedy="Give each its own name")
        return cls(
            name=name,
            videos=tuple(videos),
            frame=(int(frame[0]), int(frame[1])),
            zones=tuple(zones),
            lines=tuple(lines),
            yaw_deg=yaw,
            recorded=recorded,
            opening_hours=_hours(entry.get("opening_hours"), where),
            rules=_rules(entry.get("rules"), where),
            sampling=_sampling(entry.get("sampling"), where),
        )

    def films(self, name: str, address: str) -> bool:
        """Whether a video of this name and address is this camera's."""
        return any(fnmatchcase(name, pattern) or fnmatchcase(address, pattern) for pattern in self.videos)

    def parameters(self, defaults: BehaviorParameters) -> BehaviorParameters:
        """The rules' thresholds with this camera's own."""
        own: dict[str, Any] = dict(self.rules)
        return replace(defaults, **own)

    def scaled(self, width: int, height: int) -> Camera:
        """The same places in px of a frame of that size."""
        across, down = width / self.frame[0], height / self.frame[1]
        return replace(
            self,
            frame=(width, height),
            zones=tuple(z.scaled(across, down) for z in self.zones),
            lines=tuple(line.scaled(across, down) for line in self.lines),
        )

    def of_kind(self, kind: str) -> tuple[Zone, ...]:
        return tuple(zone for zone in self.zones if zone.kind == kind)

    def recorded_at(self, name: str, address: str = "") -> datetime | None:
        """When the first frame was taken, local time of the store; None where neither name nor address tells."""
        if self.recorded is None:
            return None
        pattern = _time_pattern(self.recorded, self.name)
        for text in (name, address):
            for found in pattern.finditer(text):
                try:
                    return datetime.strptime(found.group(), self.recorded)
                except ValueError:
                    continue  # 20250230 looks like a date and is none
        return None

    def is_open(self, moment: datetime) -> bool | None:
        """Whether the store is open then; None where no hours are known. Hours past midnight belong to their day."""
        if not self.opening_hours:
            return None
        minute = moment.hour * 60 + moment.minute + moment.second / 60
        today = self.opening_hours[moment.weekday()]
        yesterday = self.opening_hours[(moment - timedelta(days=1)).weekday()]
        if today and today[0] <= minute < today[1]:
            return True
        return bool(yesterday and minute + _MIDNIGHT_MIN < yesterday[1])


@dataclass(frozen=True)
class Cameras:
    """All cameras of a deployment; an input of behaviors."""

    cameras: tuple[Camera, ...] = ()

    def of_video(self, name: str, address: str) -> Camera | None:
        """The camera of that video. Raises SentinelError where several claim it."""
        claims = [camera for camera in self.cameras if camera.films(name, address)]
        if len(claims) > 1:
            raise SentinelError(
                f"claimed by the cameras {' and '.join(c.name for c in claims)}",
                where=name,
                remedy="Narrow the patterns under `videos` of one of them",
            )
        return claims[0] if claims else None


def _mapping(content: Any, keys: Sequence[str], what: str, where: object) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise SentinelError(f"{what} is {content!r}, expected keys and values", where=where)
    for key in content:
        if key not in keys:
            near = get_close_matches(str(key), keys, 1)
            remedy = f"Did you mean {near[0]}?" if near else f"Use {', '.join(keys)}"
            raise SentinelError(f"{what} has an entry {key!r} that means nothing", where=where, remedy=remedy)
    return content


def _list(entry: Mapping[str, Any], key: str, where: object) -> list[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        raise SentinelError(f"{key} is {value!r}, expected a list", where=where)
    return value


def _numbers(value: Any, count: int, what: str, where: object, remedy: str = "") -> tuple[float, ...]:
    good = isinstance(value, list) and len(value) == count and all(_is_number(v) for v in value)
    if not good:
        raise SentinelError(f"{what} is {value!r}, expected {count} numbers", where=where, remedy=remedy)
    return tuple(float(v) for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _optional_number(value: Any, what: str, where: object) -> float | None:
    if value is None:
        return None
    if not _is_number(value):
        raise SentinelError(f"{what} is {value!r}, expected a number of degrees", where=where)
    return float(value)


def _point(value: Any, frame: Sequence[float], what: str, where: object) -> tuple[float, float]:
    x, y = _numbers(value, 2, f"a point of {what}", where, remedy="Write points as [x, y] in px of `frame`")
    if not (0 <= x <= frame[0] and 0 <= y <= frame[1]):
        raise SentinelError(
            f"the point [{x:g}, {y:g}] of {what} lies outside of the frame of {frame[0]:g}x{frame[1]:g} px",
            where=where,
            remedy="Measure points in px of `frame`",
        )
    return x, y


def _place_name(entry: Mapping[str, Any], what: str, where: object) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise SentinelError(f"{what} has no name", where=where, remedy="Events tell of places by their names")
    return name.strip()


def _zone(content: Any, number: int, frame: Sequence[float], yaw: float | None, where: object) -> Zone:
    entry = _mapping(content, _ZONE_KEYS, f"zone {number}", where)
    name = _place_name(entry, f"zone {number}", where)
    polygon = entry.get("polygon")
    if not isinstance(polygon, list):
        raise SentinelError(f"zone {name!r} has no polygon", where=where, remedy="Write [[x, y], [x, y], [x, y], ...]")
    on_plan = _optional_number(entry.get("bearing_deg"), f"bearing_deg of zone {name!r}", where)
    if on_plan is not None and yaw is None:
        raise SentinelError(
            f"zone {name!r} has a bearing on the store's plan, and the camera none",
            where=where,
            remedy="Say with yaw_deg where the camera looks on the plan",
        )
    points = tuple(_point(point, frame, f"zone {name!r}", where) for point in polygon)
    try:
        # A body that faces away from the camera looks where the camera does; plans turn clockwise, orientations not.
        relative = None if on_plan is None or yaw is None else (yaw - on_plan) % 360
        return Zone(name, str(entry.get("kind")), points, relative)
    except ValueError as error:
        raise SentinelError(f"zone {name!r}: {error}", where=where) from error


def _line(content: Any, number: int, frame: Sequence[float], where: object) -> Line:
    entry = _mapping(content, _LINE_KEYS, f"line {number}", where)
    name = _place_name(entry, f"line {number}", where)
    ends = [_point(entry.get(key), frame, f"line {name!r}", where) for key in ("from", "to")]
    try:
        return Line(name, ends[0], ends[1])
    except ValueError as error:
        raise SentinelError(f"line {name!r}: {error}", where=where) from error


def _rules(content: Any, where: object) -> tuple[tuple[str, float], ...]:
    rules = _mapping(content or {}, _RULES, "rules", where)
    for name, value in rules.items():
        if not _is_number(value):
            raise SentinelError(f"the rule {name} is {value!r}, expected a number", where=where)
    chosen: dict[str, Any] = {name: float(value) for name, value in sorted(rules.items())}
    try:
        replace(BehaviorParameters(), **chosen)
    except ValueError as error:
        raise SentinelError(f"rules: {error}", where=where) from error
    return tuple(chosen.items())


def _sampling(content: Any, where: object) -> tuple[tuple[str, str | float], ...]:
    own = dict(_mapping(content or {}, _SAMPLING, "sampling", where))
    if own.get("mode", "fixed") not in _SAMPLING_MODES:
        remedy = f"Write {' or '.join(_SAMPLING_MODES)}"
        raise SentinelError(f"sampling has the mode {own['mode']!r}", where=where, remedy=remedy)
    for name, value in own.items():
        if name != "mode" and not (_is_number(value) and 0 < value <= _MOST_OF_SAMPLING):
            expected = f"a number above 0 and at most {_MOST_OF_SAMPLING}"
            raise SentinelError(f"sampling has {name} {value!r}, expected {expected}", where=where)
    if own.get("mode") != "adaptive" and (more := sorted(own.keys() - {"mode", "rate_hz"})):
        what = "sampling is fixed, and" if "mode" in own else "sampling does not say mode: adaptive, and"
        raise SentinelError(f"{what} has {more[0]}", where=where, remedy="Leave it out, or write mode: adaptive")
    return tuple((name, own[name] if name == "mode" else float(own[name])) for name in sorted(own))


def _hours(content: Any, where: object) -> tuple[tuple[int, int] | None, ...]:
    if content is None:
        return ()
    if not isinstance(content, Mapping):
        raise SentinelError(f"opening_hours is {content!r}", where=where, remedy='Write {mon-sat: "07:00-23:00"}')
    hours: list[tuple[int, int] | None] = [None] * 7
    for days, span in content.items():
        chosen = _span(span, where)
        for day in _days(days, where):
            hours[day] = chosen
    return tuple(hours)


def _days(text: Any, where: object) -> Iterable[int]:
    first, _, last = str(text).lower().partition("-")
    last = last or first
    if first not in DAYS or last not in DAYS:
        remedy = f"Write one of {', '.join(DAYS)}, or a span such as mon-fri"
        raise SentinelError(f"opening_hours of {text!r}", where=where, remedy=remedy)
    start, end = DAYS.index(first), DAYS.index(last)
    return [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]


def _span(text: Any, where: object) -> tuple[int, int] | None:
    if text == "closed":
        return None
    found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", str(text))
    if found is None:
        remedy = 'Write "07:00-23:00" in quotes, or closed'
        raise SentinelError(f"opening_hours of {text!r}", where=where, remedy=remedy)
    start_h, start_m, end_h, end_m = map(int, found.groups())
    try:
        start = time(start_h, start_m)
        end = time(end_h % 24 if end_h == 24 and end_m == 0 else end_h, end_m)
    except ValueError as error:
        raise SentinelError(f"opening_hours of {text!r}: {error}", where=where) from error
    opens, closes = start.hour * 60 + start.minute, end.hour * 60 + end.minute
    return opens, closes if closes > opens else closes + _MIDNIGHT_MIN


def _time_pattern(text: Any, where: object) -> re.Pattern[str]:
    parts = re.split(r"%(.)", text) if isinstance(text, str) else []
    letters = parts[1::2]
    if not {"Y", "m", "d", "H"} <= set(letters) <= set(_DIRECTIVES) or len(set(letters)) != len(letters):
        raise SentinelError(
            f"recorded is {text!r}",
            where=where,
            remedy='Write how names tell the time, such as "%Y%m%d-%H%M%S": %Y, %m, %d and %H at least, %M and %S',
        )
    return re.compile("".join(_DIRECTIVES[p] if i % 2 else re.escape(p) for i, p in enumerate(parts)))
