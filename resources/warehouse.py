"""The warehouse: videos, how far their analysis is, and their events, in PostgreSQL with pgvector.

    with connect(settings) as warehouse:
        video = warehouse.register_video("/clips/aisle.mp4", name="aisle.mp4")
        warehouse.begin_analysis(video.partition_key, run_id)
        warehouse.publish_events(video.partition_key, events, recipes=digests, analysis_id=run_id)
        hits = warehouse.search(vector, embedding_recipe=digests["embeddings"], limit=10)

Every write is one statement or one transaction, and safe to repeat; it is repeated by itself when the connection is
lost. All methods raise StoreUnavailable where the database is away or full, StoreRejected where it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from resources import progress, registration, rows, schema, search, vectors, verdicts, videos
from resources.database import Connection, Database
from resources.records import Event, SearchFilter, SearchHit, Status, Video
from resources.secrets import database_address
from resources.settings import Settings
from sentinel_assets.vision.errors import StoreRejected, TableError

__all__ = ["Event", "SearchFilter", "SearchHit", "Video", "Warehouse", "connect"]

_DATABASE = "sentinel"
_HOLD_LOCK = 0x5E47  # first key of the advisory locks that `hold_video` takes, ours alone by convention
_UPGRADE_LOCK = 0x5E49  # likewise of `hold_upgrades`


class Warehouse:
    """The warehouse at an address; `patience_s` and `revive` as of `database.Database`. Threads may share it."""

    def __init__(self, url: str, *, patience_s: float = 25.0, revive: Callable[[], None] | None = None) -> None:
        self._database = Database(url, patience_s=patience_s, revive=revive)

    @property
    def spaces(self) -> vectors.VectorSpaces:
        """The embedding recipes that there are vectors of, and the one that search uses."""
        return vectors.VectorSpaces(self._database)

    @property
    def where(self) -> str:
        """host:port/database, for messages."""
        return self._database.where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def migrate(self) -> None:
        """Bring the schema up to date; a few milliseconds when it is. Any number of processes may do so at once."""
        schema.bring_up_to_date(self._database)

    def register_video(
        self,
        uri: str,
        *,
        name: str,
        video_id: int | None = None,
        partition_key: str | None = None,
        again: bool = False,
        **facts: str | float | None,
    ) -> Video:
        """The row of the video at this address, made unless it is there.

        `facts`: etag, size_bytes, duration_s, width, height, codec; those given and not None are written. Another etag
        than before makes the video pending again: an analysis of the old content cannot complete it. `again` does so
        with one that failed, as a new analysis of the same content has been asked for.
        `video_id` is a backend's own number; a backend may give a known one a new address in S3. The partition key is
        the id as text unless one is given. Raises StoreRejected where address, id and key belong to different videos.
        """
        wanted = registration.Registration(uri, name, video_id, partition_key, facts, again)
        video_id = self._database.run(lambda connection: registration.register(connection, wanted))
        return self.video(video_id)

    def begin_analysis(self, partition_key: str, analysis_id: str, content: str | None = None) -> None:
        """From now on this analysis is the video's: progress 0, no error. Without effect where it is already.

        `content` is the etag that the analysis is for. Raises StoreRejected where the video has another one by now.
        """
        self._update_video(
            progress.BEGIN,
            key=partition_key,
            analysis=analysis_id,
            content=content,
        )
        if content is not None:
            progress.require_content(partition_key, content, self.video(partition_key).etag, self.where)

    def report_progress(self, partition_key: str, percent: float, stage: str, analysis_id: str) -> None:
        """How far that analysis is, percent; at most 99, for 100 is said by `publish_events` alone.

        Never goes back, and has no effect from an analysis that is over or was superseded. Not repeated when the
        connection is lost: the next figure comes soon.
        """
        self._update_video(
            progress.REPORT,
            patience_s=1.0,
            key=partition_key,
            percent=int(min(max(percent, 0), 99)),
            stage=stage,
            analysis=analysis_id,
        )

    def record_failure(self, partition_key: str, reason: str, analysis_id: str | None = None) -> None:
        """The analysis failed, and why. With an id: only where that analysis is the current one. Rows stay."""
        self._update_video(
            progress.FAIL,
            key=partition_key,
            reason=_text(reason),
            analysis=analysis_id,
        )

    def record_lost_analysis(self, row: Video, reason: str, analysis_id: str) -> None:
        """That analysis was to complete the row and is over without a result. Without effect where the row has changed
        since it was read: its step gave a reason of its own, or another analysis has begun."""
        self._update_video(
            progress.LOSE,
            key=row.partition_key,
            reason=_text(reason),
            lost=analysis_id,
            analysis=row.analysis,
            status=row.status,
            etag=row.etag,
        )

    def record_warning(self, partition_key: str, text: str) -> None:
        """Something to know about the current analysis; said once."""
        self._update_video(
            progress.WARN,
            key=partition_key,
            text=_text(text),
        )

    def record_completed(self, partition_key: str) -> None:
        """All that there is to publish was found in place."""
        self._update_video(
            progress.COMPLETE,
            key=partition_key,
        )

    def publish_events(
        self,
        partition_key: str,
        events: pd.DataFrame,
        *,
        recipes: Mapping[str, str],
        analysis_id: str,
        content: str | None = None,
        beside: Mapping[str, Mapping[str, vectors.Vector]] | None = None,
    ) -> int:
        """Replace the video's events by these (`tables.EVENTS`), complete the analysis, and give their number.

        One transaction: who reads sees the old rows or the new, and a kill at any moment leaves the old.
        `recipes` are the digests by asset; those of `events` and `embeddings` must be there.
        `content` is the etag that they were made from. `beside` are vectors of other embedding recipes, by recipe and
        description, such as of the one that search answers from (`vectors.py`).
        Raises TableError for rows that break their schema, StoreRejected where a newer analysis has begun or the video
        has other content by now.
        """
        embedding_recipe = recipes.get("embeddings", "")
        dimension = self._database.run(lambda connection: vectors.dimension_of(connection, embedding_recipe))
        batch = rows.EventBatch.of(events, recipes, dimension)

        def publish(connection: Connection) -> None:
            with connection.transaction():
                video_id = progress.publishing(
                    connection, key=partition_key, analysis=analysis_id, content=content, where=self.where
                )
                vectors.set_aside(connection, video_id, embedding_recipe)
                connection.execute("DELETE FROM events WHERE video_id = %s", [video_id])
                batch.copy(connection, video_id)
                vectors.keep_what_is_said(connection, video_id, embedding_recipe, beside or {})
                connection.execute(
                    "UPDATE videos SET status = 'completed', analysis_progress = 100, stage = NULL, error = NULL, "
                    "analysis = %s, completed_at = now(), updated_at = now() WHERE id = %s",
                    [analysis_id, video_id],
                )

        def publish_or_name_the_row(connection: Connection) -> None:
            try:
                publish(connection)
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                said = f"{error.diag.message_primary or error} {error.diag.message_detail or ''}"
                raise TableError(f"PostgreSQL refuses a row: {said}", where="events") from error

        self._database.run(publish_or_name_the_row)
        return len(batch)

    def record_recipe(self, digest: str, *, asset: str, profile: str | None, ingredients: Mapping[str, Any]) -> None:
        """What that digest stands for; kept from its first use."""
        self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO recipes (digest, asset, profile, ingredients) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                [digest, asset, profile, Jsonb(dict(ingredients))],
            )
        )

    def recipes(self, digests: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What each of these digests stands for; one that nobody recorded is not in it."""
        query = "SELECT digest, ingredients FROM recipes WHERE digest = ANY(%s)"
        return dict(self._database.run(lambda connection: connection.execute(query, [list(digests)]).fetchall()))

    def durations_s(self) -> dict[str, float]:
        """The length of each video of known length, seconds, by partition key."""
        query = "SELECT partition_key, duration_s FROM videos WHERE duration_s IS NOT NULL"
        return dict(self._database.run(lambda connection: connection.execute(query).fetchall()))

    def addresses(self) -> dict[str, tuple[str, str]]:
        """The name and address of each video, by partition key."""
        query = "SELECT partition_key, name, uri FROM videos"
        rows = self._database.run(lambda connection: connection.execute(query).fetchall())
        return {partition: (name, uri) for partition, name, uri in rows}

    def video(self, id_or_key: int | str) -> Video:
        """By id (a number) or partition key (text). Raises StoreRejected where there is none."""
        column = sql.SQL("id" if isinstance(id_or_key, int) else "partition_key")
        found = self._videos(sql.SQL("WHERE {} = %(value)s").format(column), value=id_or_key)
        if not found:
            raise StoreRejected(f"no video {id_or_key!r}", where=self.where, remedy="`sentinel status` lists them")
        return found[0]

    def video_at(self, uri: str) -> Video | None:
        """The video at this address, if one is registered."""
        found = self._videos(sql.SQL("WHERE v.uri = %(uri)s"), uri=uri)
        return found[0] if found else None

    def videos(self, limit: int | None = None) -> list[Video]:
        """The newest first."""
        return self._videos(sql.SQL("ORDER BY v.id DESC LIMIT %(limit)s"), limit=limit)

    def videos_of(self, *statuses: Status) -> list[Video]:
        """Those in one of these states, the oldest first."""
        return self._videos(sql.SQL("WHERE v.status = ANY(%(statuses)s) ORDER BY v.id"), statuses=list(statuses))

    def find_video(self, text: str) -> Video:
        """What a person calls a video: its id, partition key, address, path, or file name.

        Raises StoreRejected where nothing answers to it, or several do by that name.
        """
        return self._database.run(lambda connection: videos.called(connection, _text(text), self.where))

    def events(self, video_id: int | None = None, wanted: SearchFilter | None = None) -> list[Event]:
        """The events that pass the filter, in the order of their time."""
        passing, parameters = search.conditions(wanted or SearchFilter())
        query = sql.SQL(
            "SELECT {} FROM events e WHERE {} AND (%(of)s::bigint IS NULL OR e.video_id = %(of)s) "
            "ORDER BY e.video_id, e.timestamp, e.event_key"
        ).format(search.EVENT_COLUMNS, passing)

        def read(connection: Connection) -> list[Event]:
            with connection.cursor(row_factory=class_row(Event)) as cursor:
                return cursor.execute(query, {**parameters, "of": video_id}).fetchall()

        return self._database.run(read)

    def review(self, event: Event, verdict: str, note: str = "") -> None:
        """Keep what a person says of an event, `confirmed` or `rejected`; it outlives the event's row."""
        self._database.run(lambda connection: verdicts.record(connection, event, verdict, _text(note)))

    def verdicts_of(self, events: Sequence[Event]) -> dict[tuple[int, str], verdicts.Verdict]:
        """What was said of these events, by video and event key, of those of which something was. Of each video all
        events belong into one call: a verdict is that of the one that agrees best."""

        def read(connection: Connection) -> dict[tuple[int, str], verdicts.Verdict]:
            found: dict[tuple[int, str], verdicts.Verdict] = {}
            for video_id in sorted({event.video_id for event in events}):
                own = [event for event in events if event.video_id == video_id]
                standing = verdicts.standing(connection, video_id)
                found |= {(video_id, key): said for key, said in verdicts.of_events(standing, own).items()}
            return found

        return self._database.run(read)

    def verdict_counts(self) -> dict[str, dict[str, int]]:
        """Event type -> `confirmed` or `rejected` -> how many, over all videos."""
        return self._database.run(verdicts.counts)

    def count_events(self, video_id: int | None = None) -> int:
        query = "SELECT count(*) FROM events WHERE %(of)s::bigint IS NULL OR video_id = %(of)s"
        row = self._database.run(lambda connection: connection.execute(query, {"of": video_id}).fetchone())
        return int(row[0]) if row else 0

    def search(
        self,
        vector: Sequence[float] | np.ndarray[Any, Any],
        *,
        embedding_recipe: str,
        wanted: SearchFilter | None = None,
        limit: int = 10,
    ) -> list[SearchHit]:
        """The nearest events by the cosine of their descriptions' vectors; see `search.nearest`."""
        return self._database.run(
            lambda connection: search.nearest(
                connection, vector, embedding_recipe=embedding_recipe, wanted=wanted or SearchFilter(), limit=limit
            )
        )

    @contextmanager
    def hold_video(self, partition_key: str) -> Iterator[None]:
        """One at a time for each video: waits for whoever holds it, on whatever machine. Let go of at the latest when
        this process ends."""
        with self._held(_HOLD_LOCK, partition_key):
            yield

    @contextmanager
    def hold_upgrades(self) -> Iterator[None]:
        """One planner of upgrades at a time, likewise: two would each request what neither has seen of the other."""
        with self._held(_UPGRADE_LOCK, "upgrades"):
            yield

    @contextmanager
    def _held(self, first: int, second: str) -> Iterator[None]:
        query = "SELECT pg_advisory_lock(%s, hashtext(%s))"
        with self._database.apart(lambda connection: connection.execute(query, [first, second])):
            yield

    def _update_video(self, statement: str, *, patience_s: float | None = None, key: str, **values: Any) -> None:
        self._database.run(
            lambda connection: progress.update(connection, statement, key=key, where=self.where, **values),
            patience_s=patience_s,
        )

    def _videos(self, clause: sql.Composable, **parameters: Any) -> list[Video]:
        return self._database.run(lambda connection: videos.read(connection, clause, **parameters))


@contextmanager
def connect(settings: Settings) -> Iterator[Warehouse]:
    """The migrated warehouse of these settings: DATABASE_URL's, that of the secret in Secrets Manager, or that of the
    PostgreSQL that we run ourselves, which deployment `aws` has not."""
    address = settings.database_url
    if address is None and settings.cloud.database_secret is not None:
        address = database_address(settings.cloud.database_secret)
    if address is not None:
        with Warehouse(address) as warehouse:
            warehouse.migrate()
            yield warehouse
        return
    if settings.deployment == "aws":
        raise StoreRejected(
            "nothing says where the warehouse is",
            where="SENTINEL_DATABASE_SECRET",
            remedy="Set it to the secret with the database's address, or set DATABASE_URL",
        )
    from infra.local.postgres import LocalPostgres

    with LocalPostgres(settings.home / "postgres").session() as server:
        server.create_database(_DATABASE)
        with Warehouse(server.url(_DATABASE), revive=server.revive) as warehouse:
            warehouse.migrate()
            yield warehouse


def _text(text: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold and a library's message may."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
