"""The policies of Jobs: what failed pods mean, limits for each index, success before all indexes are done."""

from typing import Any

import msgspec
import pytest

from fairlead.cluster.controllers import jobs
from fairlead.cluster.controllers.actions import Action, Again, Create, Delete, Patch
from fairlead.cluster.controllers.job_policies import FAILURES, is_ours
from fairlead.kube.batch import Job, JobSpec
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, items_at, mapping_at, text_at

NOW = 1_800_000_000.0
TEMPLATE: Document = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
INDEXED = {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1}
ON_42 = {"operator": "In", "values": [42]}


def pod(
    name: str,
    phase: str = "Running",
    *,
    code: int = 1,
    index: int | None = None,
    before: int = 0,
    conditions: tuple[str, ...] = (),
    going: bool = False,
    ended: str = "2027-01-15T07:00:00Z",
) -> Pod:
    notes = {} if index is None else {jobs.INDEX: str(index), FAILURES: str(before)}
    container = {"name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": ended}}}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "n",
        "uid": name,
        "annotations": notes,
        "finalizers": [jobs.FINALIZER],
    }
    if going:
        metadata["deletionTimestamp"] = "2027-01-15T07:00:00Z"
    status = {
        "phase": phase,
        "conditions": [{"type": each, "status": "True"} for each in conditions],
        "containerStatuses": [container] if phase == "Failed" else [],
    }
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}, Pod)


def work(spec: dict[str, Any], *pods: Pod, **status: Any) -> tuple[Action, ...]:
    whole = {"backoffLimit": 0 if "backoffLimitPerIndex" not in spec else 2**31 - 1, "parallelism": 1, **spec}
    job = msgspec.convert(
        {"metadata": {"name": "job", "namespace": "n", "uid": "u"}, "spec": whole, "status": status}, Job
    )
    return jobs.reconcile(jobs.JobView(job=job, template=TEMPLATE, pods=pods, now=NOW))


def status_of(actions: tuple[Action, ...]) -> Document:
    [patch] = [each.patch for each in actions if isinstance(each, Patch) and each.subresource == "status"]
    return mapping_at(patch, "status")


def ending(actions: tuple[Action, ...]) -> tuple[str, str, str] | None:
    conditions = items_at(status_of(actions), "conditions")
    if not conditions:
        return None
    last = conditions[-1]
    return text_at(last, "type"), text_at(last, "reason"), text_at(last, "message")


def made(actions: tuple[Action, ...]) -> dict[str, str]:
    """The pods to create, by their index, with the failures they are told of."""
    notes = (mapping_at(each.document, "metadata", "annotations") for each in actions if isinstance(each, Create))
    return {text_at(each, jobs.INDEX): text_at(each, FAILURES) for each in notes}


def policy(action: str, **rule: Any) -> dict[str, Any]:
    return {"completions": 1, "podFailurePolicy": {"rules": [{"action": action, **rule}]}}


