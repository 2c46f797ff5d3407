"""The progress bar: it tells of this analysis, and of no earlier one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.progress import Progress

from resources.settings import Settings
from resources.warehouse import connect
from sentinel_assets.session import VideoBar


def _soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_the_bar_of_a_video_analysed_before_begins_at_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row still says 100 when the bar appears; then the bar follows the new analysis."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with connect(Settings.from_env()) as warehouse:
        row = warehouse.register_video("/shop/shop-1.mp4", name="shop-1.mp4")
        warehouse.begin_analysis(row.partition_key, "earlier")
        warehouse.record_completed(row.partition_key)
        progress = Progress(console=Console(file=io.StringIO()), auto_refresh=False)
        bar = VideoBar(progress)
        try:
            bar.registered(warehouse.video(row.partition_key))
            (task,) = progress.tasks
            time.sleep(1)  # several looks at the row
            assert (task.completed, task.finished) == (0, False)
            warehouse.begin_analysis(row.partition_key, "now")
            warehouse.report_progress(row.partition_key, 40, "detections", "now")
            assert _soon(lambda: progress.tasks[0].completed == 40)
            assert progress.tasks[0].description == "shop-1.mp4  detections"
        finally:
            bar.close()
