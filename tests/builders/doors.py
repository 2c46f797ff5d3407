"""A door before a server: open, shut as if nothing listened there, or such that what comes in is never answered."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

State = Literal["open", "shut", "mute"]


class TcpDoor:
    """Passes each connection on to the server at `address`, as long as it is open. Its own `address` stays."""

    def __init__(self, address: str) -> None:
        there = urlsplit(address)
        self._there = str(there.hostname), int(there.port or 80)
        self._listener: socket.socket | None = None
        self._port = 0
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._state: State = "shut"
        self.came = 0
        """Connections so far, those that are left without an answer included."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    def open(self) -> None:
        """For who comes from now on; who was let in and not answered goes on waiting."""
        self._listen("open")

    def mute(self) -> None:
        """Who comes is let in and hears nothing."""
        self.shut()
        self._listen("mute")

    def shut(self) -> None:
        """Connections are refused from now on, and those that stand are broken."""
        with self._lock:
            self._state = "shut"
            listener, self._listener = self._listener, None
            connections, self._connections = self._connections, []
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _listen(self, state: State) -> None:
        self._state = state
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self._listener, self._port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                came, _ = listener.accept()
            except OSError:
                return  # shut
            self.came += 1
            if not self._keep(listener, came) or self._state == "mute":
                continue
            there = socket.create_connection(self._there)
            if self._keep(listener, there):
                for source, target in ((came, there), (there, came)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()

    def _keep(self, listener: socket.socket, connection: socket.socket) -> bool:
        """Whether the door still stands open; one that came just as it was shut is broken like those before it."""
        with self._lock:
            if listener is self._listener:
                self._connections.append(connection)
                return True
        connection.close()
        return False


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
