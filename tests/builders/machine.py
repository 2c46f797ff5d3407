"""The command line on a machine of its own: a home that nobody else uses, and a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SENTINEL = Path(sys.executable).with_name("sentinel")
TIMEOUT_S = 300  # generous: two cores may be shared with everything else that the suite runs


@dataclass(frozen=True)
class Machine:
    """A home of its own, as on a fresh machine, and the command line in it."""

    home: Path
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        own = {"SENTINEL_HOME": str(self.home), "DATABASE_URL": self.database_url, "SENTINEL_PROFILE": "cpu"}
        return {**{k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}, **own}

    def run(
        self, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [str(SENTINEL), *map(str, arguments)]
        environment = {**self.environment, **(env or {})}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=TIMEOUT_S, check=False
        )

    def analyze(self, *arguments: object) -> list[dict[str, Any]]:
        done = self.run("analyze", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["videos"])

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The video's events, without what each analysis gives anew."""
        done = self.run("events", name, "--json")
        assert done.returncode == 0, done.stderr
        return [
            {k: v for k, v in e.items() if k not in ("id", "video_id", "created_at")} for e in json.loads(done.stdout)
        ]

    def status(self, name: str) -> dict[str, Any]:
        done = self.run("status", name, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)[0])
