"""StatefulSets, Jobs and CronJobs: what their controllers decide, step by step, without an API server."""

from datetime import UTC, datetime

import pytest

from fairlead.cluster.controllers import cronjobs, jobs, statefulsets
from fairlead.cluster.controllers.actions import Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.histories import find_history, outdated
from fairlead.cluster.controllers.job_indexes import format_indexes, parse_indexes
from fairlead.kube.apps import (
    ControllerRevision,
    RollingUpdateStatefulSet,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from fairlead.kube.batch import CronJob, CronJobSpec, CronJobStatus, Job, JobSpec, JobStatus, UncountedTerminatedPods
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.kube.meta import Condition, ObjectMeta, OwnerReference
from fairlead.kube.pods import PodStatus

NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC).timestamp()
THEN = "2026-11-23T05:00:00Z"
TEMPLATE: Document = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
NEWER: Document = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i:2"}]}}


def created(actions: tuple[Action, ...]) -> list[str]:
    return [
        text_at(each.document, "metadata", "name") or text_at(each.document, "metadata", "generateName")
        for each in actions
        if isinstance(each, Create)
    ]


def deleted(actions: tuple[Action, ...]) -> list[str]:
    return [each.name for each in actions if isinstance(each, Delete)]


def status_of(actions: tuple[Action, ...]) -> Document:
    [patch] = [each.patch for each in actions if isinstance(each, Patch) and each.subresource == "status"]
    return mapping_at(patch, "status")


# StatefulSets


def numbered(number: int, revision: str = "db-new", *, ready: bool = True, leaving: bool = False) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=f"db-{number}",
            uid=f"uid-{number}",
            labels={"app": "db", statefulsets.REVISION_LABEL: revision},
            deletion_timestamp=THEN if leaving else None,
        ),
        status=PodStatus(
            phase="Running",
            conditions=(Condition(type="Ready", status=str(ready), last_transition_time=THEN),),
        ),
    )


def look(
    *pods: Pod, replicas: int = 3, policy: str = "OrderedReady", partition: int = 0, most: int | None = None
) -> tuple[Action, ...]:
    spec = StatefulSetSpec(
        replicas=replicas,
        pod_management_policy=policy,
        update_strategy=StatefulSetUpdateStrategy(
            rolling_update=RollingUpdateStatefulSet(partition=partition, max_unavailable=most)
        ),
    )
    view = statefulsets.StatefulView(
        stateful_set=StatefulSet(
            metadata=ObjectMeta(name="db", namespace="n", uid="set"),
            spec=spec,
            status=StatefulSetStatus(current_revision="db-old"),
        ),
        spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
        pods=pods,
        revisions=(),
        templates={"db-old": TEMPLATE, "db-new": NEWER},
        update="db-new",
        now=NOW,
    )
    return statefulsets.reconcile(view)


def test_pods_start_one_after_the_other_each_when_the_one_before_is_ready() -> None:
    assert created(look()) == ["db-0"]
    assert created(look(numbered(0, ready=False))) == []
    assert created(look(numbered(0))) == ["db-1"]
    assert created(look(numbered(0), numbered(2))) == ["db-1"]


def test_parallel_starts_all_at_once() -> None:
    assert created(look(policy="Parallel")) == ["db-0", "db-1", "db-2"]


def test_a_pod_has_its_number_in_names_labels_and_claims() -> None:
    [create] = [each for each in look(numbered(0)) if isinstance(each, Create)]
    labels = mapping_at(create.document, "metadata", "labels")
    assert labels[statefulsets.INDEX_LABEL] == "1"
    assert labels[statefulsets.POD_NAME_LABEL] == text_at(create.document, "spec", "hostname") == "db-1"
    claim: Document = {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}
    assert items_at(create.document, "spec", "volumes") == [claim]


def test_too_many_pods_go_from_the_last_on_one_at_a_time() -> None:
    pods = [numbered(number) for number in range(4)]
    assert deleted(look(*pods, replicas=2)) == ["db-3"]
    assert deleted(look(*pods[:3], numbered(3, leaving=True), replicas=2)) == []
    assert sorted(deleted(look(*pods, replicas=2, policy="Parallel"))) == ["db-2", "db-3"]


