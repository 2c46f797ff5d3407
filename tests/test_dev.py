"""`sentinel dev`: the pages answer, a run launched there works, and nothing outlives the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

SENTINEL = Path(sys.executable).with_name("sentinel")


def _alive(home: Path) -> list[str]:
    """Processes whose command line or environment names this home."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if str(home).encode() in text:
            found.append(f"{entry.name}: {text[:200]!r}")
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("means", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_the_pages_answer_and_nothing_is_left(tmp_path: Path, database_url: str, means: signal.Signals) -> None:
    """Ctrl-C, a service manager's SIGTERM, and kill -9."""
    home = tmp_path / "home"
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    process = subprocess.Popen(
        [str(SENTINEL), "dev"],
        env={**environment, "SENTINEL_HOME": str(home), "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+", first)
    assert address, first + process.communicate()[1]
    with urllib.request.urlopen(f"{address[0]}/server_info", timeout=10) as answer:  # noqa: S310 - our own loopback address
        assert answer.status == 200
    process.send_signal(means)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while (left := _alive(home)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
