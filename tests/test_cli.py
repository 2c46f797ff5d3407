"""The command line's own part: what is misused is refused with exit code 2, before anything is opened or written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.builders.machine import SENTINEL

MISUSED = [
    pytest.param(["analyze"], "Missing argument", id="no video"),
    pytest.param(["analyze", "shop.mp4", "--rate", "0"], "more than 0", id="no sample ever"),
    pytest.param(["analyze", "shop.mp4", "--rate", "nan"], "more than 0", id="a rate that is no number"),
    pytest.param(["analyze", "shop.mp4", "--rate", "31"], "at most 30", id="a rate beyond the frames"),
    pytest.param(["search", " "], "nothing to search for", id="a blank search"),
    pytest.param(["search", "fall", "--limit", "0"], "1<=x<=500", id="no hit wanted"),
    pytest.param(["search", "fall", "--type", "flying"], "is not one of", id="an unknown event"),
    pytest.param(["search", "fall", "--from", "noon"], "no time", id="a time that is none"),
    pytest.param(["dev", "--port", "99999"], "1<=x<=65535", id="a port that is none"),
    pytest.param(["dance"], "No such command", id="an unknown command"),
]


@pytest.mark.parametrize(("arguments", "said"), MISUSED)
def test_what_is_misused_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Exit code 2, nothing on stdout, no traceback, and no home is made."""
    home = tmp_path / "home"
    done = subprocess.run(
        [str(SENTINEL), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "SENTINEL_HOME": str(home), "DATABASE_URL": "postgresql://127.0.0.1:1/none"},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not home.exists()
