"""The tables that travel between assets: their columns, units and what each row stands for.

Times are seconds from the first frame of the video, boxes are pixels of the upright source frame
(`x1 y1` top left, `x2 y2` bottom right, exclusive), angles degrees, ages years, confidences [0, 1].
What the evidence does not support is null, or the word *unknown*: never a guess.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from sentinel_assets.vision.errors import TableError

BEHAVIORS = ("walking", "standing", "sitting", "picking", "theft", "collapse", "violent", "anomaly")
"""The eight labels; `theft` is a suspicion for review, never a verdict."""

UNKNOWN = "unknown"
EMBEDDING_DIMENSION = 384


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video were looked at, and what the video is like.

    `width` and `height` are those of the upright frame (rotation applied); `times_s` are the exact
    presentation times of the sampled frames, ascending, the first frame of the video being 0.
    """

    width: int
    height: int
    duration_s: float
    rate_hz: float
    times_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise TableError(f"a sampled frame of {self.width}x{self.height} pixels; both must be at least 1")
        if any(later <= earlier for earlier, later in zip(self.times_s, self.times_s[1:], strict=False)):
            raise TableError("sample times must ascend strictly")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Sampling:
        fields = json.loads(text)
        return cls(**{**fields, "times_s": tuple(fields["times_s"])})

    @classmethod
    def of(cls, detections: pd.DataFrame) -> Sampling:
        """The sampling that a `detections` table carries in `attrs["sampling"]` (as JSON: pandas copies
        attrs at every operation, and a string costs nothing to copy)."""
        if "sampling" not in detections.attrs:
            raise TableError("a detections table without attrs['sampling']", remedy="materialize detections again")
        return cls.from_json(detections.attrs["sampling"])


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, what it holds (with the unit), and whether it may be null."""

    name: str
    type: pa.DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A declared table; `conform` is the only way by which rows reach a store."""

    name: str
    row: str
    """What one row stands for."""
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [pa.field(c.name, c.type, c.nullable, metadata={"description": c.description}) for c in self.columns]
        )

    def frame(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        """A DataFrame of these rows with all columns in order, also where there are no rows."""
        return pd.DataFrame(rows, columns=[c.name for c in self.columns])

    def conform(self, frame: pd.DataFrame) -> pa.Table:
        """The rows as an Arrow table of exactly this schema; `frame.attrs` travel along.

        Raises TableError, naming the column, when one is missing, surplus, of another type, or null where it may not.
        """
        names = [c.name for c in self.columns]
        missing = [n for n in names if n not in frame.columns]
        surplus = [str(n) for n in frame.columns if n not in names]
        if missing or surplus:
            raise TableError(
                f"columns do not match: missing {missing or 'none'}, not declared {surplus or 'none'}", where=self.name
            )
        arrays = []
        for column in self.columns:
            try:
                array = pa.Array.from_pandas(frame[column.name], type=column.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
                raise TableError(f"column {column.name} is not {column.type}: {error}", where=self.name) from error
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            if array.null_count and not column.nullable:
                raise TableError(f"column {column.name} has {array.null_count} nulls and allows none", where=self.name)
            arrays.append(array)
        metadata = {key: str(value) for key, value in frame.attrs.items()}
        return pa.Table.from_arrays(arrays, schema=self.schema.with_metadata(metadata))


_SAMPLE = Column("sample", pa.int32(), "ordinal of the sampled frame, from 0")
_TIME = Column("time_s", pa.float64(), "presentation time of the frame, seconds from the first")
_TRACK = Column("track", pa.int32(), "the person's track in this video, from 1")
_EVENT = Column("event_key", pa.string(), "names the event within its video, alike in every analysis that finds it")

DETECTIONS = Table(
    "detections",
    "a person or a face in one sampled frame; attrs['sampling'] holds the Sampling",
    (
        _SAMPLE,
        _TIME,
        Column("kind", pa.string(), "person or face"),
        Column("track", pa.int32(), "the person's track, from 1; null for a face of no tracked person", True),
        Column("x1", pa.float32(), "left edge, px"),
        Column("y1", pa.float32(), "top edge, px"),
        Column("x2", pa.float32(), "right edge, px"),
        Column("y2", pa.float32(), "bottom edge, px"),
        Column("confidence", pa.float32(), "the detector's own score, [0, 1]"),
        Column("source", pa.string(), "the model that saw it"),
        Column(
            "landmarks",
            pa.list_(pa.float32()),
            "faces: 5 points x, y (px): left eye, right eye, nose, left and right corner of the mouth, as seen",
            True,
        ),
    ),
)

DEMOGRAPHICS = Table(
    "demographics",
    "one track",
    (
        _TRACK,
        Column("age", pa.float32(), "years, fused over the track's best faces; null when unknown", True),
        Column("age_low", pa.float32(), "lower end of the likely range, years", True),
        Column("age_high", pa.float32(), "upper end of the likely range, years", True),
        Column("age_confidence", pa.float32(), "[0, 1]; 0 when unknown"),
        Column("gender", pa.string(), "male, female or unknown"),
        Column("gender_confidence", pa.float32(), "[0, 1]; 0 when unknown"),
        Column("faces_used", pa.int32(), "how many face crops the estimate rests on"),
        Column("face_height", pa.float32(), "height of the largest face seen, px; null when none was", True),
        Column("reason", pa.string(), "why it is unknown; empty when it is not"),
    ),
)

POSES = Table(
    "poses",
    "a tracked person in one sampled frame",
    (
        _SAMPLE,
        _TIME,
        _TRACK,
        Column(
            "keypoints",
            pa.list_(pa.float32()),
            "17 COCO keypoints x, y (px of the source frame), score: 51 numbers; null when no pose was found",
            True,
        ),
        Column("pose_confidence", pa.float32(), "mean score of the keypoints, [0, 1]; 0 when none"),
        Column(
            "orientation",
            pa.float32(),
            "where the body faces, degrees [0, 360): 0 = back to the camera, 90 = towards the image's left, "
            "180 = facing the camera, 270 = towards the image's right; null when unknown",
            True,
        ),
        Column("orientation_confidence", pa.float32(), "[0, 1]; 0 when unknown"),
        Column("source", pa.string(), "the model that gave the keypoints; empty when none did"),
    ),
)

BEHAVIORS_TABLE = Table(
    "behaviors",
    "a stretch of time in which a track shows one behavior",
    (
        _TRACK,
        Column("other_track", pa.int32(), "the second person, where the behavior is between two", True),
        Column("behavior", pa.string(), "one of the eight labels, or unknown where the evidence carries none"),
        Column("start_s", pa.float64(), "seconds from the first frame"),
        Column("peak_s", pa.float64(), "where the evidence is strongest, seconds"),
        Column("end_s", pa.float64(), "seconds from the first frame"),
        Column("confidence", pa.float32(), "[0, 1]"),
        Column("needs_review", pa.bool_(), "a suspicion that a person has to look at"),
        Column("evidence", pa.string(), "JSON: the rule, its measured values and thresholds, the samples it rests on"),
    ),
)

DESCRIPTIONS = Table(
    "descriptions",
    "one event, in a sentence",
    (
        _EVENT,
        _TRACK,
        Column("behavior", pa.string(), "one of the eight labels"),
        Column("start_s", pa.float64(), "seconds from the first frame"),
        Column("peak_s", pa.float64(), "where the evidence is strongest, seconds"),
        Column("end_s", pa.float64(), "seconds from the first frame"),
        Column("description", pa.string(), "the sentence"),
        Column("language", pa.string(), "ISO 639-1 code of the sentence's language"),
        Column("describer", pa.string(), "who wrote it"),
        Column("grounded", pa.bool_(), "true when every word of it comes from measured facts"),
        Column("remark", pa.string(), "why another than the chosen describer wrote it; null where none did", True),
    ),
)

EMBEDDINGS = Table(
    "embeddings",
    "the vector of one event's description",
    (
        _EVENT,
        Column("vector", pa.list_(pa.float32()), "of unit Euclidean norm, as many numbers as its encoder gives"),
    ),
)

EVENTS = Table(
    "events",
    "one event as it stands in the warehouse",
    (
        _EVENT,
        Column("timestamp", pa.float64(), "start of the event, seconds from the first frame"),
        Column("peak_s", pa.float64(), "where the evidence is strongest, seconds"),
        Column("end_s", pa.float64(), "seconds from the first frame"),
        Column("event_type", pa.string(), "one of the eight labels"),
        _TRACK,
        Column("other_track", pa.int32(), "the second person, where the event is between two", True),
        Column("confidence", pa.float32(), "[0, 1]"),
        Column("needs_review", pa.bool_(), "a suspicion that a person has to look at"),
        Column("age", pa.float32(), "years; null when unknown", True),
        Column("age_low", pa.float32(), "years", True),
        Column("age_high", pa.float32(), "years", True),
        Column("gender", pa.string(), "male, female or unknown"),
        Column("orientation", pa.float32(), "where the body faces around the peak, degrees as in poses", True),
        Column("attributes", pa.string(), "JSON: confidences of age, gender and orientation, and why one is unknown"),
        Column("evidence", pa.string(), "JSON: the rule, its measured values and thresholds, the samples it rests on"),
        Column("description", pa.string(), "the sentence"),
        Column("embedding", pa.list_(pa.float32()), "of unit Euclidean norm, as many numbers as its encoder gives"),
    ),
)

TABLES = {t.name: t for t in (DETECTIONS, DEMOGRAPHICS, POSES, BEHAVIORS_TABLE, DESCRIPTIONS, EMBEDDINGS, EVENTS)}
