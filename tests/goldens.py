"""Recorded results: compared by every run, written anew by `pytest --update-goldens`, reviewed as a diff."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    update: bool

    def check(self, name: str, value: Any) -> None:
        """Fail with a readable difference unless `value` is the recorded one."""
        path = FOLDER / name
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if self.update:
            path.write_text(text)
        assert path.exists(), f"{path} is not recorded yet: run pytest --update-goldens and look at it"
        assert json.loads(path.read_text()) == json.loads(text), (
            f"differs from {path}; if that is meant: --update-goldens"
        )
