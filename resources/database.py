"""One PostgreSQL database: its address, a connection that comes back, and its errors in our words."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from sentinel_assets.vision.errors import StoreError, StoreRejected, StoreUnavailable

Connection = psycopg.Connection[TupleRow]
Result = TypeVar("Result")

_SCHEMES = ("postgresql://", "postgres://")
_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000")  # SQLAlchemy's `postgresql+psycopg2://`
_DEFAULTS = {
    "application_name": "sentinel",
    "connect_timeout": "5",  # s
    "tcp_user_timeout": "30000",  # ms without an answer before a connection counts as lost
    "keepalives_idle": "30",  # s
}
_ATTEMPTS = 5  # to prepare a connection, each after the database has answered
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.05, 1.0

# https://www.postgresql.org/docs/16/errcodes-appendix.html
_DISK_FULL = "53100"
_PASSING = ("08", "57P", "53300", "40001", "40P01")
_ACCESS = ("28", "3D000", "42501")
_REFUSED_AT_THE_DOOR = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")


def parse_url(url: str) -> str:
    """The address as libpq reads it; SQLAlchemy's forms and libpq's keywords are accepted. Raises StoreRejected.

    No message repeats the address: it holds a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    name, _, driver = scheme.partition("+")
    if separator:
        url = f"{name}://{rest}" if driver in _DRIVERS else url.strip()
    try:
        given = conninfo_to_dict(url) if not separator or url.startswith(_SCHEMES) else None
    except psycopg.ProgrammingError:
        given = None
    if not given:
        raise StoreRejected(
            "that is not the address of a PostgreSQL database",
            where="DATABASE_URL",
            remedy="It looks like postgresql://user:password@host:5432/database",
        ) from None
    return make_conninfo("", **{**_DEFAULTS, **given, "client_encoding": "utf8"})


class Database:
    """A connection, opened when first needed, shared by the threads of this process one at a time, and reopened when
    it was lost.

    `patience_s`: for how long an operation is tried again while the database is away. Until it was reached for the
    first time, `first_patience_s` holds: an address that is wrong should be said soon. `revive` is called before each
    new attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        patience_s: float = 25.0,
        first_patience_s: float = 3.0,
        revive: Callable[[], None] | None = None,
    ) -> None:
        self._conninfo = parse_url(url)
        self._patience_s, self._first_patience_s = patience_s, first_patience_s
        self._revive = revive
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._owner = 0
        self._was_reached = False

    @property
    def where(self) -> str:
        """host:port/database, for messages."""
        parts = conninfo_to_dict(self._conninfo)
        host = parts.get("host") or parts.get("hostaddr") or "localhost"
        return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"

    def run(self, operation: Callable[[Connection], Result], *, patience_s: float | None = None) -> Result:
        """The operation's result. It must be safe to repeat: it is, when the connection is lost or a lock was deadly.

        The connection is in autocommit mode; an operation of more than one statement opens a transaction.
        Raises StoreUnavailable or StoreRejected for errors of psycopg; errors of the operation's own go through.
        """
        patience = self._patience_s if patience_s is None else patience_s
        if not self._was_reached:
            patience = min(patience, self._first_patience_s)
        deadline, pause = time.monotonic() + patience, _FIRST_BACKOFF_S
        while True:
            try:
                with self._lock:
                    return operation(self._connected())
            except psycopg.Error as error:
                if not error.sqlstate and not isinstance(error, psycopg.OperationalError | psycopg.DataError):
                    raise  # no word of the server's, but misuse of psycopg: a mistake of ours
                if not _is_passing(error) or time.monotonic() + pause > deadline:
                    raise explain(error, self.where) from error
            time.sleep(pause)
            pause = min(2 * pause, _LAST_BACKOFF_S)
            if self._revive:
                self._revive()

    def open(self, *, autocommit: bool = True) -> Connection:
        """A connection of the caller's own. Raises psycopg.Error."""
        connection = psycopg.connect(self._conninfo, autocommit=autocommit)
        connection.prepare_threshold = None  # a prepared plan would ignore a later SET, and poolers dislike them
        return connection

    @contextmanager
    def apart(self, prepare: Callable[[Connection], object]) -> Iterator[Connection]:
        """A second connection for a while, on which `prepare` was run; that is begun anew where the connection is lost.

        Raises StoreError when it cannot be had.
        """
        connection = self._prepared(prepare)
        try:
            yield connection
        finally:
            connection.close()

    def _prepared(self, prepare: Callable[[Connection], object]) -> Connection:
        for left in reversed(range(_ATTEMPTS)):
            self.run(lambda connection: connection.execute("SELECT 1"))  # waits where the database is away
            connection: Connection | None = None
            try:
                connection = self.open()
                prepare(connection)
                return connection
            except psycopg.Error as error:
                if connection is not None:
                    connection.close()
                if not left or not _is_passing(error):
                    raise explain(error, self.where) from error
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        usable = self._connection is not None and self._owner == os.getpid()  # a fork leaves its parent's alone
        if self._connection is None or not usable or self._connection.closed:
            self._connection, self._owner = self.open(), os.getpid()
            self._was_reached = True
        return self._connection


def explain(error: psycopg.Error, where: str) -> StoreError:
    """psycopg's error as ours: what the server said, and the next step."""
    state, said = error.sqlstate or "", error.diag.message_primary or str(error)
    if state == _DISK_FULL:
        return StoreUnavailable(f"the disk is full: {said}", where=where, remedy="Free space, and try again")
    if state.startswith(_ACCESS) or _is_refused_at_the_door(error):
        remedy = "Check user, password, database and privileges in DATABASE_URL"
        return StoreRejected(f"access denied: {said}", where=where, remedy=remedy)
    if _is_passing(error):
        remedy = "Check that PostgreSQL runs and that DATABASE_URL names it, and try again"
        return StoreUnavailable(f"the database is away: {said}", where=where, remedy=remedy)
    if state.startswith(("53", "58")):
        return StoreUnavailable(f"the database lacks something: {said}", where=where, remedy="Read the server's log")
    detail = error.diag.message_detail
    return StoreRejected(f"{said} ({detail})" if detail else said, where=where, remedy=error.diag.message_hint or "")


def _is_passing(error: psycopg.Error) -> bool:
    """Whether the same may go well in a moment, on a new connection if need be."""
    if error.sqlstate:
        return error.sqlstate.startswith(_PASSING)
    return isinstance(error, psycopg.OperationalError) and not _is_refused_at_the_door(error)


def _is_refused_at_the_door(error: psycopg.Error) -> bool:
    # libpq gives no SQLSTATE for a connection that was refused, only its text.
    return not error.sqlstate and any(words in str(error) for words in _REFUSED_AT_THE_DOOR)