@pytest.mark.parametrize(
    ("rule", "failed", "message"),
    [
        pytest.param(
            {"onExitCodes": ON_42},
            pod("a", "Failed", code=42),
            "Container c for pod n/a failed with exit code 42 matching FailJob rule at index 0",
            id="an exit code",
        ),
        pytest.param(
            {"onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
            pod("a", "Failed", code=3),
            "Container c for pod n/a failed with exit code 3 matching FailJob rule at index 0",
            id="any other exit code",
        ),
        pytest.param(
            {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            pod("a", "Failed", conditions=("DisruptionTarget",)),
            "Pod n/a has condition DisruptionTarget matching FailJob rule at index 0",
            id="a condition",
        ),
    ],
)
def test_a_failure_that_no_new_try_mends_ends_the_job_at_once(rule: dict[str, Any], failed: Pod, message: str) -> None:
    spec = {**policy("FailJob", **rule), "backoffLimit": 6}
    actions = work(spec, failed, pod("b"))
    assert ending(actions) == ("Failed", "PodFailurePolicy", message)
    assert [each.name for each in actions if isinstance(each, Delete)] == ["b"]


@pytest.mark.parametrize(
    "rule",
    [
        {"onExitCodes": ON_42},
        {"onExitCodes": {"operator": "NotIn", "values": [7]}},
        {"onExitCodes": {**ON_42, "values": [7], "containerName": "other"}},
        {"onPodConditions": [{"type": "DisruptionTarget", "status": "False"}]},
    ],
)
def test_a_failure_that_no_rule_means_counts(rule: dict[str, Any]) -> None:
    actions = work(policy("FailJob", **rule), pod("a", "Failed", code=7))
    assert ending(actions) == ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


def test_a_failure_that_is_ignored_is_tried_again_and_not_counted() -> None:
    actions = work(policy("Ignore", onExitCodes=ON_42), pod("a", "Failed", code=42))
    assert ending(actions) is None
    assert status_of(actions)["failed"] is None
    assert [each.name for each in actions if isinstance(each, Patch) and each.kind is Pod] == ["a"]


def test_with_a_policy_a_pod_that_goes_is_judged_by_its_end_and_replaced_after_it() -> None:
    spec = policy("Ignore", onPodConditions=[{"type": "DisruptionTarget"}])
    actions = work(spec, pod("a", going=True))
    assert ending(actions) is None
    assert not [each for each in actions if isinstance(each, Create)]
    assert ending(work(spec, pod("a", "Failed", going=True, conditions=("DisruptionTarget",)))) is None
    without = work({"completions": 1}, pod("a", going=True))
    assert ending(without) == ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


def test_a_replacement_may_wait_until_the_pod_before_has_ended() -> None:
    going = pod("a", going=True)
    assert len([each for each in work({"completions": 1, "backoffLimit": 3}, going) if isinstance(each, Create)]) == 1
    patient = {"completions": 1, "backoffLimit": 3, "podReplacementPolicy": "Failed"}
    assert not [each for each in work(patient, going) if isinstance(each, Create)]


def test_an_index_has_tries_of_its_own_and_the_others_go_on() -> None:
    once = pod("a", "Failed", index=0)
    actions = work(INDEXED, once, pod("b", index=1), pod("c", index=2))
    assert made(actions) == {"0": "1"}
    twice = pod("d", "Failed", index=0, before=1)
    actions = work(INDEXED, once, twice, pod("b", index=1), pod("c", index=2))
    assert (made(actions), status_of(actions)["failedIndexes"], ending(actions)) == ({}, "0", None)


def test_a_job_with_failed_indexes_fails_once_all_are_done_or_too_many_failed() -> None:
    done = {"completedIndexes": "1-2", "succeeded": 2, "failedIndexes": "0"}
    assert ending(work(INDEXED, **done)) == ("Failed", "FailedIndexes", "Job has failed indexes")
    strict = {**INDEXED, "maxFailedIndexes": 0}
    actions = work(strict, pod("d", "Failed", index=0, before=1), pod("b", index=1))
    told = "Job has exceeded the specified maximal number of failed indexes"
    assert ending(actions) == ("Failed", "MaxFailedIndexesExceeded", told)


def test_a_rule_may_give_an_index_up_at_its_first_failure() -> None:
    spec = {**INDEXED, "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": ON_42}]}}
    actions = work(spec, pod("a", "Failed", code=42, index=0), pod("b", index=1), pod("c", index=2))
    assert (made(actions), status_of(actions)["failedIndexes"]) == ({}, "0")


def test_an_index_that_failed_lately_waits_on_its_own() -> None:
    late = pod("a", "Failed", index=0, ended="2027-01-15T07:59:57Z")
    actions = work(INDEXED, late)
    assert sorted(made(actions)) == ["1", "2"]
    assert [each.seconds for each in actions if isinstance(each, Again)] == [7.0]


@pytest.mark.parametrize(
    ("rule", "done", "met"),
    [
        ({"succeededCount": 1}, "2", True),
        ({"succeededCount": 2}, "2", False),
        ({"succeededIndexes": "0"}, "1-2", False),
        ({"succeededIndexes": "0"}, "0", True),
        ({"succeededIndexes": "0-1", "succeededCount": 1}, "1", True),
    ],
)
def test_a_success_policy_ends_the_job_before_all_indexes_are_done(rule: dict[str, Any], done: str, met: bool) -> None:
    spec = {**INDEXED, "successPolicy": {"rules": [rule]}}
    actions = work(spec, pod("b", index=1), pod("c", index=2), completedIndexes=done, succeeded=len(done))
    expected = ("Complete", "SuccessPolicy", "Matched rules at index 0")
    assert ending(actions) == (expected if met else None)


def test_jobs_of_other_controllers_are_left_to_them() -> None:
    assert [is_ours(JobSpec(managed_by=each)) for each in (None, "kubernetes.io/job-controller", "a.example/mine")] == [
        True,
        True,
        False,
    ]
