"""Commands run at the places of a cluster: as root, and as an ordinary user through a user namespace."""

import asyncio
import ctypes
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead.cluster.places import Place, enter, open_place, serve_places
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.processes import (
    Namespaces,
    die_with_parent,
    make_mounts_private,
    map_own_ids,
    mount_proc,
    unshare,
)
from fairlead.net import parse_address

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="takes on the ids of several users")]

NOBODY = 65534
KINDS = Namespaces.NET | Namespaces.MOUNT | Namespaces.PID | Namespaces.UTS
NODE_1, NODE_2, POD = "172.18.0.2", "172.18.0.3", "10.244.1.2"


def serve(folder: Path) -> None:
    """A cluster's process 1 that only hands out places."""
    die_with_parent()
    make_mounts_private()
    mount_proc()
    topology = Topology.build(TopologySpec(nodes=2))
    pod = topology.attach_pod("node-1", parse_address(POD))
    hosts = folder / "hosts"
    hosts.write_text("10.9.8.7 shown-inside\n")

    def find(text: str) -> Place | None:
        if text == "pod/shop/gone":
            return Place(topology.client.netns, process=4194303)
        netns = pod.netns if text == "pod/shop/web" else topology.place(text)
        return None if netns is None else Place(netns, binds=((str(hosts), "/etc/hosts"),))

    asyncio.run(serve_places(folder / "places", find, topology.places))


def as_user(uid: int, run: Callable[[], int | None]) -> int:
    """Fork a child that runs `run` as `uid` and ends with its code. The interpreter's files may be root's alone."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as after exec: else /proc/self is root's
        code = run() or 0
    except BaseException:  # a forked child must not run the tests of its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def boot(uid: int, folder: Path) -> int:
    """Start a cluster as `uid` and return its keeper, with which it ends."""

    def keep() -> None:
        die_with_parent()
        unshare(KINDS | (Namespaces.USER if uid else Namespaces(0)))
        if uid:
            map_own_ids(uid, uid)
        os.waitpid(as_user(0, lambda: serve(folder)), 0)

    return as_user(uid, keep)


@pytest.fixture(params=[0, NOBODY], ids=["root", "nobody"])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    uid = request.param
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, uid, uid)
        keeper = boot(uid, folder)
        deadline = time.monotonic() + 10
        while not answers(folder / "places"):
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.01)
        yield uid, folder / "places"
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(path)) == 0


def run(cluster: tuple[int, Path], place: str, *command: str, folder: str = "/") -> tuple[int, str]:
    """Enter a place as the cluster's user and return the exit code and everything printed."""
    uid, path = cluster
    reader, writer = os.pipe()

    def inside() -> int:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.chdir(folder)
        return enter(path, place, command)

    child = as_user(uid, inside)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def test_each_place_shows_its_own_network(cluster: tuple[int, Path]):
    shown = [("node/node-1", NODE_1), ("node/node-2", NODE_2), ("client", "198.51.100.2"), ("pod/shop/web", POD)]
    for place, address in shown:
        code, text = run(cluster, place, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
        assert (code, f" {address}/" in text) == (0, True), text


def test_a_pod_is_reached_from_the_client_and_the_way_back(cluster: tuple[int, Path]):
    listen = f"import socket; s = socket.create_server(('{POD}', 80)); print('.', end='', flush=True); s.accept()"
    dial = f"import socket; print(socket.create_connection(('{POD}', 80), 5).getsockname()[0])"
    uid, path = cluster
    reader, writer = os.pipe()

    def serve_one() -> int:
        os.dup2(writer, 1)
        return enter(path, "pod/shop/web", ["/usr/bin/python3", "-c", listen])

    server = as_user(uid, serve_one)
    assert os.read(reader, 1) == b"."
    assert run(cluster, "client", "/usr/bin/python3", "-c", dial) == (0, "198.51.100.2\n")
    assert os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) == 0
    os.close(reader)
    os.close(writer)


