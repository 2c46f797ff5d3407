"""Event log entries through a channel: numbered chunks, written about once a second, read in order."""

from __future__ import annotations

import json
import queue
import threading
import time

import dagster as dg

from batch_step.channel import Channel, chunk_key
from batch_step.errors import ChannelUnavailable

_GIVE_UP_S = 300  # how long a store may be away before the step's events count as lost


class EventWriter:
    """Writes entries in a thread of its own, so that the GPU never waits for a PUT.

    `entries` of one flush make one chunk. The store being away for a while loses nothing: the chunk is tried again.
    """

    def __init__(self, channel: Channel, flush_seconds: float = 1.0) -> None:
        self._channel, self._flush_s = channel, flush_seconds
        self._entries: queue.SimpleQueue[dg.EventLogEntry | None] = queue.SimpleQueue()
        self._failed: ChannelUnavailable | None = None
        self.chunks = 0
        self._thread = threading.Thread(target=self._run, name="batch-step-events", daemon=True)
        self._thread.start()

    def put(self, entry: dg.EventLogEntry) -> None:
        self._entries.put(entry)

    def close(self) -> None:
        """Returns when all is written. Raises ChannelUnavailable when it could not be."""
        self._entries.put(None)
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        closing = False
        while not closing:
            batch = [self._entries.get()]
            deadline = time.monotonic() + self._flush_s
            while batch[-1] is not None:
                try:
                    batch.append(self._entries.get(timeout=max(0.0, deadline - time.monotonic())))
                except queue.Empty:
                    break
            closing = batch[-1] is None
            entries = [dg.serialize_value(entry) for entry in batch if entry is not None]
            if entries and self._failed is None:
                self._write(json.dumps(entries).encode())

    def _write(self, chunk: bytes) -> None:
        deadline, delay = time.monotonic() + _GIVE_UP_S, 0.5
        while True:
            try:
                self._channel.put(chunk_key(self.chunks), chunk)
            except ChannelUnavailable as e:
                if time.monotonic() > deadline:
                    self._failed = e
                    return
                time.sleep(delay)
                delay = min(delay * 2, 15)
            else:
                self.chunks += 1
                return


class EventReader:
    """Reads the chunks of a channel in order, each once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.chunks = 0

    def read(self) -> list[dg.EventLogEntry]:
        """The entries of the next chunk; empty when it is not there yet."""
        data = self._channel.get(chunk_key(self.chunks))
        if data is None:
            return []
        self.chunks += 1
        return [dg.deserialize_value(entry, dg.EventLogEntry) for entry in json.loads(data)]
