"""Giving a video its row: once for each address, whoever asks first, with our number or a backend's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from resources.database import Connection
from sentinel_assets.vision.errors import StoreRejected

FACTS = ("etag", "size_bytes", "duration_s", "width", "height", "codec")

_ATTEMPTS = 20  # a number that is taken (a backend's) costs one
_NEW_CONTENT = (
    "UPDATE videos SET status = 'pending', analysis = NULL, analysis_progress = 0, stage = NULL, error = NULL, "
    "warnings = '[]', updated_at = now() WHERE id = %(video_id)s AND etag IS DISTINCT FROM %(etag)s"
)
_AGAIN = (  # keeps which analysis failed: that one does not fail it once more
    "UPDATE videos SET status = 'pending', analysis_progress = 0, stage = NULL, error = NULL, warnings = '[]', "
    "updated_at = now() WHERE id = %(video_id)s AND status = 'failed'"
)
_FIND = "SELECT id, uri, partition_key FROM videos WHERE uri = %(uri)s OR id = %(id)s OR partition_key = %(key)s"


@dataclass(frozen=True)
class Registration:
    """What a row is asked for with; see `Warehouse.register_video`."""

    uri: str
    name: str
    video_id: int | None = None
    partition_key: str | None = None
    facts: Mapping[str, str | float | None] = field(default_factory=dict)
    again: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.facts) - set(FACTS):
            raise TypeError(f"unknown facts {sorted(unknown)}; known are {FACTS}")
        if not self.uri or "\0" in self.uri + self.name + (self.partition_key or ""):
            raise StoreRejected("an address must not be empty or hold a NUL character", where=repr(self.uri))

    @property
    def key(self) -> str | None:
        return self.partition_key or (None if self.video_id is None else str(self.video_id))


def register(connection: Connection, wanted: Registration) -> int:
    """The id of the row, which then holds these facts. Raises StoreRejected where two videos claim the same."""
    for _ in range(_ATTEMPTS):
        try:
            with connection.transaction():
                video_id = _known(connection, wanted)
                return _insert(connection, wanted) if video_id is None else _update(connection, wanted, video_id)
        except psycopg.errors.UniqueViolation:
            continue  # somebody else was faster, or the next number is a backend's: look again
    raise StoreRejected(f"no free number for it in {_ATTEMPTS} attempts", where=wanted.uri, remedy="Try again")


def _known(connection: Connection, wanted: Registration) -> int | None:
    found = connection.execute(_FIND, {"uri": wanted.uri, "id": wanted.video_id, "key": wanted.key}).fetchall()
    if not found:
        return None
    video_id, uri, key = found[0]
    agrees = wanted.video_id in (None, video_id) and wanted.key in (None, key)
    in_s3 = uri.startswith("s3://") and wanted.uri.startswith("s3://")
    # Only a backend may give its video a new address; one of a local file is not the backend's, whatever its number.
    moved = uri != wanted.uri and (wanted.video_id is None or not in_s3)
    if len(found) > 1 or not agrees or moved:
        known = "; ".join(f"video {i} has key {k} and address {u}" for i, u, k in found)
        asked = f"id {wanted.video_id}, key {wanted.key}" if wanted.video_id is not None else f"key {wanted.key}"
        raise StoreRejected(
            f"registered differently before: {known}; asked for {asked}",
            where=wanted.uri,
            remedy="Give the id and the key that belong to this address",
        )
    return int(video_id)


def _insert(connection: Connection, wanted: Registration) -> int:
    given = _given(wanted)
    if wanted.video_id is None:
        number: sql.Composable = sql.SQL("nextval('videos_id_seq')")
    else:
        number = sql.Literal(wanted.video_id)
    query = sql.SQL(
        "WITH given (id) AS (SELECT {number}::bigint) INSERT INTO videos (id, partition_key, uri, {columns}) "
        "SELECT id, COALESCE(%(key)s, id::text), %(uri)s, {values} FROM given RETURNING id"
    ).format(number=number, columns=_names(given), values=_placeholders(given))
    row = connection.execute(query, {**given, "key": wanted.key, "uri": wanted.uri}).fetchone()
    assert row is not None
    if wanted.video_id is not None:  # our own numbers go on after a backend's
        connection.execute(
            "SELECT setval('videos_id_seq', %(id)s) FROM videos_id_seq WHERE last_value < %(id)s", {"id": row[0]}
        )
    return int(row[0])


def _update(connection: Connection, wanted: Registration, video_id: int) -> int:
    given = {"uri": wanted.uri, **_given(wanted)}
    if "etag" in given:
        connection.execute(_NEW_CONTENT, {"video_id": video_id, "etag": given["etag"]})
    if wanted.again:
        connection.execute(_AGAIN, {"video_id": video_id})
    query = sql.SQL(
        "UPDATE videos SET ({names}, updated_at) = ROW ({values}, now()) "
        "WHERE id = %(video_id)s AND ({names}) IS DISTINCT FROM ({values})"
    ).format(names=_names(given), values=_placeholders(given))
    connection.execute(query, {**given, "video_id": video_id})
    return video_id


def _given(wanted: Registration) -> dict[str, str | float]:
    facts = {name: value for name, value in wanted.facts.items() if value is not None}
    return {"name": wanted.name, **facts}


def _names(given: Mapping[str, object]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, given))


def _placeholders(given: Mapping[str, object]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Placeholder, given))
