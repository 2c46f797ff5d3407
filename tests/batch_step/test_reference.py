"""What crosses the wire is JSON, and is taken only by the code that wrote it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from batch_step.dagster_internals import KnownExecutionState, RetryMode, StepRunRef
from batch_step.errors import CodeMismatch, ReferenceInvalid
from batch_step.reference import CodeVersion, StepReference, packages_of, sources_digest
from tests.batch_step.runs import MODULE, reconstructable

HERE = CodeVersion.of_packages(["batch_step"])


def reference(code: CodeVersion = HERE) -> StepReference:
    run = dg.DagsterRun(job_name="__ASSET_JOB", run_id="r-1", tags={"dagster/partition": "가"})
    step = StepRunRef(
        run_config={"resources": {}},
        dagster_run=run,
        run_id="r-1",
        retry_mode=RetryMode.DEFERRED,
        step_key="op[x]",
        recon_job=reconstructable("remote"),
        known_state=KnownExecutionState(),
    )
    return StepReference(step, {"videos": ["가", "b"]}, code, 60.0, 3.5, 7.0, {"rate": 5.0, "names": ["가"]})


def test_a_reference_comes_back_as_it_was() -> None:
    assert StepReference.load(reference().dump()) == reference()


def test_a_reference_is_json_that_a_person_can_read() -> None:
    message = json.loads(reference().dump())
    assert message["step_key"] == "op[x]"
    assert message["partitions"] == {"videos": ["가", "b"]}


class _Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/never"),))  # noqa: S108 - never made


@pytest.mark.parametrize("data", [pickle.dumps(_Evil()), b"{}", b'{"format": 0}', b"[]", b""])
def test_anything_else_is_refused_and_not_executed(data: bytes) -> None:
    with pytest.raises(ReferenceInvalid):
        StepReference.load(data)
    assert not Path("/tmp/never").exists()  # noqa: S108


MISMATCHES = [
    (CodeVersion("sources", "0" * 16, ("batch_step",)), "the sources of batch_step"),
    (CodeVersion("sources", "x", ("no_such_package",)), "no package 'no_such_package'"),
    (CodeVersion("named", "git-1"), "launched from git-1, the image has git-2"),
    (CodeVersion("named", "git-2", dagster="1.12.0"), "launched by Dagster 1.12.0"),
]


@pytest.mark.parametrize(("code", "why"), MISMATCHES)
def test_other_code_is_refused(code: CodeVersion, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_STEP_CODE_VERSION", "git-2")
    with pytest.raises(CodeMismatch, match=why):
        StepReference.load(reference(code).dump())


def test_the_named_version_of_the_image_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_STEP_CODE_VERSION", "git-2")
    assert StepReference.load(reference(CodeVersion("named", "git-2")).dump()).code.value == "git-2"


@pytest.mark.parametrize("file", ["more.py", "models.yaml"])
def test_sources_differ_when_a_file_does(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, or the configuration beside it: other weights would give other results under the same name."""
    (tmp_path / "toy_package").mkdir()
    (tmp_path / "toy_package" / "__init__.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "toy_package" / "notes.txt").write_text("not read by anything")
    before = sources_digest.__wrapped__(("toy_package",))
    assert sources_digest.__wrapped__(("toy_package",)) == before
    (tmp_path / "toy_package" / file).write_text("")
    assert sources_digest.__wrapped__(("toy_package",)) != before


def test_the_code_location_is_the_package_around_its_module() -> None:
    assert packages_of(reconstructable("remote")) == (MODULE.rpartition(".")[0],)
