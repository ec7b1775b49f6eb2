"""kubectl exec, attach, cp, run -it and port-forward, by every kubectl from 1.27 on: SPDY, WebSocket, and SPDY inside a
WebSocket, to programs and to stand-ins.
"""

import os
import pty
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: program}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: talks
    image: busybox
    workingDir: /var
    command: [sh, -c, "i=0; while sleep 0.2; do i=$((i+1)); echo tick $i; echo tock $i >&2; done"]
    env: [{name: COLOUR, value: red}]
  - {name: sleeps, image: busybox, command: [sleep, "1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: standin}
spec:
  containers:
  - {name: web, image: example/web:1, ports: [{containerPort: 8080}], env: [{name: COLOUR, value: blue}]}
"""


OFTEN = ("kubectl.1.29", "kubectl.1.30", "kubectl.1.33")
"""One for each way of streaming: SPDY alone, WebSocket for exec, WebSocket for port-forward too."""


def every_kubectl() -> list[Path]:
    """Those of `OFTEN`, and all there are under FAIRLEAD_LONG=1."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    beside = sorted(Path(found).resolve().parent.glob("kubectl.1.*"))
    often = beside if os.environ.get("FAIRLEAD_LONG") else [path for path in beside if path.name in OFTEN]
    return often or [Path(found)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("exec"))
    command("up", "--nodes", "1", "--detach", "--image", "busybox*=/bin/sh", "--timeout", "60", "-", stdin=PODS)
    yield command
    command("down", "--all", check=False)


@pytest.fixture(scope="module", params=every_kubectl() or [None], ids=lambda path: path.name if path else "none")
def kubectl(request: pytest.FixtureRequest, cluster: Command, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    return Kubectl(request.param, Path(cluster("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("home"))


def test_a_command_runs_inside_a_program_s_container(kubectl: Kubectl) -> None:
    done = kubectl.run(
        "exec",
        "program",
        "-c",
        "talks",
        "--",
        "sh",
        "-c",
        "pwd; echo $COLOUR; hostname; echo no >&2; exit 3",
        check=False,
    )
    assert done.stdout.split() == ["/var", "red", "program"]
    assert done.stderr.splitlines()[0] == "no"
    assert done.returncode == 3
    processes = kubectl("exec", "program", "-c", "sleeps", "--", "ps", "-o", "args").splitlines()[1:]
    assert processes == ["sleep 1000", "ps -o args"]


def test_a_command_beside_a_standin_sees_the_pod_and_not_the_cluster(kubectl: Kubectl) -> None:
    said = kubectl(
        "exec", "standin", "--", "sh", "-c", "hostname; echo $COLOUR; ip -4 -o addr show eth0; ps -o pid | wc -l"
    )
    lines = said.split()
    assert lines[:2] == ["standin", "blue"]
    assert any(each.startswith("10.244.") for each in lines)
    assert int(lines[-1]) <= 5
    answered = kubectl("exec", "standin", "--", "curl", "-s", "http://127.0.0.1:8080/")
    assert '"pod":"standin"' in answered


def test_input_reaches_the_command_and_its_end_too(kubectl: Kubectl) -> None:
    text = "".join(f"line {number}\n" for number in range(30_000))
    assert kubectl("exec", "-i", "standin", "--", "cat", stdin=text) == text
    assert kubectl("exec", "-i", "program", "-c", "sleeps", "--", "wc", "-l", stdin=text).strip() == "30000"


def test_a_command_that_is_not_there_gives_127_and_refusals_are_upstreams(kubectl: Kubectl) -> None:
    done = kubectl.run("exec", "standin", "--", "nosuch", check=False)
    assert (done.returncode, 'exec: "nosuch": executable file not found in $PATH' in done.stderr) == (127, True)
    done = kubectl.run("exec", "program", "-c", "nope", "--", "true", check=False)
    assert (done.returncode, "container nope is not valid for pod program" in done.stderr) == (1, True)
    done = kubectl.run("exec", "nopod", "--", "true", check=False)
    assert 'pods "nopod" not found' in done.stderr
    path = "/api/v1/namespaces/default/pods/standin/exec?command=ls"
    assert "at least one of stdin, stdout, stderr" in kubectl.run("get", "--raw", path, check=False).stderr
    assert "Upgrade request required" in kubectl.run("get", "--raw", path + "&stdout=1", check=False).stderr


def test_a_terminal_is_one_and_follows_the_window_s_size(kubectl: Kubectl) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    words = [
        "exec",
        "-it",
        "standin",
        "--",
        "sh",
        "-c",
        "test -t 0 && echo tty $TERM; sleep 0.3; stty size; read x; echo got $x",
    ]
    running = subprocess.Popen(
        [str(kubectl.binary), *words], env=kubectl.environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()

    def saw(text: bytes) -> bool:
        try:
            seen.extend(os.read(ours, 4096))
        except BlockingIOError:
            pass
        return text in seen

    try:
        wait_until(lambda: saw(b"33 111"), "the size of the window")
        assert b"tty xterm" in seen
        os.write(ours, b"word\n")
        wait_until(lambda: saw(b"got word"), "what was typed")
        assert running.wait(10) == 0
    finally:
        running.kill()
        os.close(ours)


def test_a_command_ends_when_its_client_goes(kubectl: Kubectl) -> None:
    asked = [str(kubectl.binary), "exec", "program", "-c", "sleeps", "--", "sleep", "987"]
    client = subprocess.Popen(asked, env=kubectl.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def processes() -> str:
        return kubectl("exec", "program", "-c", "sleeps", "--", "ps", "-o", "args")

    try:
        wait_until(lambda: "sleep 987" in processes(), "the command")
        client.kill()
        client.wait()
        wait_until(lambda: "sleep 987" not in processes(), "the command's end")
    finally:
        client.kill()


def test_attach_shows_what_a_container_writes_from_now_on(kubectl: Kubectl) -> None:
    words = [str(kubectl.binary), "attach", "program", "-c", "talks"]
    client = subprocess.Popen(words, env=kubectl.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        first = client.stdout.readline().split()
        second = client.stdout.readline().split()
        assert first[0] == second[0] == "tick"
        assert int(second[1]) == int(first[1]) + 1
    finally:
        client.kill()
        _, told = client.communicate()
    assert "tock" in told


def test_run_it_talks_to_a_shell_and_gives_its_exit_code(kubectl: Kubectl) -> None:
    name = "talk-" + kubectl.binary.suffix.strip(".")
    done = kubectl.run(
        "run", name, "-i", "--rm", "--restart=Never", "--image=example/tools", "--command", "--",
        "sh", "-c", "hostname; cat; exit 4", stdin="typed\n", check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == [name, "typed"]
    assert done.returncode == 4
    assert "NotFound" in kubectl.run("get", "pod", name, check=False).stderr


def test_cp_carries_files_and_folders_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "blob").write_bytes(os.urandom(2_000_000))
    (folder / "text").write_text("hello\n")
    for pod in (("standin",), ("program", "-c", "sleeps")):
        kubectl("cp", str(folder), f"{pod[0]}:/tmp/copied", *pod[1:])
        kubectl("cp", f"{pod[0]}:/tmp/copied", str(tmp_path / pod[0]), *pod[1:])
        assert (tmp_path / pod[0] / "blob").read_bytes() == (folder / "blob").read_bytes()
        assert (tmp_path / pod[0] / "text").read_text() == "hello\n"
        kubectl("exec", *pod, "--", "rm", "-r", "/tmp/copied")
    assert not Path("/tmp/copied").exists()


def test_port_forward_serves_many_connections_and_tells_what_fails(kubectl: Kubectl) -> None:
    words = [str(kubectl.binary), "port-forward", "pod/standin", ":8080", ":9"]
    client = subprocess.Popen(words, env=kubectl.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        ports: dict[str, int] = {}
        while len(ports) < 2:
            line = client.stdout.readline()
            assert line, "kubectl ended"
            if "127.0.0.1" in line:
                ports[line.split()[-1]] = int(line.split()[2].rsplit(":", 1)[1])
        held = [socket.create_connection(("127.0.0.1", ports["8080"]), 5) for _ in range(5)]
        for number, each in enumerate(held):
            each.sendall(f"GET /{number} HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n".encode())
        for number, each in enumerate(held):
            answer = b""
            while piece := each.recv(65536):
                answer += piece
            assert b'"pod":"standin"' in answer
            assert f'"path":"/{number}"'.encode() in answer
            each.close()
        with socket.create_connection(("127.0.0.1", ports["9"]), 5) as refused:
            refused.sendall(b"x")
            refused.settimeout(5)
            try:
                assert refused.recv(1) == b""
            except ConnectionResetError:
                pass
        deadline = time.monotonic() + 5
        while client.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        client.kill()
        _, told = client.communicate()
    assert "dial tcp4 127.0.0.1:9: connect: connection refused" in told
