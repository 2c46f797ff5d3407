"""The README's commands, its query and its table of settings, as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from resources import cameras, settings, weights
from sentinel_assets import parameters
from sentinel_assets.cli import cli
from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.systems import system

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
ANALYZE = ".venv/bin/sentinel analyze shop-1.mp4 shop-2.mkv"
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith(".venv/bin/sentinel ")]


@dataclass(frozen=True)
class Shop:
    """A machine on which the README's analysis was run, in the folder of its two videos."""

    machine: Machine
    folder: Path

    def run(self, command: str, *more: str) -> Any:
        return self.machine.run(*shlex.split(command)[1:], *more, cwd=self.folder)


@pytest.fixture(scope="module")
def shop(people: Path, tmp_path_factory: pytest.TempPathFactory, fresh_database: Any) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    shutil.copy(people, folder / "shop-1.mp4")
    cut(people, folder / "shop-2.mkv", seconds=2)
    with fresh_database() as url:
        shop = Shop(Machine(tmp_path_factory.mktemp("home"), url), folder)
        done = shop.run(ANALYZE)
        assert done.returncode == 0, done.stderr
        yield shop


def test_the_readme_has_an_analysis_and_the_system() -> None:
    """The other commands need the videos of the analysis; the system has a test of its own."""
    assert ANALYZE in COMMANDS
    assert ".venv/bin/sentinel dev" in COMMANDS


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != ANALYZE and not c.endswith(" dev")])
def test_a_command_of_the_readme_works(shop: Shop, command: str) -> None:
    """For people, and as JSON for programs; nothing on stderr."""
    done = shop.run(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert isinstance(json.loads(shop.run(command, "--json").stdout), list)


@pytest.mark.drill
def test_the_system_of_the_readme(tmp_path: Path) -> None:
    """`dev` prints what stands there, but for ports and keys."""
    with system(tmp_path / ".sentinel", cwd=tmp_path) as running:
        (shown,) = re.findall(r"```\n(Dagster UI .*?)```", README, flags=re.DOTALL)
        assert anyones(running.said) == anyones(shown)


def anyones(said: str) -> list[str]:
    """Lines without what differs from start to start."""
    return re.sub(r"LOCAL[0-9A-F]{16}", "KEY", re.sub(r":\d{4,5}", ":PORT", said)).rstrip().splitlines()


def test_search_finds_what_was_seen_and_filters_hold(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same events from both videos; each filter leaves only what passes it."""
    for name, value in shop.machine.environment.items():
        monkeypatch.setenv(name, value)

    def found(*options: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(cli, ["search", "a person walking", "--json", *options])
        assert done.exit_code == 0, done.output
        return list(json.loads(done.stdout))

    everything = found()
    assert {hit["video_name"] for hit in everything} == {"shop-1.mp4", "shop-2.mkv"}
    assert all(-1 <= hit["similarity"] <= 1 for hit in everything)
    kinds = {hit["event"]["event_type"] for hit in everything}
    for kind in kinds:
        assert {hit["event"]["event_type"] for hit in found("--type", kind)} == {kind}
    assert {hit["video_name"] for hit in found("--video", "shop-1.mp4")} == {"shop-1.mp4"}
    assert all(hit["event"]["confidence"] >= 0.9 for hit in found("--min-confidence", "0.9"))
    assert all(hit["event"]["end_s"] >= 2 for hit in found("--from", "0:02"))
    assert all(hit["event"]["gender"] == "unknown" for hit in found("--gender", "unknown"))
    assert all(hit["event"]["age"] >= 30 for hit in found("--min-age", "30"))
    assert found("--min-age", "119") == []
    assert len(found("--limit", "1")) == 1


def test_the_query_of_the_readme_finds_the_rows_of_an_old_model(shop: Shop) -> None:
    """Which rows came from that model: one query, all of them here."""
    (query,) = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)
    with psycopg.connect(shop.machine.database_url) as connection:
        rows = connection.execute(query).fetchall()
        (total,) = connection.execute("SELECT count(*) FROM events").fetchone() or (0,)
    assert sum(count for _, count in rows) == total > 0


def test_the_settings_of_the_readme_are_those_that_are_read() -> None:
    """No variable is missing from the table, and none stands there for nothing."""
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", README, flags=re.MULTILINE))
    source = "".join(Path(module.__file__ or "").read_text() for module in (cameras, parameters, settings, weights))
    read = set(re.findall(r'"(SENTINEL_[A-Z_]+|DATABASE_URL)"', source))
    not_of_one_name = {"SENTINEL_MODEL_"}  # of a role; the text has it
    assert listed == read - not_of_one_name
