"""What the warehouse gives and is asked for: a video, an event, a filter, a hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.tables import BEHAVIORS

GENDERS = ("male", "female", "unknown")
Status = Literal["pending", "processing", "completed", "failed"]


@dataclass(frozen=True)
class Video:
    """A video and how far its analysis is. `analysis` is the id of the current one."""

    id: int
    partition_key: str
    uri: str
    name: str
    etag: str | None
    size_bytes: int | None
    duration_s: float | None
    width: int | None
    height: int | None
    codec: str | None
    status: Status
    stage: str | None
    analysis_progress: int
    """Percent; 100 exactly when the status is `completed` and the rows are there."""
    analysis: str | None
    error: str | None
    warnings: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    event_count: int | None
    """None until an analysis was completed."""

    @classmethod
    def from_row(cls, **row: Any) -> Self:
        return cls(**{**row, "warnings": tuple(row["warnings"])})


@dataclass(frozen=True)
class Event:
    """An event, all but its vector. Times are seconds from the video's first frame; the rest as in `tables.EVENTS`."""

    id: int
    video_id: int
    event_key: str
    timestamp: float
    peak_s: float
    end_s: float
    event_type: str
    description: str
    track: int
    other_track: int | None
    confidence: float
    needs_review: bool
    age: float | None
    age_low: float | None
    age_high: float | None
    gender: str
    orientation: float | None
    attributes: Mapping[str, Any]
    evidence: Mapping[str, Any]
    recipe: str
    recipes: Mapping[str, str]
    """The recipe of each asset that had a part in it, by the asset's name."""
    embedding_recipe: str
    created_at: datetime


@dataclass(frozen=True)
class SearchFilter:
    """Which events count. An event of unknown age or gender passes no filter that asks for one.

    `start_s` and `end_s`: the event overlaps that stretch of its video. Ages are inclusive, years.
    """

    types: tuple[str, ...] = ()
    video_id: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    min_age: float | None = None
    max_age: float | None = None
    gender: str | None = None
    min_confidence: float | None = None
    needs_review: bool | None = None

    def __post_init__(self) -> None:
        for unknown in sorted(set(self.types) - set(BEHAVIORS)):
            raise SentinelError(
                f"no event type {unknown!r}", where="filter", remedy=f"Use one of {', '.join(BEHAVIORS)}"
            )
        if self.gender not in (None, *GENDERS):
            raise SentinelError(f"no gender {self.gender!r}", where="filter", remedy=f"Use one of {', '.join(GENDERS)}")
        for name, low, high in (("time", self.start_s, self.end_s), ("age", self.min_age, self.max_age)):
            if low is not None and high is not None and not low <= high:
                raise SentinelError(f"{name} from {low:g} to {high:g}", where="filter", remedy="Give the smaller first")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise SentinelError(f"confidence {self.min_confidence:g} is not in [0, 1]", where="filter")


@dataclass(frozen=True)
class SearchHit:
    """`similarity` is the cosine of the angle to the query, in [-1, 1]."""

    event: Event
    similarity: float
    video_name: str
