"""`sentinel dev`: Dagster's pages and daemon over this machine's data, on loopback, ended however we end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from resources.settings import Settings
from resources.warehouse import connect
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.workplace import dagster_home

_START_S = 120.0  # until the pages answer; 12 to 32 s were seen on two busy cores
_STOP_S = 30.0  # `dagster dev` ends its own children one after the other
_WORKSPACE = "load_from:\n  - python_module: {module_name: sentinel_assets.definitions, location_name: sentinel}\n"


@contextmanager
def dagster_pages(settings: Settings, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Webserver and daemon while the context lasts; yields their address, once it answers, and the process."""
    with dagster_home(settings) as home, connect(settings):
        workspace = home / "workspace.yaml"
        workspace.write_text(_WORKSPACE)
        chosen = port or _free_port()
        log = (settings.home / "dagster.log").open("ab")
        command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(chosen)]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the children in their order
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no second thread runs yet
        )
        try:
            address = f"http://127.0.0.1:{chosen}"
            _wait_until_it_answers(address, process, Path(log.name))
            yield address, process
        finally:
            _stop(process)
            log.close()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the `with` blocks around us as Ctrl-C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise SentinelError("the Dagster UI did not start", where=address, remedy=f"Its own words are in {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_with_parent() -> None:
    """After kill -9 of this process the kernel interrupts the child (Linux; elsewhere it is found by `ps`)."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGINT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
