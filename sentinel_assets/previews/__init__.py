"""The pictures and tables that the Dagster UI shows of each asset, as Markdown of less than 50 kB.

Faces are blurred in all of them unless `show_faces` is set. The drawing itself is in the modules beside this one and
knows nothing of Markdown; none of them knows of Dagster, and what is heavy is imported when something is drawn.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sentinel_assets.previews import contacts, encoding, event_tables, footfall, histogram, lanes, places, skeletons
from sentinel_assets.previews.encoding import MAX_MARKDOWN, as_markdown
from sentinel_assets.previews.event_tables import neighbour_table
from sentinel_assets.previews.footfall import interest_tables
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.frames import frames_at
from sentinel_assets.vision.interest import Interest
from sentinel_assets.vision.tables import Sampling

__all__ = [
    "MAX_MARKDOWN",
    "age_gender_histogram",
    "as_markdown",
    "contact_sheet",
    "description_table",
    "heat_map",
    "interest_tables",
    "neighbour_table",
    "pose_sheet",
    "swim_lanes",
    "zones_picture",
]


def contact_sheet(path: Path, detections: pd.DataFrame, *, show_faces: bool = False) -> str:
    """Up to twelve frames that show most people, with boxes and track ids, and the number of people over time."""
    frames = frames_at(path, contacts.telling_times(detections))
    picture = contacts.draw(frames, detections, show_faces=show_faces)
    return as_markdown(encoding.photo(picture), "people in the video")


def age_gender_histogram(demographics: pd.DataFrame) -> str:
    """Ages and genders of all tracks, the unknown ones included."""
    return as_markdown(encoding.chart(histogram.draw(demographics)), "age and gender of the tracked people")


def pose_sheet(path: Path, poses: pd.DataFrame, detections: pd.DataFrame, *, show_faces: bool = False) -> str:
    """The skeletons of up to ten people, and where each faces."""
    chosen = skeletons.telling_poses(poses)
    frames = frames_at(path, sorted(set(chosen["time_s"])))
    picture = skeletons.draw(frames, chosen, detections, show_faces=show_faces)
    return as_markdown(encoding.photo(picture), "skeletons and directions")


def swim_lanes(behaviors: pd.DataFrame, sampling: Sampling) -> str:
    """What each track did, and when."""
    return as_markdown(encoding.chart(lanes.draw(behaviors, sampling)), "behaviors of each track over time")


def description_table(
    path: Path, descriptions: pd.DataFrame, detections: pd.DataFrame, *, show_faces: bool = False
) -> str:
    """Up to twelve events, alarms first, each with its sentence and a small picture."""
    wanted = event_tables.glimpses(event_tables.chosen_events(descriptions), detections)
    frames = frames_at(path, sorted({glimpse.time_s for glimpse in wanted}))
    pictures = event_tables.thumbnails(frames, wanted, detections, show_faces=show_faces)
    return event_tables.description_table(descriptions, pictures)


def zones_picture(path: Path, camera: Camera, detections: pd.DataFrame, *, show_faces: bool = False) -> str:
    """The camera's zones and lines over the emptiest sampled frame."""
    time_s = places.telling_time(detections)
    if time_s is None:
        return "No frame was sampled."
    (frame,) = frames_at(path, [time_s])
    picture = places.draw(frame, camera, detections, show_faces=show_faces)
    return as_markdown(encoding.photo(picture), f"zones of the camera {camera.name}")


def heat_map(path: Path, interest: Interest, detections: pd.DataFrame, *, show_faces: bool = False) -> str:
    """Where the feet of people who moved stood, over the emptiest sampled frame."""
    time_s = places.telling_time(detections)
    if time_s is None:
        return "No frame was sampled."
    (frame,) = frames_at(path, [time_s])
    picture = footfall.heat_map(frame, interest, detections, show_faces=show_faces)
    return as_markdown(encoding.photo(picture), "where people stood")