def test_a_new_template_replaces_from_the_last_on_and_waits_for_each() -> None:
    olds = [numbered(number, "db-old") for number in range(3)]
    assert deleted(look(*olds)) == ["db-2"]
    assert deleted(look(*olds[:2], numbered(2, ready=False))) == []
    assert deleted(look(*olds[:2], numbered(2))) == ["db-1"]
    assert deleted(look(*olds, most=2)) == ["db-2", "db-1"]


def test_pods_below_the_partition_keep_the_former_template() -> None:
    olds = [numbered(number, "db-old") for number in range(3)]
    assert deleted(look(*olds[:2], numbered(2), partition=2)) == []
    [again] = [each for each in look(partition=2) if isinstance(each, Create)]
    assert mapping_at(again.document, "metadata", "labels")[statefulsets.REVISION_LABEL] == "db-old"


def test_the_current_revision_follows_when_every_pod_has_the_update() -> None:
    assert status_of(look(*map(numbered, range(3))))["currentRevision"] == "db-new"
    rolling = status_of(look(numbered(0, "db-old"), numbered(1), numbered(2)))
    assert (rolling["currentRevision"], rolling["currentReplicas"], rolling["updatedReplicas"]) == ("db-old", 1, 2)


def test_a_template_that_comes_back_takes_its_former_revision_with_a_new_number() -> None:
    owner = statefulsets.owner_of(StatefulSet(metadata=ObjectMeta(name="db", uid="set")))
    first = find_history(owner, "n", TEMPLATE, ())
    [create] = [each for each in first.actions if isinstance(each, Create)]

    def kept(name: str, number: int, template: Document) -> ControllerRevision:
        return ControllerRevision(
            metadata=ObjectMeta(name=name),
            revision=number,
            data={"spec": {"template": {**template, "$patch": "replace"}}},
        )

    one, two = kept(first.update, 1, TEMPLATE), kept("db-other", 2, NEWER)
    assert create.document["revision"] == 1
    assert find_history(owner, "n", NEWER, (one, two)).actions == ()
    back = find_history(owner, "n", TEMPLATE, (one, two))
    assert back.update == first.update
    assert [each.patch for each in back.actions if isinstance(each, Patch)] == [{"revision": 3}]
    assert [each.name for each in outdated((one, two), {"db-other"}, 0)] == [first.update]


# Jobs


def worker(
    name: str, phase: str = "Running", *, index: int | None = None, held: bool = True, leaving: bool = False
) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="n",
            uid=name,
            finalizers=(jobs.FINALIZER,) if held else (),
            annotations={} if index is None else {jobs.INDEX: str(index)},
            deletion_timestamp=THEN if leaving else None,
        ),
        status=PodStatus(phase=phase),
    )


NOTHING = JobStatus()


def work(*pods: Pod, status: JobStatus = NOTHING, **spec: int | str | bool | None) -> tuple[Action, ...]:
    return jobs.reconcile(
        jobs.JobView(
            job=Job(
                metadata=ObjectMeta(name="job", namespace="n", uid="u"), spec=JobSpec(**spec), status=status  # pyright: ignore[reportArgumentType] - each test names what it sets
            ),
            template=TEMPLATE,
            pods=pods,
            now=NOW,
        )
    )  # fmt: skip


def released(actions: tuple[Action, ...]) -> list[str]:
    return [each.name for each in actions if isinstance(each, Patch) and each.kind is Pod]


def test_a_job_starts_as_many_pods_as_may_run_and_are_still_wanted() -> None:
    assert created(work(completions=3, parallelism=2)) == ["job-", "job-"]
    one_left = JobStatus(succeeded=2)
    assert created(work(status=one_left, completions=3, parallelism=2)) == ["job-"]
    assert created(work(worker("a"), status=one_left, completions=3, parallelism=2)) == []


