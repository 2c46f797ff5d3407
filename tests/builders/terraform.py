"""Terraform as a test runs it: on a copy, with the provider plugin of this machine, without network."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = CHECKOUT / "infra" / "terraform"
_FINDER = CHECKOUT.parent / "shared" / "find-terraform-plugins"

_ATTEMPTS = 3  # it walks the whole disk, and fails without a word where another process deletes a folder under it

# Mock providers have no ephemeral resources (Terraform 1.11), so the file that has one is another one there.
STATIC_PASSWORD = {"modules/database/password.tf": 'locals {\n  password = "not-a-password"\n}\n'}


@dataclass(frozen=True)
class Workspace:
    """A copy of infra/terraform, initialised."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """terraform with these arguments; whatever its exit code."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def must(self, *arguments: str, timeout_s: float = 600) -> str:
        """What terraform prints; fails the test with what it says of an error."""
        done = self.run(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout


@cache
def plugin_folder() -> str:
    """For `init -plugin-dir`; skips where this machine has no terraform or no plugin. Looked for once."""
    if shutil.which("terraform") is None:
        pytest.skip("no terraform on this machine")
    given = os.environ.get("SENTINEL_TERRAFORM_PLUGINS")
    if given:
        return given
    if not _FINDER.exists():
        pytest.skip("no folder of provider plugins (SENTINEL_TERRAFORM_PLUGINS)")
    for _ in range(_ATTEMPTS):
        found = subprocess.run([_FINDER], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
        if found.stderr:
            break
    pytest.skip(found.stderr.strip() or f"{_FINDER} failed {_ATTEMPTS} times without a word")


def workspace(folder: Path, replaced: dict[str, str], *, backend: bool = False) -> Workspace:
    """`replaced`: files of the copy that are other than in the checkout, by path."""
    plugins = plugin_folder()
    shutil.copytree(ROOT, folder / "terraform", ignore=shutil.ignore_patterns(".terraform"))
    shutil.copytree(ROOT.parent / "ami", folder / "ami")
    for path, text in replaced.items():
        (folder / "terraform" / path).write_text(text)
    configuration = folder / "terraformrc"
    configuration.write_text("disable_checkpoint = true\n")
    made = Workspace(folder / "terraform", {"TF_CLI_CONFIG_FILE": str(configuration), "TF_IN_AUTOMATION": "1"})
    made.must("init", f"-plugin-dir={plugins}", f"-backend={str(backend).lower()}", "-input=false", "-no-color")
    return made
