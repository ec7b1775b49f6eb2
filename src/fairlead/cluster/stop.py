"""Ends a running cluster: asks its keeper first, kills it when it does not listen."""

import os
import signal
import time
from contextlib import suppress

from fairlead.cluster.home import ClusterHome
from fairlead.drivers.errors import FairleadError

_PATIENCE = 8.0  # seconds between the request and the kill


def _gone(home: ClusterHome, deadline: float) -> bool:
    while home.running() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _remove_groups(home: ClusterHome) -> None:
    """Remove the control groups that containers with limits had: the kernel keeps them when they are empty."""
    from fairlead.cluster.kubelet.limits import group_prefix
    from fairlead.drivers.cgroups import sweep_groups

    sweep_groups(group_prefix(home.path))


def end_cluster(home: ClusterHome) -> bool:
    """End the cluster of `home` and wait until its last process is gone; False when none was up.

    Raises FairleadError when it belongs to somebody else or does not end.
    """
    record = home.running()
    if record is None:
        return False
    try:
        for sig in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(record.keeper, sig)
            if _gone(home, time.monotonic() + _PATIENCE):
                _remove_groups(home)
                return True
    except PermissionError as error:
        raise FairleadError(
            f"cluster {home.name!r} belongs to another user", "end it as that user or as root"
        ) from error
    raise FairleadError(f"cluster {home.name!r} does not end", f"kill process {record.supervisor} by hand")
