"""How what people wait for grows with the number of videos: `python -m tests.bench.growth [--quick] [--json FILE]`.

Synthetic videos in Dagster's storage and in the warehouse, with one event each; PostgreSQL runs for the while. Each
question is asked several times, and its least time counts. A growth of 1 is linear: the exponent between the two
largest sizes. Before, thousands of rows are stored one by one and as the product does it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import numpy as np
import psycopg
import sqlalchemy as db

from infra.local.postgres import LocalPostgres, Server
from resources.records import SearchFilter
from resources.rows import EventBatch
from resources.warehouse import Warehouse
from sentinel_assets.fleet import read_fleet
from sentinel_assets.freshness import DEPENDENCIES
from tests.bench.measure import Ratio
from tests.bench.pages import pages, webserver
from tests.bench.ticks import UPLOADS, remember_runs, tick, upload_bucket
from tests.builders.bucket import UploadBucket
from tests.builders.events import RECIPES, event_rows, unit_vectors
from tests.builders.fleets import ToyFleet

SIZES = (1_000, 10_000, 100_000)
_QUERIES, _HITS, _RARE = 50, 10, 500
_REPEATS = 5
_ROWS, _ROUNDS = 4000, 3
_LEAST_RECALL, _LEAST_COPY, _MOST_GROWTH = 0.95, 20.0, 1.1
_FLAT_S = 0.02
"""What takes less than this at the largest size is not asked how it grows: that would be noise."""


@dataclass(frozen=True)
class Point:
    """At one size: seconds of each question, recall@10 of search through the index, and whether filters miss none."""

    size: int
    seconds: dict[str, float]
    recall: float
    complete: bool


def quickest(ask: Callable[[], Any]) -> float:
    """Seconds, the least of several."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(server: Server, bucket: UploadBucket, size: int) -> Point:
    name = f"size_{size}"
    server.create_database(name)
    server.create_database(f"dagster_{size}")
    url = server.url(f"dagster_{size}").replace("postgresql://", "postgresql+psycopg2://", 1)
    storage = {"postgres": {"postgres_url": url}}
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.local_temp(folder, overrides={"storage": storage}) as instance,
        Warehouse(server.url(name)) as warehouse,
        patch.dict(os.environ, DATABASE_URL=server.url(name)),
    ):
        warehouse.migrate()
        recipes = {asset: f"{number:012x}" for number, asset in enumerate(DEPENDENCIES)}
        remember_runs(instance, ToyFleet.of(instance, size, recipes).partitions)
        with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
            connection.execute(db.text("ANALYZE"))  # as autovacuum has done where rows came over months
        vectors = unit_vectors(size + _QUERIES)
        fill(server.url(name), vectors[:size])
        queries = vectors[size:]
        search = lambda wanted, query: warehouse.search(  # noqa: E731
            query, embedding_recipe="m1", wanted=wanted, limit=_HITS
        )
        seconds = {
            "stale": quickest(lambda: read_fleet(instance, recipes | {"poses": "a" * 12})),
            "status": quickest(lambda: warehouse.videos(20)),
            "a video by its name": quickest(lambda: warehouse.find_video(f"{size // 2}.mp4")),
            "what search finds": quickest(lambda: search(SearchFilter(), queries[0])),
            "in one video": quickest(lambda: search(SearchFilter(video_id=size // 2), queries[0])),
            "of a rare type": quickest(lambda: search(SearchFilter(types=("theft",)), queries[0])),
            "a tick for ten uploads": min(
                tick(instance, bucket, folder, size + 1 + UPLOADS * repeat) for repeat in range(_REPEATS)
            ),
        }
        with webserver(Path(folder, "ui"), storage) as address:
            seconds |= {page: quickest(ask) for page, ask in pages(address, str(size // 2)).items()}
        recall, complete = quality(search, vectors[:size], queries)
        return Point(size, seconds, recall, complete)


def fill(url: str, vectors: np.ndarray[Any, Any]) -> None:
    """A video and an event for each vector. The index is built after the rows: sooner, and the same."""
    size = len(vectors)
    with psycopg.connect(url, autocommit=True) as connection:
        (index,) = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'events_embedding'"
        ).fetchone() or (None,)
        assert index is not None
        connection.execute("DROP INDEX events_embedding")
        connection.execute(
            "INSERT INTO videos (partition_key, uri, name, etag, status, analysis_progress) "
            "SELECT n::text, '/clips/' || n || '.mp4', n || '.mp4', n::text, 'completed', 100 "
            "FROM generate_series(1, %s) AS n ORDER BY n",
            [size],
        )
        for first in range(0, size, 5000):
            part = vectors[first : first + 5000]
            types = ["theft" if (first + i) % _RARE == 0 else "walking" for i in range(len(part))]
            rows = event_rows(len(part), vectors=part, event_type=types)
            rows = rows.assign(event_key=[f"walking-{first + i}" for i in range(len(part))])
            EventBatch.of(rows, RECIPES).copy(connection, 1)
        connection.execute("UPDATE events SET video_id = substring(event_key FROM 9)::bigint + 1")
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute(index)
        connection.execute("VACUUM ANALYZE")


def quality(search: Any, vectors: np.ndarray[Any, Any], queries: np.ndarray[Any, Any]) -> tuple[float, bool]:
    """recall@10 against comparing with every vector, and whether the nearest of the rare events are all found."""
    found, complete = 0, True
    thefts = np.arange(0, len(vectors), _RARE)
    for query in queries:
        similarity = vectors @ query
        nearest = set(np.argsort(-similarity)[:_HITS])
        found += len(nearest & {hit.event.video_id - 1 for hit in search(SearchFilter(), query)})
        rare = [hit.event.video_id - 1 for hit in search(SearchFilter(types=("theft",)), query)]
        complete &= rare == list(thefts[np.argsort(-similarity[thefts], kind="stable")][:_HITS])
    return found / (_HITS * len(queries)), complete


def storing(server: Server) -> Ratio:
    """CPU, this process's and PostgreSQL's, of thousands of checked rows with an INSERT each over that of one COPY; no
    index."""
    server.create_database("storing")
    with Warehouse(server.url("storing")) as warehouse:
        warehouse.migrate()
    with psycopg.connect(server.url("storing"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA plain")
        connection.execute("CREATE TABLE plain.events (LIKE public.events INCLUDING DEFAULTS INCLUDING IDENTITY)")
        connection.execute("SET search_path = plain, public")
        batch = EventBatch.of(event_rows(_ROWS), RECIPES)
        batch.copy(connection, 1)  # what is read once for a process
        one_by_one, at_once = [], []
        for _ in range(_ROUNDS):
            with spent(connection) as took:
                for row in batch.events:
                    columns = ", ".join(["video_id", "recipe", "recipes", "embedding_recipe", *row])
                    values = [1, "e1", json.dumps(RECIPES), "m1", *row.values()]
                    values = [json.dumps(v.tolist()) if isinstance(v, np.ndarray) else v for v in values]
                    places = ", ".join(["%s"] * len(values))
                    connection.execute(f"INSERT INTO events ({columns}) VALUES ({places})".encode(), values)  # noqa: S608
            one_by_one.append(took[0])
            with spent(connection) as took:
                batch.copy(connection, 1)
            at_once.append(took[0])
        return Ratio.of(one_by_one, at_once)


@contextmanager
def spent(connection: psycopg.Connection[Any]) -> Iterator[list[float]]:
    """CPU seconds of this process and of the connection's backend (Linux)."""

    def now() -> float:
        fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    took = [0.0]
    started = now()
    yield took
    took[0] = now() - started


def growth(points: list[Point], question: str) -> float | None:
    """The exponent between the two largest sizes; None where it takes next to nothing at the largest."""
    *_, one, other = points
    if other.seconds[question] < _FLAT_S:
        return None
    return math.log(other.seconds[question] / one.seconds[question]) / math.log(other.size / one.size)


def markdown(points: list[Point], copy: Ratio) -> str:
    heads = ["asked", *(f"{point.size:,} videos" for point in points), "growth"]
    body = []
    for question in points[0].seconds:
        exponent = growth(points, question)
        cells = [f"{1000 * point.seconds[question]:.1f} ms" for point in points]
        body.append(f"| {question} | {' | '.join(cells)} | {'flat' if exponent is None else f'{exponent:.2f}'} |")
    body.append(f"| recall@{_HITS} of search | {' | '.join(f'{point.recall:.3f}' for point in points)} | |")
    complete = " | ".join("all found" if point.complete else "some missed" for point in points)
    body.append(f"| rare events | {complete} | |")
    last = f"{_ROWS} rows with an INSERT each take {copy} times the CPU of one COPY (goal: {_LEAST_COPY:.0f})"
    return "\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *body, "", last])


def picture(points: list[Point], path: Path) -> None:
    from sentinel_assets.previews.canvas import figure, plain, rendered, title
    from sentinel_assets.previews.palette import (
        BLUE,
        FAINT,
        GREEN,
        GRID,
        INK,
        NEUTRAL,
        ORANGE,
        PURPLE,
        SKY,
        VERMILION,
        YELLOW,
    )

    made, axes = figure(420)
    plain(axes)
    title(axes, "What people wait for, by number of videos", "ms; the dotted line is linear")
    sizes = [point.size for point in points]
    colours = (VERMILION, BLUE, SKY, GREEN, ORANGE, PURPLE, YELLOW, INK, FAINT, GRID)
    for colour, question in zip(colours, points[0].seconds, strict=True):
        axes.plot(sizes, [1000 * p.seconds[question] for p in points], marker="o", color=colour, label=question)
    first = 1000 * points[0].seconds["stale"]
    axes.plot(sizes, [first * size / sizes[0] for size in sizes], linestyle=":", color=NEUTRAL)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5)
    rendered(made).save(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N,...")
    parser.add_argument("--quick", action="store_true", help="small, and never too slow: that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them there")
    options = parser.parse_args(arguments)
    points = []
    with (
        tempfile.TemporaryDirectory() as home,
        LocalPostgres(Path(home)).session() as server,
        upload_bucket() as bucket,
    ):
        copy = storing(server)
        for size in map(int, ("200,1000" if options.quick else options.sizes).split(",")):
            print(f"{size} videos ...", file=sys.stderr)
            points.append(measure(server, bucket, size))
    print(markdown(points, copy))
    if options.json:
        figures = {"points": [asdict(point) for point in points], "insert_over_copy": asdict(copy)}
        options.json.write_text(json.dumps(figures, indent=1))
    if options.picture:
        picture(points, options.picture)
    exponents = [growth(points, question) for question in points[0].seconds]
    linear = all(exponent is None or exponent <= _MOST_GROWTH for exponent in exponents)
    good = all(point.recall >= _LEAST_RECALL and point.complete for point in points)
    return 0 if good and (options.quick or (linear and copy.median >= _LEAST_COPY)) else 1


if __name__ == "__main__":
    sys.exit(main())
