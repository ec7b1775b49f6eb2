"""Claims, volumes and disruption budgets: what their controllers decide, without an API server."""

from datetime import UTC, datetime

import pytest

from fairlead.cluster.controllers import budgets, claims
from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch, Tell
from fairlead.kube.core import Pod
from fairlead.kube.disruption import PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.meta import Condition, LabelSelector, ObjectMeta, ObjectReference
from fairlead.kube.pods import PodStatus
from fairlead.kube.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    StorageClass,
    VolumeResourceRequirements,
)

NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC).timestamp()
STANDARD = StorageClass(metadata=ObjectMeta(name="standard"), provisioner=claims.PROVISIONER, reclaim_policy="Delete")


def claim(
    *, storage_class: str | None = "standard", volume: str = "", phase: str = "Pending", going: bool = False
) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="data",
            namespace="n",
            uid="u",
            finalizers=(claims.CLAIM_FINALIZER,),
            deletion_timestamp="2026-11-23T05:00:00Z" if going else None,
        ),
        spec=PersistentVolumeClaimSpec(
            access_modes=("ReadWriteOnce",),
            resources=VolumeResourceRequirements(requests={"storage": "2Gi"}),
            storage_class_name=storage_class,
            volume_name=volume,
        ),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def volume(
    name: str,
    size: str = "2Gi",
    *,
    owner: str = "",
    storage_class: str = "",
    policy: str = "Retain",
    going: bool = False,
) -> PersistentVolume:
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            uid=name,
            finalizers=(claims.VOLUME_FINALIZER,),
            deletion_timestamp="2026-11-23T05:00:00Z" if going else None,
        ),
        spec=PersistentVolumeSpec(
            capacity={"storage": size},
            access_modes=("ReadWriteOnce", "ReadOnlyMany"),
            claim_ref=ObjectReference(namespace="n", name="data", uid=owner) if owner else None,
            persistent_volume_reclaim_policy=policy,
            storage_class_name=storage_class,
        ),
        status=PersistentVolumeStatus(phase="Bound" if owner else "Available"),
    )


def look(wanted: PersistentVolumeClaim, *volumes: PersistentVolume, used: bool = False) -> tuple[Action, ...]:
    return claims.reconcile_claim(claims.ClaimView(claim=wanted, volumes=volumes, classes=(STANDARD,), used=used))


def told(actions: tuple[Action, ...]) -> list[str]:
    return [each.reason for each in actions if isinstance(each, Tell)]


def test_the_built_in_class_makes_a_volume_that_is_the_claim_s_from_the_start() -> None:
    [create] = [each for each in look(claim()) if isinstance(each, Create)]
    spec = mapping_at(create.document, "spec")
    assert text_at(create.document, "metadata", "name") == "pvc-u"
    assert (text_at(spec, "claimRef", "uid"), mapping_at(spec, "capacity")) == ("u", {"storage": "2Gi"})
    assert text_at(spec, "csi", "driver") == claims.PROVISIONER


def test_a_claim_takes_the_smallest_volume_of_its_class_that_is_enough() -> None:
    free = claim(storage_class="")
    actions = look(
        free, volume("small", "1Gi"), volume("large", "9Gi"), volume("right", "3Gi"), volume("taken", owner="x")
    )
    assert [(each.kind, each.name) for each in actions if isinstance(each, Patch)] == [
        (PersistentVolume, "right"),
        (PersistentVolumeClaim, "data"),
        (PersistentVolumeClaim, "data"),
    ]
    assert told(look(free, volume("other", storage_class="fast"))) == ["FailedBinding"]


def test_a_half_made_binding_is_completed() -> None:
    bound = look(claim(volume="v"), volume("v", owner="u"))
    [status] = [each for each in bound if isinstance(each, Patch)]
    assert (status.subresource, mapping_at(status.patch, "status")["phase"]) == ("status", "Bound")
    assert look(claim(volume="v", phase="Bound"), volume("v", owner="u")) == ()
    assert told(look(claim(volume="v", phase="Bound"))) == ["ClaimLost"]
    assert told(look(claim(volume="v"), volume("v", owner="somebody"))) == ["FailedBinding"]