def test_an_end_is_noted_then_released_then_counted() -> None:
    first = work(worker("a", "Succeeded"), completions=2, parallelism=1)
    noted = mapping_at(status_of(first), "uncountedTerminatedPods")
    assert (noted["succeeded"], status_of(first)["succeeded"], released(first)) == (["a"], None, [])
    seen = JobStatus(uncounted_terminated_pods=UncountedTerminatedPods(succeeded=("a",)), start_time=THEN)
    second = work(worker("a", "Succeeded"), status=seen, completions=2, parallelism=1)
    assert released(second) == ["a"]
    third = work(worker("a", "Succeeded", held=False), status=seen, completions=2, parallelism=1)
    assert status_of(third)["succeeded"] == 1
    counted = JobStatus(succeeded=1, start_time=THEN)
    assert created(work(worker("a", "Succeeded", held=False), status=counted, completions=2, parallelism=1)) == ["job-"]


def test_a_job_completes_once_enough_have_succeeded() -> None:
    actions = work(worker("a", "Succeeded"), completions=1, parallelism=1)
    kinds = [text_at(each, "type") for each in items_at(status_of(actions), "conditions")]
    assert kinds == ["SuccessCriteriaMet", "Complete"]
    assert status_of(actions)["succeeded"] == 1
    assert [each.message for each in actions if isinstance(each, Tell)] == ["Job completed"]
    over = JobStatus(conditions=(Condition(type="Complete", status="True", last_transition_time=THEN),))
    assert released(work(worker("a", "Succeeded"), status=over, completions=1)) == ["a"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"backoff_limit": 0}, "BackoffLimitExceeded"), ({"active_deadline_seconds": 60}, "DeadlineExceeded")],
)
def test_a_job_fails_by_failures_or_by_time(spec: dict[str, int], reason: str) -> None:
    pods = (worker("bad", "Failed"), worker("running"))
    actions = work(*pods, status=JobStatus(start_time=THEN), completions=2, parallelism=1, **spec)
    conditions = items_at(status_of(actions), "conditions")
    assert [(text_at(each, "type"), text_at(each, "reason")) for each in conditions] == [
        ("FailureTarget", reason),
        ("Failed", reason),
    ]
    assert deleted(actions) == ["running"]


def test_the_next_try_after_a_failure_waits() -> None:
    actions = work(worker("bad", "Failed"), completions=1, parallelism=1)
    assert created(actions) == []
    assert [each.seconds for each in actions if isinstance(each, Again)] == [10.0]


def test_an_indexed_job_runs_every_index_once_and_tells_it() -> None:
    spec = {"completions": 3, "parallelism": 2, "completion_mode": "Indexed"}
    done = JobStatus(completed_indexes="0", succeeded=1, start_time=THEN)
    actions = work(worker("a", index=2), status=done, **spec)
    assert created(actions) == ["job-1-"]
    [create] = [each for each in actions if isinstance(each, Create)]
    [container] = items_at(create.document, "spec", "containers")
    assert [text_at(each, "name") for each in items_at(container, "env")] == ["JOB_COMPLETION_INDEX"]
    assert text_at(create.document, "spec", "hostname") == "job-1"
    ended = work(worker("a", "Succeeded", index=2), worker("b", index=1), status=done, **spec)
    assert status_of(ended)["completedIndexes"] == "0,2"


def test_a_suspended_job_stops_its_pods_without_counting_them_as_failed() -> None:
    actions = work(worker("a"), status=JobStatus(start_time=THEN), completions=1, parallelism=1, suspend=True)
    assert deleted(actions) == ["a"]
    [condition] = items_at(status_of(actions), "conditions")
    assert (text_at(condition, "type"), text_at(condition, "status")) == ("Suspended", "True")
    going = work(worker("a", leaving=True), completions=1, parallelism=1, suspend=True)
    assert released(going) == ["a"]
    assert status_of(going)["failed"] is None


def test_a_job_goes_when_its_time_to_live_is_over() -> None:
    over = JobStatus(conditions=(Condition(type="Complete", status="True", last_transition_time=THEN),))
    assert deleted(work(status=over, ttl_seconds_after_finished=60)) == ["job"]
    waits = [each.seconds for each in work(status=over, ttl_seconds_after_finished=7200) if isinstance(each, Again)]
    assert waits == [3600.0]


