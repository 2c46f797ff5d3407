"""The dynamic partitions that a step can see. They live in the instance, which the worker does not reach, so the host
sends them along. Dagster's own reference adds one key, of the first output: with no more, a range fails, and a fan-in
over all partitions succeeds with nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from batch_step.dagster_internals import partition_loading_context


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
