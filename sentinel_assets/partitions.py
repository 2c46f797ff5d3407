"""The one partition set: a partition is a video, its key the video's id as text."""

from __future__ import annotations

import dagster as dg

videos = dg.DynamicPartitionsDefinition(name="videos")