def test_pods_of_a_job_that_is_gone_are_let_go() -> None:
    def owned(name: str, owner: str) -> Pod:
        reference = OwnerReference(kind="Job", name=owner, uid="u", controller=True)
        return Pod(metadata=ObjectMeta(name=name, finalizers=("other", jobs.FINALIZER), owner_references=(reference,)))

    [patch] = jobs.release_orphans("job", (owned("a", "job"), owned("b", "another")))
    assert (patch.name, mapping_at(patch.patch, "metadata")["finalizers"]) == ("a", ["other"])


@pytest.mark.parametrize(("indexes", "text"), [((), ""), ((3,), "3"), ((0, 1), "0,1"), ((0, 2, 3, 4, 9), "0,2-4,9")])
def test_completed_indexes_are_text_and_back(indexes: tuple[int, ...], text: str) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text) == set(indexes)


# CronJobs


def job_of(name: str, ending: str = "", start: str = THEN) -> Job:
    conditions = (Condition(type=ending, status="True", last_transition_time=THEN),) if ending else ()
    status = JobStatus(conditions=conditions, start_time=start, completion_time=start if ending == "Complete" else None)
    return Job(metadata=ObjectMeta(name=name, namespace="n", uid=name), status=status)


def tick(*made: Job, last: str = "2026-11-23T05:50:00Z", **spec: str | int | bool | None) -> tuple[Action, ...]:
    wanted = {"schedule": "*/10 * * * *", **spec}
    return cronjobs.reconcile(
        cronjobs.CronView(
            cron_job=CronJob(
                metadata=ObjectMeta(name="cron", namespace="n", uid="u", creation_timestamp=THEN),
                spec=CronJobSpec(**wanted),  # pyright: ignore[reportArgumentType] - each test names what it sets
                status=CronJobStatus(last_schedule_time=last),
            ),
            job_template={"metadata": {"labels": {"a": "b"}}, "spec": {"template": TEMPLATE}},
            jobs=made,
            now=NOW + 5,
        )
    )


def test_a_job_is_made_when_it_is_due_and_only_once() -> None:
    actions = tick()
    [name] = created(actions)
    assert name == f"cron-{int(NOW) // 60}"
    assert status_of(actions)["lastScheduleTime"] == "2026-11-23T06:00:00Z"
    assert [each.seconds for each in actions if isinstance(each, Again)] == [pytest.approx(595.01)]
    assert created(tick(job_of(name))) == []
    assert created(tick(last="2026-11-23T06:00:00Z")) == []


def test_only_the_latest_missed_moment_is_made_up_for_unless_its_deadline_is_over() -> None:
    assert len(created(tick(last="2026-11-23T01:00:00Z"))) == 1
    assert created(tick(starting_deadline_seconds=2)) == []
    assert len(created(tick(starting_deadline_seconds=60))) == 1


def test_a_running_job_holds_back_or_is_replaced_by_the_policy() -> None:
    running = job_of("cron-1")
    assert len(created(tick(running))) == 1
    forbidden = tick(running, concurrency_policy="Forbid")
    assert created(forbidden) == []
    assert [each.reason for each in forbidden if isinstance(each, Tell)] == ["JobAlreadyActive"]
    replaced = tick(running, concurrency_policy="Replace")
    assert (deleted(replaced), len(created(replaced))) == (["cron-1"], 1)


def test_suspended_makes_nothing_and_old_jobs_are_forgotten() -> None:
    assert created(tick(suspend=True)) == []
    ended = [job_of(f"cron-{number}", "Complete", f"2026-11-23T05:0{number}:00Z") for number in range(5)]
    assert deleted(tick(*ended, successful_jobs_history_limit=3)) == ["cron-0", "cron-1"]
    assert deleted(tick(job_of("x", "Failed"), failed_jobs_history_limit=0)) == ["x"]


def test_a_schedule_that_cannot_be_read_is_told_and_makes_nothing() -> None:
    actions = tick(schedule="nonsense")
    assert created(actions) == []
    assert [each.reason for each in actions if isinstance(each, Tell)] == ["UnParseableCronJobSchedule"]