@pytest.mark.parametrize(
    ("name", "reason"), [("nope", "ProvisioningFailed"), ("", "FailedBinding"), ("csi", "ExternalProvisioning")]
)
def test_a_claim_nobody_serves_is_told_why(name: str, reason: str) -> None:
    foreign = StorageClass(metadata=ObjectMeta(name="csi"), provisioner="example.com/csi")
    view = claims.ClaimView(claim=claim(storage_class=name), volumes=(), classes=(STANDARD, foreign), used=False)
    assert told(claims.reconcile_claim(view)) == [reason]


def test_a_deleted_claim_goes_when_no_pod_uses_it() -> None:
    assert look(claim(going=True), used=True) == ()
    [patch] = look(claim(going=True))
    assert isinstance(patch, Patch)
    assert mapping_at(patch.patch, "metadata")["finalizers"] == []


def test_a_volume_goes_with_its_claim_or_is_kept_by_its_policy() -> None:
    [gone] = claims.reconcile_volume(volume("v", owner="u", policy="Delete"), ())
    assert isinstance(gone, Delete)
    [kept] = claims.reconcile_volume(volume("v", owner="u"), ())
    assert isinstance(kept, Patch)
    assert mapping_at(kept.patch, "status")["phase"] == "Released"
    assert claims.reconcile_volume(volume("v", owner="u"), (claim(volume="v"),)) == ()
    assert claims.reconcile_volume(volume("v", owner="u", going=True), (claim(volume="v"),)) == ()
    [freed] = claims.reconcile_volume(volume("v", owner="u", going=True), ())
    assert isinstance(freed, Patch)


# Disruption budgets


def pods(ready: int, unready: int = 0) -> list[Pod]:
    return [
        Pod(
            metadata=ObjectMeta(name=f"p-{number}", uid=f"p-{number}"),
            status=PodStatus(
                phase="Running", conditions=(Condition(type="Ready", status=str(number < ready)),)
            ),
        )
        for number in range(ready + unready)
    ]  # fmt: skip


def budget_status(
    running: list[Pod], expected: int, *, least: int | str | None = None, most: int | str | None = None,
    notes: dict[str, str] | None = None,
) -> Document:  # fmt: skip
    budget = PodDisruptionBudget(
        metadata=ObjectMeta(name="b", namespace="n", generation=1),
        spec=PodDisruptionBudgetSpec(min_available=least, max_unavailable=most, selector=LabelSelector()),
        status=PodDisruptionBudgetStatus(disrupted_pods=notes or {}),
    )
    actions = budgets.reconcile(budgets.BudgetView(budget=budget, pods=running, expected=expected, now=NOW))
    [patch] = [each.patch for each in actions if isinstance(each, Patch)]
    return mapping_at(patch, "status")


@pytest.mark.parametrize(
    ("least", "most", "desired", "allowed"),
    [(2, None, 2, 2), ("50%", None, 2, 2), (None, 1, 3, 1), (None, "30%", 2, 2), (None, "100%", 0, 4), (4, None, 4, 0)],
)
def test_a_budget_allows_what_is_left_above_what_must_stay(
    least: int | str | None, most: int | str | None, desired: int, allowed: int
) -> None:
    status = budget_status(pods(4), 4, least=least, most=most)
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)


def test_pods_that_are_not_ready_and_evictions_under_way_count_as_lost() -> None:
    status = budget_status(pods(3, 1), 4, most=1)
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (3, 0)
    noted = budget_status(pods(4), 4, most=1, notes={"p-0": "2026-11-23T05:59:30Z", "gone": "2026-11-23T05:59:30Z"})
    assert (noted["currentHealthy"], noted["disruptionsAllowed"]) == (3, 0)
    assert mapping_at(noted, "disruptedPods") == {"p-0": "2026-11-23T05:59:30Z", "gone": None}
    old = budget_status(pods(4), 4, most=1, notes={"p-0": "2026-11-23T05:50:00Z"})
    assert (old["disruptionsAllowed"], mapping_at(old, "disruptedPods")) == (1, {"p-0": None})
