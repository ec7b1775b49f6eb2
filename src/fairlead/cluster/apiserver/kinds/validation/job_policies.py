"""What is wrong with a Job's policies: of failed pods, of single indexes, of success.

In: the spec of a Job with defaults. Out: FieldErrors. Source: validatePodFailurePolicy, validateSuccessPolicy and
validateJobSpec of k8s.io/kubernetes/pkg/apis/batch/validation/validation.go.
"""

import re

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, invalid, required
from fairlead.cluster.apiserver.kinds.validation.fields import Found, one_of
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_INDEXED = "requires indexed completion mode"
_INDEXES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def job_policy_rules(spec: Document, path: str) -> Found:
    """Judge the policies of a Job's spec."""
    indexed = text_at(spec, "completionMode") == "Indexed"
    per_index = number_at(spec, "backoffLimitPerIndex")
    if per_index is not None and not indexed:
        yield invalid(f"{path}.backoffLimitPerIndex", per_index, _INDEXED)
    if spec.get("maxFailedIndexes") is not None and per_index is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    policy, replacement = spec.get("podFailurePolicy"), text_at(spec, "podReplacementPolicy")
    if isinstance(policy, dict):
        yield from _failure_policy(policy, spec, path)
    if replacement:
        supported = ("Failed",) if policy is not None else ("Failed", "TerminatingOrFailed")
        yield from one_of(f"{path}.podReplacementPolicy", replacement, supported)
    if isinstance(success := spec.get("successPolicy"), dict):
        if not indexed:
            yield invalid(f"{path}.successPolicy", success, _INDEXED)
        else:
            yield from _success_policy(success, spec, f"{path}.successPolicy")


def _failure_policy(policy: Document, spec: Document, path: str) -> Found:
    restart = text_at(spec, "template", "spec", "restartPolicy")
    if restart != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid(f"{path}.template.spec.restartPolicy", restart, detail)
    names = {
        text_at(each, "name")
        for field in ("containers", "initContainers")
        for each in children(mapping_at(spec, "template", "spec"), field)
    }
    for index, rule in enumerate(children(policy, "rules")):
        spot = f"{path}.podFailurePolicy.rules[{index}]"
        action = text_at(rule, "action")
        if not action:
            yield required(f"{spot}.action", "valid values: " + ", ".join(f'"{each}"' for each in _ACTIONS))
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            yield invalid(f"{spot}.action", action, "requires the backoffLimitPerIndex to be set")
        else:
            yield from one_of(f"{spot}.action", action, _ACTIONS)
        codes, conditions = rule.get("onExitCodes"), children(rule, "onPodConditions")
        if isinstance(codes, dict):
            yield from _exit_codes(codes, f"{spot}.onExitCodes", names)
            if conditions:
                yield invalid(spot, "", "specifying both OnExitCodes and OnPodConditions is not supported")
        elif not conditions:
            yield invalid(spot, "", "specifying one of OnExitCodes and OnPodConditions is required")
        for number, condition in enumerate(conditions):
            supported = ("False", "True", "Unknown")
            yield from one_of(f"{spot}.onPodConditions[{number}].status", text_at(condition, "status"), supported)


def _exit_codes(codes: Document, path: str, names: set[str]) -> Found:
    operator, values = text_at(codes, "operator"), items_at(codes, "values")
    yield from one_of(f"{path}.operator", operator, ("In", "NotIn"))
    container = text_at(codes, "containerName")
    if container and container not in names:
        yield invalid(
            f"{path}.containerName",
            container,
            "must be one of the container or initContainer names in the pod template",
        )
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    for index, value in enumerate(values):
        if value in values[:index]:
            yield duplicate(f"{path}.values[{index}]", value)
        if value == 0 and operator == "In":
            yield invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")


def _success_policy(policy: Document, spec: Document, path: str) -> Found:
    rules = children(policy, "rules")
    if not rules:
        yield required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    completions = number_at(spec, "completions") or 0
    for index, rule in enumerate(rules):
        spot = f"{path}.rules[{index}]"
        count, indexes = number_at(rule, "succeededCount"), text_at(rule, "succeededIndexes")
        if count is None and not indexes:
            yield required(spot, "at least one of succeededCount or succeededIndexes must be specified")
        if indexes and not _INDEXES.fullmatch(indexes):
            yield invalid(
                f"{spot}.succeededIndexes",
                indexes,
                "error parsing succeededIndexes: cannot convert string to integer for index",
            )
        if count is not None and count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            yield invalid(f"{spot}.succeededCount", count, detail)
