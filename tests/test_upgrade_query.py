"""The query of docs/upgrades.md tells which rows came from which model."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from resources.warehouse import Warehouse
from tests.builders.events import RECIPES, event_rows

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "upgrades.md"


def test_one_query_tells_which_rows_came_from_which_model(database_url: str) -> None:
    """Two events by a recorded recipe of poses, one by another, and one by a recipe that nobody recorded."""
    (query,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    made = {"p1": 2, "p2": 1, "p3": 1}
    with Warehouse(database_url) as warehouse:
        for digest, model in (("p1", "movenet"), ("p2", "yolo11x-pose")):
            ingredients = {"models": [{"name": model}]}
            warehouse.record_recipe(digest, asset="poses", profile="cpu", ingredients=ingredients)
        for digest, count in made.items():
            video = warehouse.register_video(f"/clips/{digest}.mp4", name=f"{digest}.mp4")
            warehouse.begin_analysis(video.partition_key, "run")
            recipes = {**RECIPES, "poses": digest}
            warehouse.publish_events(video.partition_key, event_rows(count), recipes=recipes, analysis_id="run")
    with psycopg.connect(database_url) as connection:
        found = connection.execute(query.encode()).fetchall()
    assert found == [("movenet", "p1", 2), ("yolo11x-pose", "p2", 1), (None, "p3", 1)]
