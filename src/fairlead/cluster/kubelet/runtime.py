"""What containers are made of: networks, volumes, stand-ins and programs, for all pods of the process.

Comes in: what a pod's worker asks for. Goes out: things that run, log files, and a call when one has ended. Refuses
to know policies and probes.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from fairlead.cluster.kubelet.addresses import AddressPool
from fairlead.cluster.kubelet.claims import ClaimFolders
from fairlead.cluster.kubelet.commands import Kill, StartContainer, Terminate
from fairlead.cluster.kubelet.environment import (
    MissingError,
    PodFacts,
    command_line,
    environment_of,
    expand,
    references_of,
)
from fairlead.cluster.kubelet.events import Said
from fairlead.cluster.kubelet.hostfiles import hostname_of, hosts_text, resolv_text
from fairlead.cluster.kubelet.images import ProgramImage, StandInImage, resolve_image
from fairlead.cluster.kubelet.inside import Inside
from fairlead.cluster.kubelet.launcher import Launch, Mount, execute, launch, own_mounts, program_of
from fairlead.cluster.kubelet.limits import LimitGroups
from fairlead.cluster.kubelet.pipes import LogPipe, read_output
from fairlead.cluster.kubelet.probes import Outcome
from fairlead.cluster.kubelet.references import References
from fairlead.cluster.kubelet.targets import sleep_of
from fairlead.cluster.kubelet.tokens import PodTokens
from fairlead.cluster.kubelet.volumes import Files, files_of, write_files
from fairlead.cluster.launch import ImageRule
from fairlead.cluster.places import Place
from fairlead.cluster.standins.answers import Identity
from fairlead.cluster.standins.client import StandinsClient
from fairlead.cluster.standins.controls import Controls, parse_controls
from fairlead.cluster.standins.logbook import LogBook
from fairlead.cluster.standins.messages import Ended, PortSpec, Start
from fairlead.cluster.topology import NodeNetwork, PodNetwork, Topology
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.containers import Container
from fairlead.kube.pods import Pod
from fairlead.net import parse_address

TOKEN_VOLUME = "kube-api-access-"
"""How the names of the volumes begin that the API server gives every pod."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """What was asked for cannot be had now; `reason` is for statuses and events, the text for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Surroundings(Struct, frozen=True, kw_only=True):
    """What all pods share."""

    client: KubeClient
    topology: Topology
    references: References
    claims: ClaimFolders
    tokens: PodTokens
    images: tuple[ImageRule, ...]
    state: Path
    writes: asyncio.Semaphore
    """Bounds the requests under way: each one more is one more TLS connection."""
    sockets: Path | None = None
    """Where the agents of the nodes listen; None where there are none to wait for."""
    tell: Callable[[Said], None]
    told: Callable[[str], None]
    """Takes a line for the kubelet's own log."""


class Room(Struct, frozen=True, kw_only=True):
    """Where a pod's containers live: its network and its folder."""

    netns: int
    addresses: tuple[str, ...]
    network: PodNetwork | None
    """None for a pod on its node's network."""
    folder: Path
    facts: PodFacts


class _Program(Struct):
    pid: int
    environment: dict[str, str]
    pipe: LogPipe


