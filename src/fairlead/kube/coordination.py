"""Lease: a sign of life. Source: coordination/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import KubeObject


class LeaseSpec(Wire, frozen=True):
    """Who holds it, for how many seconds, since when."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(KubeObject, frozen=True):
    """A claim that has to be renewed."""

    spec: LeaseSpec = LeaseSpec()
