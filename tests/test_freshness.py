"""What is out of date is decided by comparing levels: what is there against what would be made now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from sentinel_assets.freshness import (
    DEPENDENCIES,
    Output,
    Reason,
    assess,
    digests,
    inputs_now,
    latest_output,
    out_of_date,
    recipes_in_place,
)
from sentinel_assets.recipes import Version, recipe
from sentinel_assets.vision.errors import ArtifactMissing

ALL = list(DEPENDENCIES)


def _fresh() -> dict[str, Output | None]:
    outputs: dict[str, Output | None] = {"video": Output(recipe="", version="sha256:aa")}
    for asset in DEPENDENCIES:
        versions = {name: output.version if output else None for name, output in outputs.items()}
        digest = recipe(asset).digest
        outputs[asset] = Output(digest, str(Version(digest, "c1", inputs_now(asset, versions))))
    return outputs


def _by_another_recipe(output: Output | None) -> Output:
    """The same content from the same inputs, made by a recipe of once."""
    assert output is not None
    version = replace(Version.parse(output.version), recipe="0" * 12)
    return replace(output, recipe=version.recipe, version=str(version))


def _stored(_asset: str, _output: Output) -> bool:
    return True


def test_nothing_is_made_again_when_all_is_as_it_would_be_made() -> None:
    """The second analysis of an unchanged video takes no model."""
    assert list(out_of_date(_fresh(), _stored)) == []


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ("detections", ALL),
        ("poses", ["poses", "behaviors", "descriptions", "embeddings", "events"]),  # but not detections
        ("demographics", ["demographics", "descriptions", "embeddings", "events"]),  # but not behaviors
        ("behaviors", ["behaviors", "descriptions", "embeddings", "events"]),
        ("embeddings", ["embeddings", "events"]),
        ("events", ["events"]),
    ],
)
@pytest.mark.parametrize("fault", ["other recipe", "never made", "object gone"])
def test_an_asset_and_what_follows_is_made_again(asset: str, expected: list[str], fault: str) -> None:
    """Made by another recipe, never made, or lost from its store."""
    outputs = _fresh()
    if fault == "other recipe":
        outputs[asset] = _by_another_recipe(outputs[asset])
    if fault == "never made":
        outputs[asset] = None
    stored = _stored if fault != "object gone" else lambda name, _: name != asset
    assert list(out_of_date(outputs, stored)) == expected


def test_another_content_of_the_footage_makes_all_again() -> None:
    """A re-upload under the same name."""
    assert list(out_of_date({**_fresh(), "video": Output("", "sha256:bb")}, _stored)) == ALL


def test_going_back_makes_old_outputs_fresh_again() -> None:
    """Levels are compared, not changes: the same outputs under the same recipes are fresh whatever was in between."""
    outputs = _fresh()
    stale = dict(outputs, poses=_by_another_recipe(outputs["poses"]))
    assert out_of_date(stale, _stored)
    assert not out_of_date(outputs, _stored)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_dagster_records_versions_as_we_read_them(instance: dg.DagsterInstance) -> None:
    """The tags of a real materialization, by real Dagster, lead to the same comparison."""
    videos = dg.DynamicPartitionsDefinition(name="v")

    @dg.asset(partitions_def=videos, code_version="c1")
    def made() -> dg.MaterializeResult[int]:
        return dg.MaterializeResult(value=1, data_version=dg.DataVersion("c1-1-i"), metadata={"dagster/row_count": 4})

    instance.add_dynamic_partitions("v", ["7"])
    assert dg.materialize([made], partition_key="7", instance=instance).success
    assert latest_output(instance, "made", "7") == Output(recipe="c1", version="c1-1-i", rows=4)


def _versions(**changed: str | None) -> dict[str, str | None]:
    return {name: output.version if output else None for name, output in _fresh().items()} | changed


def test_what_follows_on_an_output_that_came_out_the_same_stays() -> None:
    """Poses made anew, by another recipe now current, with the content of before: their readers are up to date."""
    versions = _versions()
    poses = replace(Version.parse(versions["poses"] or ""), recipe="a" * 12)
    assert assess(versions | {"poses": str(poses)}, digests() | {"poses": "a" * 12}) == {}


def test_rows_are_published_again_for_vectors_of_another_recipe() -> None:
    """The same numbers by another encoder's name: search tells vectors apart by what the rows say made them."""
    vectors = replace(Version.parse(_versions()["embeddings"] or ""), recipe="a" * 12)
    found = assess(_versions(embeddings=str(vectors)), digests() | {"embeddings": "a" * 12})
    assert found == {"events": Reason.INPUT}


@pytest.mark.parametrize("version", ["", "r", "r-c"])
def test_a_version_of_an_older_form_is_out_of_date(version: str) -> None:
    """What does not say what it was made from cannot be known to be current."""
    text = version.replace("r", recipe("events").digest)
    assert list(assess(_versions(events=text), digests())) == ["events"]


def test_what_was_made_is_named_by_the_recipe_that_made_it(instance: dg.DagsterInstance) -> None:
    """Not by that of today: of each output the latest counts, and an unknown one is refused, not guessed."""
    made = {"dagster/code_version": "0" * 12}
    for tags in ({"dagster/code_version": "f" * 12}, made):
        instance.report_runless_asset_event(dg.AssetMaterialization("poses", partition="7", tags=tags))
    assert recipe("poses").digest not in made.values()
    assert recipes_in_place(instance, "7", ["poses"]) == {"poses": "0" * 12}
    with pytest.raises(ArtifactMissing, match="embeddings"):
        recipes_in_place(instance, "7", ["poses", "embeddings"])
