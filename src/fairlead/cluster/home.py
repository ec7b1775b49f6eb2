"""Where a cluster keeps its files: comes in as an environment and a name, goes out as paths and a lock.

Knows nothing of what the files say.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.drivers.errors import FairleadError

_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes (unix(7)); our longest socket name takes the rest
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class ClusterRecord(Struct, frozen=True):
    """What a running cluster says of itself on disk, for `status`, `exec` and `down`."""

    name: str
    keeper: int
    """Process id, in the host's PID namespace, whose end ends the cluster."""
    supervisor: int
    api_port: int
    nodes: int
    started: float
    """Seconds since the epoch."""


class ClusterHome(Struct, frozen=True):
    """The folder of one cluster."""

    name: str
    path: Path

    @property
    def database(self) -> Path:
        """Every API object, as an SQLite log."""
        return self.path / "data.sqlite"

    @property
    def pki(self) -> Path:
        """The cluster's certificates and keys."""
        return self.path / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The file for `KUBECONFIG`."""
        return self.path / "kubeconfig"

    @property
    def logs(self) -> Path:
        """What the components and the pods wrote."""
        return self.path / "logs"

    @property
    def sockets(self) -> Path:
        """The unix sockets on which components answer."""
        return self.path / "run"

    @property
    def record_path(self) -> Path:
        """The file of `ClusterRecord`."""
        return self.path / "cluster.json"

    def record(self) -> ClusterRecord | None:
        """The record of the last run, or None when there was none; a torn record counts as none."""
        try:
            return msgspec.json.decode(self.record_path.read_bytes(), type=ClusterRecord)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_record(self, record: ClusterRecord) -> None:
        """Replace the record in one step."""
        draft = self.record_path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(record))
        draft.replace(self.record_path)

    def running(self) -> ClusterRecord | None:
        """The record of the cluster that runs here now, or None. Asks the lock, not the process table."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return self.record()
        finally:
            os.close(descriptor)
        return None

    def prepare(self) -> None:
        """Make the folders. Raises FairleadError where the place is read-only, full or its path too long."""
        if len(str(self.sockets)) > _SOCKET_PATH_LIMIT - 20:
            raise FairleadError(
                f"the path {self.sockets} is too long for unix sockets",
                "set FAIRLEAD_HOME to a shorter path",
            )
        try:
            for folder in (self.path, self.pki, self.logs, self.sockets):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.path / ".probe"
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
        except OSError as error:
            raise storage_refusal(self.path, error) from error

    def lock(self) -> int:
        """Take the cluster's lock and return its descriptor; held until every copy of it is closed.

        Raises FairleadError when a cluster of this name is up.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FairleadError(
                f"a cluster named {self.name!r} is already up",
                f"end it with `fairlead down --name {self.name}`, or give this one another --name",
            ) from None
        return descriptor

    def remove(self) -> None:
        """Delete everything the cluster kept."""
        shutil.rmtree(self.path, ignore_errors=True)


def storage_refusal(path: Path, error: OSError) -> FairleadError:
    """What to tell a person whose disk refuses `path`."""
    if error.errno == errno.ENOSPC:
        return FairleadError(f"no space is left on the disk of {path}", "free some space, or set FAIRLEAD_HOME")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return FairleadError(f"{path} cannot be written: {error.strerror}", "set FAIRLEAD_HOME to a writable folder")
    return FairleadError(f"{path} cannot be used: {error.strerror}", "set FAIRLEAD_HOME to another folder")


def clusters_folder(environment: Mapping[str, str]) -> Path:
    """The folder that holds all clusters: FAIRLEAD_HOME, else fairlead in XDG_STATE_HOME, else ~/.local/state."""
    if own := environment.get("FAIRLEAD_HOME"):
        return Path(own).absolute()
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state).absolute() / "fairlead"
    return Path(environment.get("HOME") or "/tmp").absolute() / ".local/state/fairlead"


def cluster_home(name: str, environment: Mapping[str, str]) -> ClusterHome:
    """The home of the cluster `name`. Raises ValueError when the name is no DNS label of at most 32 characters."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no cluster name: use at most 32 lower case letters, digits and '-'")
    return ClusterHome(name, clusters_folder(environment) / name)


def known_clusters(environment: Mapping[str, str]) -> list[ClusterHome]:
    """Every cluster with a folder, by name."""
    folder = clusters_folder(environment)
    if not folder.is_dir():
        return []
    return [ClusterHome(entry.name, entry) for entry in sorted(folder.iterdir()) if (entry / "lock").exists()]
