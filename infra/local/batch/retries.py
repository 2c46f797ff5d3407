"""Whether a failed attempt is followed by another: retryStrategy and its evaluateOnExit rules."""

from __future__ import annotations

from infra.local.batch.limits import Json


def is_retried(strategy: Json, attempts_made: int, exit_code: int | None, reason: str, status_reason: str) -> bool:
    """The first rule all of whose patterns match decides; if none does, the job is retried (service model).

    A pattern matches the whole text, or, with an asterisk at its end, its beginning; case does not count. `*` matches
    what is absent too: AWS's guide closes its example with `{"onReason": "*", "action": "EXIT"}`, "for any reason".
    """
    if attempts_made >= strategy.get("attempts", 1):
        return False
    found = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason,
        "onStatusReason": status_reason,
    }
    for rule in strategy.get("evaluateOnExit", []):
        if all(_matches(rule[key], text) for key, text in found.items() if key in rule):
            return str(rule["action"]).upper() == "RETRY"
    return True


def _matches(pattern: str, text: str) -> bool:
    pattern, text = pattern.lower(), text.lower()
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
