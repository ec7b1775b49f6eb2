"""A pod's volumes as folders of this machine: what the pod wrote comes in, files go out, replaced in one step when
they change.

Source: pkg/volume/util/atomic_writer.go: the files lie in a folder of their own, `..data` points at it, and each
name at `..data/NAME`; a change is a new folder and one rename.
"""

import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fairlead.cluster.kubelet.environment import MissingError, PodFacts, field_text, resource_text
from fairlead.kube.containers import (
    Container,
    DownwardAPIVolumeFile,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
)
from fairlead.kube.pods import Pod

Files = dict[str, tuple[bytes, int]]
"""Content and permission bits by path within the volume."""

Fetch = Callable[[str, str], Awaitable[dict[str, bytes] | None]]
"""The data of a ConfigMap or Secret, by kind and name."""

TokenOf = Callable[[ServiceAccountTokenProjection], Awaitable[bytes]]
"""The token a projected volume asks for."""

_DEFAULT_MODE = 0o644


async def files_of(volume: Volume, pod: Pod, facts: PodFacts, fetch: Fetch, token: TokenOf) -> Files | None:
    """The files a volume shows, or None if it is none of files. Raises MissingError."""
    if (source := volume.config_map) is not None:
        mode = source.default_mode or _DEFAULT_MODE
        return await _keys("ConfigMap", source.name, source.items, mode, fetch, optional=source.optional)
    if (secret := volume.secret) is not None:
        mode = secret.default_mode or _DEFAULT_MODE
        return await _keys("Secret", secret.secret_name, secret.items, mode, fetch, optional=secret.optional)
    if (downward := volume.downward_api) is not None:
        return _fields(downward.items, pod, facts, downward.default_mode or _DEFAULT_MODE)
    if (projected := volume.projected) is not None:
        files: Files = {}
        mode = projected.default_mode or _DEFAULT_MODE
        for each in projected.sources:
            for kind, part in (("ConfigMap", each.config_map), ("Secret", each.secret)):
                if part is not None:
                    files |= await _keys(kind, part.name, part.items, mode, fetch, optional=part.optional)
            if each.downward_api is not None:
                files |= _fields(each.downward_api.items, pod, facts, mode)
            if each.service_account_token is not None:
                files[each.service_account_token.path] = (await token(each.service_account_token), mode)
        return files
    return None


async def _keys(kind: str, name: str, items: Sequence[KeyToPath], mode: int, fetch: Fetch, *, optional: bool) -> Files:
    data = await fetch(kind, name)
    if data is None:
        if optional:
            return {}
        raise MissingError(f'{kind.lower()} "{name}" not found')
    if not items:
        return {key: (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[item.path] = (data[item.key], item.mode or mode)
        elif not optional:
            raise MissingError(
                f"references non-existent {'config' if kind == 'ConfigMap' else 'secret'} key: {item.key}"
            )
    return files


def _fields(items: Sequence[DownwardAPIVolumeFile], pod: Pod, facts: PodFacts, mode: int) -> Files:
    files: Files = {}
    for item in items:
        if item.field_ref is not None:
            text = field_text(pod, facts, item.field_ref.field_path)
        elif (selector := item.resource_field_ref) is not None:
            named = next((each for each in pod.spec.containers if each.name == selector.container_name), Container())
            text = resource_text(selector, named, facts)
        else:
            continue
        files[item.path] = (text.encode(), item.mode or mode)
    return files


def write_files(folder: Path, files: Files) -> bool:
    """Make `folder` show exactly `files`, in one step; whether anything had to change. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "..data"
    if data.is_symlink() and _read(data) == {path: content for path, (content, _) in files.items()}:
        return False
    fresh = folder / f"..{secrets.token_hex(6)}"
    fresh.mkdir(mode=0o755)
    for path, (content, mode) in files.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    former = folder / data.readlink() if data.is_symlink() else None
    link = folder / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    wanted = {path.split("/", 1)[0] for path in files}
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for entry in os.scandir(folder):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            Path(entry.path).unlink()
    if former is not None:
        shutil.rmtree(former, ignore_errors=True)
    return True


def _read(data: Path) -> dict[str, bytes]:
    return {str(file.relative_to(data)): file.read_bytes() for file in data.rglob("*") if file.is_file()}
