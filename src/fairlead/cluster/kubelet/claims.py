"""Volumes of claims as folders of this machine: a claim's name comes in, its folder goes out; folders of volumes that
are gone are removed.

Serves volumes of the built-in class, which are made here when they are first used, and volumes that are a path of this
machine. Source: pkg/kubelet/volumemanager, in what it waits for.
"""

import shutil
from pathlib import Path

from fairlead.cluster.controllers.claims import PROVISIONER
from fairlead.cluster.kubelet.environment import MissingError
from fairlead.drivers.kubeapi import Applied, Deleted, KubeClient
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim


class ClaimFolders:
    """The folders of bound claims, below `home`."""

    def __init__(self, client: KubeClient, home: Path) -> None:
        self._client = client
        self._home = home

    async def find(self, namespace: str, name: str) -> Path:
        """The folder of a claim. Raises MissingError while there is none."""
        claim = await self._client.get_or_none(PersistentVolumeClaim, name, namespace)
        if claim is None:
            raise MissingError(f'persistentvolumeclaim "{name}" not found')
        if claim.metadata.deletion_timestamp is not None:
            raise MissingError(f'persistentvolumeclaim "{name}" is being deleted')
        if claim.status.phase != "Bound":
            raise MissingError(f'persistentvolumeclaim "{name}" is not bound')
        volume = await self._client.get_or_none(PersistentVolume, claim.spec.volume_name)
        if volume is None:
            raise MissingError(f'persistentvolume "{claim.spec.volume_name}" not found')
        if volume.spec.host_path is not None:
            return Path(volume.spec.host_path.path)
        if volume.spec.local is not None:
            return Path(volume.spec.local.path)
        if volume.spec.csi is None or volume.spec.csi.driver != PROVISIONER:
            ways = "use the class standard, hostPath or local"
            raise MissingError(f'volumes such as "{volume.metadata.name}" are not served here: {ways}')
        return self._folder(volume.metadata.name)

    async def follow(self) -> None:
        """Remove folders of volumes that are gone, for ever."""
        async for change in self._client.reflect(PersistentVolume):
            if isinstance(change, Deleted):
                shutil.rmtree(self._home / change.object.metadata.name, ignore_errors=True)
            elif not isinstance(change, Applied):
                known = {volume.metadata.name for volume in change.items}
                for folder in self._home.glob("*"):
                    if folder.name not in known:
                        shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, volume: str) -> Path:
        folder = self._home / volume
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        return folder