class Containers:
    """Everything that runs. `on_ended` gets a pod's uid, the container's name, exit code and last words, and the
    reason of an end that has one of its own.
    """

    def __init__(
        self, around: Surroundings, standins: Path, on_ended: Callable[[str, str, int, str, str], None]
    ) -> None:
        self._around = around
        self._on_ended = on_ended
        self.standins = StandinsClient(standins, self._standin_ended)
        self._pools = {name: AddressPool(node.pod_prefix) for name, node in around.topology.nodes.items()}
        self._programs: dict[str, _Program] = {}
        self._typed: dict[str, int] = {}
        """Exit codes of stand-ins that somebody talked to."""
        self._book = LogBook(time.time)
        self._limits = LimitGroups(around.state, around.told)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._capacity = (str(os.cpu_count() or 1), str(memory))

    # Rooms

    async def prepare(self, pod: Pod, node: NodeNetwork) -> Room:
        """Set up volumes and network. Raises Refused, or FairleadError when the kernel does."""
        folder = self._around.state / "pods" / pod.metadata.uid
        host = tuple(map(str, node.addresses))
        if pod.spec.host_network:
            room = self._room(folder, node.netns, host, None, host)
            await self._mount_volumes(pod, room)
            return room
        pool = self._pools[node.name]
        former = pod.status.pod_ip
        address = pool.take(parse_address(former) if former else None)
        if address is None:
            raise Refused("FailedCreatePodSandBox", f"no address is free in {node.pod_prefix}")
        try:
            addresses = tuple(map(str, node.pod_addresses(address)))
            await self._mount_volumes(pod, self._room(folder, -1, addresses, None, host))
            network = self._around.topology.attach_pod(node.name, address)
        except BaseException:
            pool.let_go(address)
            raise
        return self._room(folder, network.netns, addresses, network, host)

    def _room(
        self, folder: Path, netns: int, addresses: tuple[str, ...], network: PodNetwork | None, host: tuple[str, ...]
    ) -> Room:
        cpu, memory = self._capacity
        facts = PodFacts(addresses=addresses, node_addresses=host, node_cpu=cpu, node_memory=memory)
        return Room(netns=netns, addresses=addresses, network=network, folder=folder, facts=facts)

    async def release(self, pod: Pod, room: Room) -> None:
        """Take down what `prepare` set up."""
        if room.network is not None:
            with suppress(FairleadError):
                self._around.topology.detach_pod(room.network)
            self._pools[room.network.node].let_go(room.network.address)
        if room.folder.exists():
            shutil.rmtree(room.folder, ignore_errors=True)
        del pod

    async def refresh(self, pod: Pod, room: Room) -> None:
        """Bring the files of the volumes up to date; what cannot be had now keeps its former files."""
        with suppress(Refused):
            await self._mount_volumes(pod, room)

    async def _mount_volumes(self, pod: Pod, room: Room) -> None:
        tokens = self._around.tokens
        for volume in pod.spec.volumes:
            if volume.name.startswith(TOKEN_VOLUME) and not self.has_programs(pod):
                continue  # nobody reads a stand-in's token
            try:
                files = await files_of(volume, pod, room.facts, self._fetcher(pod), partial(tokens.token, pod))
                if volume.persistent_volume_claim is not None:
                    claim = volume.persistent_volume_claim.claim_name
                    folder = await self._around.claims.find(pod.metadata.namespace, claim)
                    self._show_folder(room, volume.name, folder)
                    continue
            except MissingError as missing:
                text = f'MountVolume.SetUp failed for volume "{volume.name}" : {missing}'
                raise Refused("FailedMount", text) from missing
            if self.has_programs(pod):
                self._write_volume(room, volume.name, files)

    def place(self, pod: Pod, room: Room) -> Place:
        """Where `exec --from pod/...` runs a command: inside the first container that is a program, or with the pod's
        own files laid over.
        """
        prefix, hostname = f"{pod.metadata.uid}/", hostname_of(pod, pod.spec.node_name)
        running = {key.split("/")[1]: each.pid for key, each in self._programs.items() if key.startswith(prefix)}
        for container in (*pod.spec.containers, *pod.spec.init_containers):
            if container.name in running:
                return Place(room.netns, running[container.name], hostname=hostname)
        return Place(room.netns, binds=self._own_files(pod, room), hostname=hostname)

    async def inside(self, pod: Pod, container: Container, restarts: int, room: Room) -> Inside:
        """Where commands beside a container run, for `kubectl exec`. Raises Refused."""
        folder, hostname = container.working_dir or "/", hostname_of(pod, pod.spec.node_name)
        program = self._programs.get(run_id(pod, container.name, restarts))
        if program is not None:
            return Inside(pid=program.pid, environment=program.environment, folder=folder)
        binds = (*self._own_files(pod, room), (str(self._scratch(room, container)), "/tmp"))
        environment = await self._environment(pod, container, room)
        values = {"PATH": _PATH, "HOSTNAME": hostname, "HOME": "/root"} | environment
        words = tuple(expand(word, values) for word in (*container.command, *container.args)) or ("sh",)
        return Inside(netns=room.netns, binds=binds, hostname=hostname, environment=values, folder=folder, words=words)

    def _scratch(self, room: Room, container: Container) -> Path:
        folder = room.folder / "place" / f"tmp-{container.name}"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
        return folder

    def _own_files(self, pod: Pod, room: Room) -> tuple[tuple[str, str], ...]:
        """The files that make a pod of this machine's mounts: pairs of a file and the path it is laid over."""
        hostname = hostname_of(pod, pod.spec.node_name)
        folder = room.folder / "place"
        folder.mkdir(parents=True, exist_ok=True)
        own = Path("/etc/resolv.conf")
        texts = {
            "/etc/hosts": hosts_text(pod, room.addresses, hostname),
            "/etc/resolv.conf": resolv_text(pod, own.read_text() if own.exists() else ""),
        }
        binds: list[tuple[str, str]] = []
        for target, text in texts.items():
            file = folder / Path(target).name
            file.write_text(text)
            binds.append((str(file), target))
        return tuple(binds)

    def has_programs(self, pod: Pod) -> bool:
        """Whether any container of the pod is a program, which can read files."""
        every = (*pod.spec.init_containers, *pod.spec.containers)
        return any(isinstance(resolve_image(each.image, self._around.images), ProgramImage) for each in every)

    def _show_folder(self, room: Room, name: str, folder: Path) -> None:
        link = room.folder / "volumes" / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(folder)
        except OSError as error:
            text = f'MountVolume.SetUp failed for volume "{name}" : {error.strerror}: {folder}'
            raise Refused("FailedMount", text) from error

    def _write_volume(self, room: Room, name: str, files: Files | None) -> None:
        folder = room.folder / "volumes" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if files is None:
                folder.chmod(0o777)
            else:
                write_files(folder, files)
        except OSError as error:
            text = f'MountVolume.SetUp failed for volume "{name}" : {error.strerror}: {folder}'
            raise Refused("FailedMount", text) from error

    def _fetcher(self, pod: Pod) -> "Callable[[str, str], asyncio.Future[dict[str, bytes] | None]]":
        references, namespace = self._around.references, pod.metadata.namespace

        def fetch(kind: str, name: str) -> "asyncio.Future[dict[str, bytes] | None]":
            ask = references.config_map if kind == "ConfigMap" else references.secret
            return asyncio.ensure_future(ask(namespace, name))

        return fetch

    # Containers

    async def start(self, pod: Pod, command: StartContainer, room: Room) -> None:
        """Start a container. Raises Refused with the reason for its waiting state, or FairleadError."""
        container = command.container
        image = resolve_image(container.image, self._around.images)
        environment = await self._environment(pod, container, room)
        meta = pod.metadata
        if isinstance(image, StandInImage):
            if any(run.name == container.name for run in pod.spec.init_containers if run.restart_policy != "Always"):
                self._note(pod, command, f"stand-in for {container.image}: done")
                asyncio.get_running_loop().call_soon(self._on_ended, meta.uid, container.name, 0, "", "")
                return
            order = Start(
                id=run_id(pod, container.name, command.restarts),
                identity=Identity(
                    pod=meta.name,
                    namespace=meta.namespace,
                    node=pod.spec.node_name,
                    pod_ips=room.addresses,
                    container=container.name,
                ),
                ports=tuple(PortSpec(port.container_port, port.protocol, port.name) for port in container.ports),
                log=str(log_path(self._around.state, pod, container.name, command.restarts)),
                app=image.app,
                controls=parse_controls(meta.annotations)[0],
            )
            report = await self.standins.start(order, room.netns)
            if isinstance(report, Ended):
                raise Refused("RunContainerError", report.error)
            return
        self._start_program(pod, command, room, image, environment)

    async def _environment(self, pod: Pod, container: Container, room: Room) -> dict[str, str]:
        references, fetch = self._around.references, self._fetcher(pod)
        data = {key: await fetch(*key) for key in references_of(container)}
        try:
            return environment_of(pod, container, room.facts, data, references.services.values())
        except MissingError as missing:
            raise Refused("CreateContainerConfigError", str(missing)) from missing

    def _start_program(
        self, pod: Pod, command: StartContainer, room: Room, image: ProgramImage, values: dict[str, str]
    ) -> None:
        container, hostname = command.container, hostname_of(pod, pod.spec.node_name)
        environment = {"PATH": _PATH, "HOSTNAME": hostname, "HOME": "/root"} | values
        words = command_line(container, (image.path, *image.words), environment)
        if program_of((image.path,), environment) is None:
            text = (
                f"the program {image.path}, to which image {container.image} is mapped, is not there or not executable"
            )
            raise Refused("ErrImageNeverPull", text)
        if program_of(words, environment) is None and not any(m.mount_path for m in container.volume_mounts):
            raise Refused("RunContainerError", f'exec: "{words[0]}": executable file not found in $PATH')
        key = run_id(pod, container.name, command.restarts)
        folder = room.folder / "containers" / f"{container.name}-{command.restarts}"
        mounts = self._mounts(pod, container, room, folder, hostname, environment)
        if image.words:
            mounts += own_mounts()
        pipe = LogPipe(log_path(self._around.state, pod, container.name, command.restarts), self._book)
        what = Launch(
            words=words,
            environment=environment,
            folder=container.working_dir or "/",
            hostname=hostname,
            netns=room.netns,
            mounts=mounts,
            root=str(folder / "root"),
            stdout=pipe.stdout,
            stderr=pipe.stderr,
        )
        group = self._limits.enter(key, container)
        entrances = group.entrances() if group is not None else []
        try:
            pid = launch(replace(what, groups=entrances))
        except (FairleadError, OSError) as error:
            pipe.close()
            self._limits.leave(key)
            raise Refused("RunContainerError", f"failed to start container {container.name}: {error}") from error
        finally:
            for each in entrances:
                os.close(each)
        pipe.started()
        self._programs[key] = _Program(pid, environment, pipe)
        watch = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(watch, self._reap, watch, key, pod.metadata.uid, container.name, folder)

    def _mounts(
        self, pod: Pod, container: Container, room: Room, folder: Path, hostname: str, environment: dict[str, str]
    ) -> list[Mount]:
        try:
            own = Path("/etc/resolv.conf").read_text()
        except OSError:
            own = ""
        texts = {
            "/etc/hosts": hosts_text(pod, room.addresses, hostname),
            "/etc/resolv.conf": resolv_text(pod, own),
            "/etc/hostname": f"{hostname}\n",
            container.termination_message_path: "",
        }
        (folder / "root").mkdir(parents=True, exist_ok=True)
        mounts: list[Mount] = []
        for number, (target, text) in enumerate(texts.items()):
            file = folder / f"file{number}" if text else folder / "termination-log"
            file.write_text(text)
            mounts.append(Mount(str(file), target))
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        for mount in container.volume_mounts:
            volume = volumes.get(mount.name)
            host = volume.host_path.path if volume is not None and volume.host_path is not None else ""
            source = Path(host) if host else room.folder / "volumes" / mount.name
            part = mount.sub_path or expand(mount.sub_path_expr, environment)
            if part:
                source /= part
                if not source.exists():
                    source.mkdir(parents=True)
            if not source.exists():
                raise Refused(
                    "CreateContainerConfigError", f'hostPath "{source}" of volume {mount.name} does not exist'
                )
            mounts.append(Mount(str(source.resolve() if part else source), mount.mount_path, mount.read_only))
        return mounts

    def _reap(self, watch: int, key: str, uid: str, name: str, folder: Path) -> None:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)
        program = self._programs.pop(key)
        _, status = os.waitpid(program.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        program.pipe.close()
        self._book.flush()  # who sees the end in the API finds the last words in the log
        said = ""
        with suppress(OSError):
            said = (folder / "termination-log").read_text(errors="replace")[:4096]
        shutil.rmtree(folder, ignore_errors=True)
        killed = self._limits.leave(key)
        self._on_ended(uid, name, code if code >= 0 else 128 - code, said, "OOMKilled" if killed else "")

    def _standin_ended(self, ended: Ended) -> None:
        uid, name, _ = ended.id.split("/")
        self._on_ended(uid, name, self._typed.pop(ended.id, ended.exit_code), ended.error, "")

    def end_standin(self, pod: Pod, name: str, restarts: int, code: int) -> None:
        """What somebody ran in place of a stand-in has ended with `code`: so does the stand-in."""
        key = run_id(pod, name, restarts)
        if key not in self._programs:
            self._typed[key] = code
            self.standins.stop(key, 0)

    def pids(self) -> dict[str, int]:
        """The first process of every program, by its id."""
        return {key: program.pid for key, program in self._programs.items()}

    def tune(self, pod: Pod, name: str, restarts: int, controls: Controls) -> None:
        """Have a stand-in behave so from now on; programs are what they are."""
        key = run_id(pod, name, restarts)
        if key not in self._programs:
            self.standins.tune(key, controls)

    def terminate(self, pod: Pod, command: Terminate) -> None:
        """Ask a container to end."""
        key = run_id(pod, command.name, command.restarts)
        program = self._programs.get(key)
        if program is None:
            self.standins.stop(key, command.grace)
            return
        number = getattr(signal, command.signal, signal.SIGTERM)
        with suppress(ProcessLookupError):
            os.kill(program.pid, number)

    def kill(self, pod: Pod, command: Kill) -> None:
        """End a container now."""
        key = run_id(pod, command.name, command.restarts)
        program = self._programs.get(key)
        if program is None:
            self.standins.stop(key, 0)
            return
        with suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGKILL)

    async def execute(
        self, pod: Pod, name: str, restarts: int, words: Sequence[str], seconds: float
    ) -> tuple[Outcome, str]:
        """Run a command in a container. A stand-in only takes as long as the sleep in its text, and succeeds."""
        program = self._programs.get(run_id(pod, name, restarts))
        if program is None:
            await asyncio.sleep(min(seconds, sleep_of(words)))
            return Outcome.SUCCESS, ""
        values = [expand(word, program.environment) for word in words]
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            pid = execute(program.pid, values, program.environment, writer)
        finally:
            os.close(writer)
        code, output = await read_output(pid, reader, seconds)
        if code is None:
            return Outcome.FAILURE, f"command timed out: {' '.join(values)!r} timed out after {seconds:g}s"
        return (Outcome.SUCCESS if code == 0 else Outcome.FAILURE), output

    def _note(self, pod: Pod, command: StartContainer, line: str) -> None:
        self._book.write(log_path(self._around.state, pod, command.container.name, command.restarts), line)


def log_path(state: Path, pod: Pod, container: str, restarts: int) -> Path:
    """The log file of one run of a container."""
    meta = pod.metadata
    return state / "logs" / f"{meta.namespace}_{meta.name}_{meta.uid}" / container / f"{restarts}.log"


def run_id(pod: Pod, name: str, restarts: int) -> str:
    """What one run of a container is known by, here and to the stand-ins process."""
    return f"{pod.metadata.uid}/{name}/{restarts}"