def test_files_are_laid_over_inside_only(cluster: tuple[int, Path]):
    assert run(cluster, "client", "cat", "/etc/hosts") == (0, "10.9.8.7 shown-inside\n")
    assert "shown-inside" not in Path("/etc/hosts").read_text()


def test_processes_are_those_of_the_cluster(cluster: tuple[int, Path]):
    code, text = run(cluster, "client", "sh", "-c", "echo /proc/[0-9]*")
    assert code == 0
    assert "/proc/1" in text.split()
    assert len(text.split()) <= 3  # the server and the shell


def test_the_command_is_user_0_in_there_and_keeps_its_folder(cluster: tuple[int, Path]):
    assert run(cluster, "lb", "sh", "-c", "id -u; pwd", folder="/usr") == (0, "0\n/usr\n")


def test_exit_codes_and_signals_pass_through(cluster: tuple[int, Path]):
    assert run(cluster, "client", "sh", "-c", "exit 7")[0] == 7
    assert run(cluster, "client", "sh", "-c", "kill -9 $$")[0] == 137
    assert run(cluster, "client", "no-such-command") == (127, "no-such-command: command not found\n")
    assert run(cluster, "client", "/etc/passwd") == (126, "/etc/passwd: Permission denied\n")


def test_a_signal_sent_to_the_caller_reaches_the_command(cluster: tuple[int, Path]):
    uid, path = cluster
    reader, writer = os.pipe()

    def inside() -> int:
        os.dup2(writer, 1)
        return enter(path, "client", ["sh", "-c", "trap 'exit 5' TERM; echo on; while :; do sleep 0.02; done"])

    child = as_user(uid, inside)
    assert os.read(reader, 3) == b"on\n"
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    os.close(reader)
    os.close(writer)


def test_the_terminal_is_the_commands(cluster: tuple[int, Path]):
    uid, path = cluster
    child, terminal = pty.fork()
    if child == 0:
        inner = as_user(uid, lambda: enter(path, "client", ["sh", "-c", "trap 'echo bye; exit 3' INT; tty; cat"]))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
    shown = read_until(terminal, "/dev/pts/")
    os.write(terminal, b"typed\n")
    shown += read_until(terminal, "typed\r\ntyped")  # the terminal's echo, then cat's
    os.write(terminal, b"\x03")
    shown += read_until(terminal, "bye")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3, shown
    os.close(terminal)


def read_until(terminal: int, wanted: str) -> str:
    shown = ""
    deadline = time.monotonic() + 10
    while wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{shown!r} lacks {wanted!r}"
        shown += os.read(terminal, 4096).decode()
    return shown


def test_an_unknown_place_is_refused_with_the_known_ones(cluster: tuple[int, Path]):
    for place in ("node/node-9", "pod/shop/gone"):
        with pytest.raises(FairleadError, match=place) as refusal:
            open_place(cluster[1], place)
        assert refusal.value.remedy == "places: client, lb, fabric, node/node-1, node/node-2"


def test_root_enters_an_ordinary_users_cluster(cluster: tuple[int, Path]):
    code, text = run((0, cluster[1]), "node/node-1", "ip", "-4", "-o", "addr", "show", "dev", "eth0")
    assert (code, NODE_1 in text) == (0, True), text


def test_another_user_is_kept_out(cluster: tuple[int, Path]):
    child = as_user(65533, lambda: refused(cluster[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def refused(path: Path) -> int:
    try:
        open_place(path, "client")
    except FairleadError:
        return 0
    return 1


def test_no_cluster_is_one_clear_message(tmp_path: Path):
    with pytest.raises(FairleadError, match="no cluster answers"):
        open_place(tmp_path / "places", "client")


def test_the_host_is_not_changed(cluster: tuple[int, Path]):
    before = subprocess.run(["ip", "-br", "link"], check=True, capture_output=True).stdout
    run(cluster, "client", "ip", "link", "set", "eth0", "down")
    assert subprocess.run(["ip", "-br", "link"], check=True, capture_output=True).stdout == before
