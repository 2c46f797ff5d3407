"""The dynamic partitions that a step can see, and those that it adds. They live in the instance, which the worker does
not reach: the host sends them along, and the worker sends changes back. Dagster's own reference adds one key, of the
first output: with no more, a range fails, and a fan-in over all partitions succeeds with nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import dagster as dg

from batch_step.dagster_internals import EngineEventData, partition_loading_context

_KEY = "batch_step/partitions"


def dynamic_partitions_of(context: dg.StepExecutionContext) -> dict[str, list[str]]:
    """Keys by definition name, of the step's outputs and inputs, in the definition's order: ranges need it."""
    needed: dict[str, dict[str, None]] = {}
    definition = context.entity_partitions_def
    if definition is not None and context.has_partitions:
        with partition_loading_context(dynamic_partitions_store=context.instance):
            _add(needed, definition, definition.get_partition_keys_in_range(context.partition_key_range))
    layer = context.job_def.asset_layer
    for name in context.op_def.input_dict:
        if context.has_asset_partitions_for_input(name):
            key = layer.get_asset_key_for_node_input(context.node_handle, name)
            upstream = layer.get(key).partitions_def if key is not None else None
            if upstream is not None:
                _add(needed, upstream, context.asset_partitions_subset_for_input(name).get_partition_keys())
    return {name: _in_order(context.instance, name, keys) for name, keys in needed.items()}


def _add(needed: dict[str, dict[str, None]], definition: dg.PartitionsDefinition, keys: Iterable[str]) -> None:
    if isinstance(definition, dg.DynamicPartitionsDefinition) and definition.name:
        needed.setdefault(definition.name, {}).update(dict.fromkeys(keys))
    elif isinstance(definition, dg.MultiPartitionsDefinition):
        for dimension in definition.partitions_defs:
            mine = (k.keys_by_dimension[dimension.name] for k in keys if isinstance(k, dg.MultiPartitionKey))
            _add(needed, dimension.partitions_def, list(mine))


def _in_order(instance: dg.DagsterInstance, name: str, keys: dict[str, None]) -> list[str]:
    if len(keys) == 1:
        return list(keys)
    stored = [key for key in instance.get_dynamic_partitions(name) if key in keys]
    return stored + sorted(keys.keys() - set(stored))


@contextmanager
def relayed_changes(context: dg.StepExecutionContext) -> Iterator[None]:
    """The worker's: partitions that the step adds to its throw-away instance, or deletes, are told to the host in the
    order of the step's events."""
    instance: Any = context.instance
    add, delete = instance.add_dynamic_partitions, instance.delete_dynamic_partition

    def tell(change: Literal["added", "deleted"], definition: str, keys: list[str]) -> None:
        message = f"{change.capitalize()} {len(keys)} of the partitions {definition}: {', '.join(keys[:10])}"
        value = dg.MetadataValue.json({"definition": definition, change: keys})
        dg.DagsterEvent.engine_event(context, message, EngineEventData({_KEY: value}))

    def add_and_tell(partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        add(partitions_def_name, partition_keys)
        tell("added", partitions_def_name, list(partition_keys))

    def delete_and_tell(partitions_def_name: str, partition_key: str) -> None:
        delete(partitions_def_name, partition_key)
        tell("deleted", partitions_def_name, [partition_key])

    instance.add_dynamic_partitions, instance.delete_dynamic_partition = add_and_tell, delete_and_tell
    try:
        yield
    finally:
        del instance.add_dynamic_partitions, instance.delete_dynamic_partition


def apply_change(instance: dg.DagsterInstance, entry: dg.EventLogEntry) -> None:
    """The host's: does to its own instance what such an event tells; other entries are left alone."""
    event = entry.dagster_event
    if event is None or event.event_type is not dg.DagsterEventType.ENGINE_EVENT:
        return
    change = event.engine_event_data.metadata.get(_KEY)
    if not isinstance(change, dg.JsonMetadataValue) or not isinstance(change.data, dict):
        return
    definition = str(change.data["definition"])
    if added := change.data.get("added"):
        instance.add_dynamic_partitions(definition, list(added))
    for key in change.data.get("deleted", []):
        instance.delete_dynamic_partition(definition, key)
