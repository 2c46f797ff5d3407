"""What is out of date is decided by comparing levels: what is there against what would be made now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from sentinel_assets.freshness import (
    DEPENDENCIES,
    Output,
    latest_output,
    out_of_date,
    recipes_in_place,
    recorded_input,
)
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.errors import ArtifactMissing

ALL = list(DEPENDENCIES)


def _fresh() -> dict[str, Output | None]:
    outputs: dict[str, Output | None] = {"video": Output(recipe="", version="sha256:aa", inputs={})}
    for asset, upstream in DEPENDENCIES.items():
        inputs = {name: recorded_input(outputs[name].version) for name in upstream}  # type: ignore[union-attr]
        outputs[asset] = Output(recipe=recipe(asset).digest, version=f"{recipe(asset).digest}-1", inputs=inputs)
    return outputs


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
        outputs[asset] = replace(outputs[asset], recipe="0" * 12)  # type: ignore[type-var]
    if fault == "never made":
        outputs[asset] = None
    stored = _stored if fault != "object gone" else lambda name, _: name != asset
    assert list(out_of_date(outputs, stored)) == expected


def test_another_content_of_the_footage_makes_all_again() -> None:
    """A re-upload under the same name."""
    assert list(out_of_date({**_fresh(), "video": Output("", "sha256:bb", {})}, _stored)) == ALL


def test_going_back_makes_old_outputs_fresh_again() -> None:
    """Levels are compared, not changes: the same outputs under the same recipes are fresh whatever was in between."""
    outputs = _fresh()
    stale = dict(outputs, poses=replace(outputs["poses"], recipe="0" * 12))  # type: ignore[type-var]
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
    def below(above: int) -> None: ...

    @dg.asset(partitions_def=videos)
    def above() -> dg.MaterializeResult[int]:
        return dg.MaterializeResult(value=1, data_version=dg.DataVersion("r-1"), metadata={"dagster/row_count": 4})

    instance.add_dynamic_partitions("v", ["7"])
    assert dg.materialize([above, below], partition_key="7", instance=instance).success
    upstream, downstream = (latest_output(instance, name, "7") for name in ("above", "below"))
    assert upstream is not None
    assert downstream is not None
    assert (upstream.version, upstream.rows) == ("r-1", 4)
    assert downstream.recipe == "c1"
    assert downstream.inputs == {"above": recorded_input("r-1")}


def test_what_was_made_is_named_by_the_recipe_that_made_it(instance: dg.DagsterInstance) -> None:
    """Not by that of today: of each output the latest counts, and an unknown one is refused, not guessed."""
    made = {"dagster/code_version": "0" * 12}
    for tags in ({"dagster/code_version": "f" * 12}, made):
        instance.report_runless_asset_event(dg.AssetMaterialization("poses", partition="7", tags=tags))
    assert recipe("poses").digest not in made.values()
    assert recipes_in_place(instance, "7", ["poses"]) == {"poses": "0" * 12}
    with pytest.raises(ArtifactMissing, match="embeddings"):
        recipes_in_place(instance, "7", ["poses", "embeddings"])
