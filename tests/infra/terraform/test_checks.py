"""What Terraform itself and a static policy checker say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.builders.terraform import ROOT, STATIC_PASSWORD, plugin_folder, workspace

_EXCEPTIONS = Path(__file__).with_name("exceptions.yaml")


def test_it_is_formatted() -> None:
    plugin_folder()
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", ROOT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.drill
def test_it_is_valid_and_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    """`validate` as it is; `terraform test` with a mock provider and no account: figures, and bad variables refused."""
    (tmp_path / "as-it-is").mkdir()
    said = json.loads(workspace(tmp_path / "as-it-is", {}).must("validate", "-json"))
    assert said["valid"]
    assert said["diagnostics"] == []
    (tmp_path / "mocked").mkdir()
    printed = workspace(tmp_path / "mocked", STATIC_PASSWORD).must("test", "-no-color", timeout_s=900)
    passed = re.search(r"Success! (\d+) passed, 0 failed\.", printed)
    assert passed is not None, printed
    assert int(passed[1]) == sum(path.read_text().count('\nrun "') for path in ROOT.glob("tests/*.hcl"))


@pytest.mark.drill
def test_a_policy_checker_finds_only_what_is_explained() -> None:
    """checkov, from a virtual environment of its own (SENTINEL_CHECKOV): its dependencies clash with ours."""
    import yaml

    checkov = os.environ.get("SENTINEL_CHECKOV") or shutil.which("checkov")
    if checkov is None:
        pytest.skip("no checkov (SENTINEL_CHECKOV names its command)")
    command = [
        checkov,
        "-d",
        str(ROOT),
        "--framework",
        "terraform",
        "--skip-download",
        "--compact",
        "--quiet",
        "-o",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    report = json.loads(done.stdout)
    explained = yaml.safe_load(_EXCEPTIONS.read_text())
    found = {(c["check_id"], c["resource"].partition("[")[0]) for c in report["results"]["failed_checks"]}
    assert report["summary"]["passed"] > 100
    assert found == {(one["check"], resource) for one in explained for resource in one["resources"]}
    assert all(len(one["why"]) > 40 for one in explained)
