"""Pods as the manifests ask for them: programs, their surroundings, lives and ends, and stand-ins behind services."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Kubectl, kubectls, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or ""
Object = dict[str, Any]

SERVER = """
import http.server, json, os, socket, stat, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists('/shared' + self.path) else 200)
        self.end_headers()
        self.wfile.write(b'here')
    def log_message(self, *_):
        pass
def shown(path):
    with open(path) as file:
        return [file.read(), oct(stat.S_IMODE(os.stat(path).st_mode))]
def files(folder):
    return {name: shown(folder + '/' + name) for name in sorted(os.listdir(folder)) if not name.startswith('..')}
server = http.server.ThreadingHTTPServer(('', 8080), Handler)
print(json.dumps({
    'argument': sys.argv[1:], 'env': dict(os.environ), 'host': socket.gethostname(), 'pid': os.getpid(),
    'cwd': os.getcwd(), 'hosts': shown('/etc/hosts')[0], 'resolv': shown('/etc/resolv.conf')[0],
    'config': files('/config'), 'secret': files('/secret'), 'info': files('/info'), 'order': shown('/shared/order')[0],
}), flush=True)
server.serve_forever()
"""

ASK = """
import base64, os, socket, ssl, sys
host, http, tls, echo, udp = sys.argv[1], *map(int, sys.argv[2:])
with socket.create_connection((host, echo), 3) as s:
    s.sendall(b'\\x00raw bytes')
    assert s.recv(64) == b'\\x00raw bytes'
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(3)
    s.sendto(b'ping', (host, udp))
    assert b'"payload":"ping"' in s.recv(4096)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection((host, tls), 3)) as s:
    s.sendall(b'GET /safe HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n')
    assert b'"path":"/safe"' in s.recv(4096)
with socket.create_connection((host, http), 3) as s:
    key = base64.b64encode(bytes(16)).decode()
    s.sendall(f'GET /ws HTTP/1.1\\r\\nHost: h\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'
              f'Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: {key}\\r\\n\\r\\n'.encode())
    assert s.recv(4096).startswith(b'HTTP/1.1 101')
    s.sendall(b'\\x81\\x85\\0\\0\\0\\0hello')
    assert s.recv(64) == b'\\x81\\x05hello'
print('all spoken')
"""

LOAD = """
import select, socket, sys, time
host, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sent, failed, pods, due = 0, [], set(), time.monotonic()
started = due
while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
    due, sent = due + 1 / rate, sent + 1
    try:
        with socket.create_connection((host, port), 3) as s:
            s.sendall(b'GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n')
            answer = b''
            while part := s.recv(4096):
                answer += part
        assert answer.startswith(b'HTTP/1.1 200'), answer
        if not pods:
            print('begun', flush=True)
        pods.add(answer.split(b'"pod":"', 1)[1].split(b'"', 1)[0])
    except (OSError, AssertionError, IndexError) as error:
        failed.append(f'{time.monotonic() - started:.3f} s: {error!r}')
print(sent, len(pods), sent / (time.monotonic() - started), failed[:5], sep='\\n')
"""


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    spec = {"terminationGracePeriodSeconds": 5, **spec, "containers": list(containers)}
    metadata = {"name": name, "namespace": "pods", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def shell(script: str, name: str = "main", **more: Any) -> Object:
    return {"name": name, "image": "/bin/sh", "command": ["/bin/sh", "-c"], "args": [script], **more}


def service(name: str, *ports: Object) -> Object:
    metadata = {"name": name, "namespace": "pods"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def config(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "pods"}, "data": data}


def variable(name: str, **source: Any) -> Object:
    return {"name": name, "valueFrom": source}


SHARED = {"name": "shared", "mountPath": "/shared"}
SETTINGS = config("settings", colour="green", shape="round")
OBJECTS: list[Object] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pods"}},
    SETTINGS,
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hidden", "namespace": "pods"},
        "stringData": {"password": "swordfish"},
    },
    service("facts", {"port": 80, "targetPort": "web"}),
    pod(
        "facts",
        {
            "name": "main",
            "image": "python:3.13-slim",
            "args": ["-c", SERVER, "$(GREETING)", "$$(GREETING)", "$(NOBODY)"],
            "workingDir": "/shared",
            "ports": [{"name": "web", "containerPort": 8080}],
            "env": [
                {"name": "NAME", "value": "world"},
                {"name": "GREETING", "value": "hello $(NAME)"},
                variable("POD", fieldRef={"fieldPath": "metadata.name"}),
                variable("ADDRESS", fieldRef={"fieldPath": "status.podIP"}),
                variable("NODE", fieldRef={"fieldPath": "spec.nodeName"}),
                variable("COLOUR", configMapKeyRef={"name": "settings", "key": "colour"}),
                variable("PASSWORD", secretKeyRef={"name": "hidden", "key": "password"}),
                variable("ABSENT", configMapKeyRef={"name": "settings", "key": "none", "optional": True}),
            ],
            "envFrom": [{"prefix": "SET_", "configMapRef": {"name": "settings"}}],
            "readinessProbe": {
                "httpGet": {"path": "/unready", "port": "web"},
                "periodSeconds": 1,
                "failureThreshold": 1,
            },
            "livenessProbe": {
                "httpGet": {"path": "/dead", "port": 8080},
                "periodSeconds": 1,
                "failureThreshold": 3,
                "terminationGracePeriodSeconds": 1,
            },
            "volumeMounts": [
                SHARED,
                {"name": "config", "mountPath": "/config"},
                {"name": "secret", "mountPath": "/secret", "readOnly": True},
                {"name": "info", "mountPath": "/info"},
            ],
        },
        shell(
            "until curl -sS http://127.0.0.1:8080/side; do sleep 0.1; done; echo; exec sleep 3600",
            "side",
            volumeMounts=[SHARED],
        ),
        initContainers=[
            shell("sleep 0.2; echo first >>/shared/order", "first", volumeMounts=[SHARED]),
            shell("echo second >>/shared/order", "second", volumeMounts=[SHARED]),
        ],
        volumes=[
            {"name": "shared", "emptyDir": {}},
            {
                "name": "config",
                "configMap": {
                    "name": "settings",
                    "defaultMode": 0o640,
                    "items": [{"key": "colour", "path": "colour"}, {"key": "shape", "path": "shape", "mode": 0o600}],
                },
            },
            {"name": "secret", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
            {
                "name": "info",
                "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
        ],
    ),
    pod("crash", shell("echo a bad run; exit 3")),
    pod("once", shell("echo line one; echo line two; printf 'no newline'"), restartPolicy="Never"),
    pod(
        "second-try",
        shell("test -e /shared/tried && exit 0; touch /shared/tried; exit 1", volumeMounts=[SHARED]),
        restartPolicy="OnFailure",
        volumes=[{"name": "shared", "emptyDir": {}}],
    ),
    pod("lacking", shell("echo $LATER; exec sleep 3600", envFrom=[{"configMapRef": {"name": "later"}}])),
    pod(
        "polite",
        shell(
            "trap 'echo asked to end; sleep 0.3; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
            lifecycle={"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo before the end >/proc/1/fd/1"]}}},
        ),
    ),
    pod("stubborn", shell("trap '' TERM; echo up; while :; do sleep 0.05; done"), terminationGracePeriodSeconds=1),
    pod(
        "host",
        {
            "name": "main",
            "image": "python",
            "command": ["/bin/sh", "-c", 'mkdir /tmp/served; hostname >/tmp/served/name; exec "$0" "$@"', PYTHON],
            "args": ["-m", "http.server", "18080", "-d", "/tmp/served"],
            "readinessProbe": {"tcpSocket": {"port": 18080}, "periodSeconds": 1},
        },
        hostNetwork=True,
        terminationGracePeriodSeconds=1,
    ),
    service("gated", {"port": 80}),
    pod(
        "gated",
        shell(
            "exec sleep 3600",
            readinessProbe={
                "exec": {"command": ["test", "-e", "/shared/open"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            },
            volumeMounts=[SHARED],
        ),
        terminationGracePeriodSeconds=1,
        volumes=[{"name": "shared", "emptyDir": {}}],
    ),
    service(
        "standin",
        {"name": "http", "port": 80, "targetPort": "http"},
        {"name": "https", "port": 443, "targetPort": "https"},
        {"name": "raw", "port": 7000},
        {"name": "dns", "port": 5300, "protocol": "UDP"},
    ),
    pod(
        "standin",
        {
            "name": "main",
            "image": "registry.example/any:1",
            "ports": [
                {"name": "http", "containerPort": 8080},
                {"name": "https", "containerPort": 8443},
                {"name": "raw", "containerPort": 7000},
                {"name": "dns", "containerPort": 5300, "protocol": "UDP"},
            ],
        },
    ),
    service("rolled", {"port": 80, "targetPort": 8080}),
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "rolled", "namespace": "pods"},
        "spec": {
            "replicas": 5,
            "selector": {"matchLabels": {"app": "rolled"}},
            "template": {
                "metadata": {"labels": {"app": "rolled"}},
                "spec": {"containers": [{"name": "main", "image": "rolled:1", "ports": [{"containerPort": 8080}]}]},
            },
        },
    },
]


def bundle(*objects: Object) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def few() -> list[Object]:
    """The namespace and those of OBJECTS that show the most in the least time."""
    chosen = ("pods", "settings", "hidden", "facts", "once", "polite", "standin")
    return [each for each in OBJECTS if each["metadata"]["name"] in chosen]


class Pods:
    """The cluster and what is in the namespace `pods`."""

    def __init__(self, command: Command, kubectl: Kubectl) -> None:
        self.command = command
        self.kubectl = kubectl

    def run(self, *words: str, stdin: str | None = None) -> str:
        return self.kubectl("-n", "pods", *words, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        self.run("apply", "-f", "-", stdin=bundle(*objects))

    def status(self, name: str) -> Object:
        return self.kubectl.json("-n", "pods", "get", "pod", name)["status"]

    def container(self, name: str, which: str = "main") -> Object:
        return next(each for each in self.status(name).get("containerStatuses", []) if each["name"] == which)

    def ready(self, name: str) -> bool:
        return any(each["type"] == "Ready" and each["status"] == "True" for each in self.status(name)["conditions"])

    def endpoints(self, name: str) -> list[bool]:
        words = ("get", "endpointslices", "-n", "pods", "-l", f"kubernetes.io/service-name={name}")
        slices = self.kubectl.json(*words)["items"]
        return [each["conditions"]["ready"] for one in slices for each in one.get("endpoints") or ()]

    def address(self, name: str) -> str:
        return self.kubectl.json("-n", "pods", "get", "service", name)["spec"]["clusterIP"]

    def within(self, name: str, *words: str, check: bool = True) -> str:
        return self.command("exec", "--from", f"pod/pods/{name}", "--", *words, check=check).stdout

    def events(self, name: str, reason: str) -> list[str]:
        words = ("get", "events", "-n", "pods", "--field-selector", f"involvedObject.name={name},reason={reason}")
        return [each["message"] for each in self.kubectl.json(*words)["items"]]


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """A cluster of two nodes with python mapped to this machine's, and everything of OBJECTS."""
    binaries = kubectls()
    if not binaries or not PYTHON:
        pytest.skip("needs kubectl and python3 of the system")
    home = tmp_path_factory.mktemp("pods")
    command = Command(home)
    try:
        command("up", "--detach", "--nodes", "2", "--image", f"python*={PYTHON}")
        kubectl = Kubectl(binaries[-1], Path(command("kubeconfig").stdout.strip()), home)
        kubectl("apply", "-f", "-", stdin=bundle(*OBJECTS))
        yield Pods(command, kubectl)
    finally:
        command("down", "--all", check=False)


def test_a_program_finds_what_its_manifest_promised(pods: Pods) -> None:
    wait_until(lambda: pods.ready("facts"), "the pod is ready")
    told = json.loads(pods.run("logs", "facts", "-c", "main").splitlines()[0])
    status = pods.status("facts")
    assert told["argument"] == ["hello world", "$(GREETING)", "$(NOBODY)"]
    assert told["cwd"] == "/shared"
    assert told["pid"] == 1
    assert told["host"] == "facts"
    env = told["env"]
    assert (env["POD"], env["ADDRESS"], env["COLOUR"]) == ("facts", status["podIP"], "green")
    assert (env["PASSWORD"], env["SET_shape"], env["NODE"][:5]) == ("swordfish", "round", "node-")
    assert "ABSENT" not in env
    assert env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert env["FACTS_SERVICE_PORT"] == "80"
    assert told["config"] == {"colour": ["green", "0o640"], "shape": ["round", "0o600"]}
    assert told["secret"] == {"password": ["swordfish", "0o400"]}
    assert told["info"]["labels"] == ['app="facts"', "0o644"]
    assert told["order"] == "first\nsecond\n"
    assert f"{status['podIP']}\tfacts" in told["hosts"]
    assert "search pods.svc.cluster.local svc.cluster.local cluster.local" in told["resolv"]
    assert "nameserver 10.96.0.10" in told["resolv"]
    assert "options ndots:5" in told["resolv"]


def test_containers_of_a_pod_share_its_network(pods: Pods) -> None:
    wait_until(lambda: "here" in pods.run("logs", "facts", "-c", "side"), "one container answers the other")


def test_what_happened_to_a_pod_is_told_in_events(pods: Pods) -> None:
    wait_until(lambda: "Started container main" in pods.events("facts", "Started"), "the start is told")
    pulled = 'Container image "python:3.13-slim" already present on machine'
    assert any(message.startswith(pulled) for message in pods.events("facts", "Pulled"))
    assert "Created container: main" in pods.events("facts", "Created")
    assert "Started container" in pods.run("describe", "pod", "facts")


def test_a_changed_config_map_reaches_the_volume_in_one_step(pods: Pods) -> None:
    wait_until(lambda: pods.ready("facts"), "the pod is ready")
    pods.apply(config("settings", colour="blue", shape="square"))
    both = ("sh", "-c", "cat /config/colour; echo; cat /config/shape; readlink /config/colour")
    wait_until(lambda: pods.within("facts", *both) == "blue\nsquare..data/colour\n", "the files follow")
    assert pods.within("facts", "stat", "-L", "-c", "%a", "/config/shape") == "600\n"
    pods.apply(SETTINGS)


def test_a_changed_label_reaches_the_downward_volume(pods: Pods) -> None:
    wait_until(lambda: pods.ready("facts"), "the pod is ready")
    pods.run("label", "pod", "facts", "tier=front")
    wait_until(lambda: 'tier="front"' in pods.within("facts", "cat", "/info/labels"), "the file follows")


def test_readiness_takes_a_pod_out_of_its_service_and_puts_it_back(pods: Pods) -> None:
    wait_until(lambda: pods.endpoints("facts") == [True], "the endpoint is ready")
    pods.within("facts", "touch", "/shared/unready")
    wait_until(lambda: pods.endpoints("facts") == [False], "the endpoint is not ready")
    told = "Readiness probe failed: HTTP probe failed with statuscode: 500"
    wait_until(lambda: told in pods.events("facts", "Unhealthy"), "the failure is told")
    assert pods.container("facts")["restartCount"] == 0
    pods.within("facts", "rm", "/shared/unready")
    wait_until(lambda: pods.endpoints("facts") == [True], "the endpoint is ready again")


def test_an_exec_probe_decides_readiness(pods: Pods) -> None:
    wait_until(lambda: pods.endpoints("gated") == [False], "the endpoint waits")
    pods.within("gated", "touch", "/shared/open")
    wait_until(lambda: pods.endpoints("gated") == [True], "the endpoint is ready")
    pods.within("gated", "rm", "/shared/open")
    wait_until(lambda: pods.endpoints("gated") == [False], "the endpoint is not ready")


def test_a_failed_liveness_probe_restarts_the_container_alone(pods: Pods) -> None:
    wait_until(lambda: pods.ready("facts"), "the pod is ready")
    before = pods.container("facts")["restartCount"]
    pods.within("facts", "touch", "/shared/dead")
    told = "Container main failed liveness probe, will be restarted"
    wait_until(lambda: told in pods.events("facts", "Killing"), "the container is ended")
    pods.within("facts", "rm", "-f", "/shared/dead")
    wait_until(lambda: pods.container("facts")["restartCount"] > before, "it is started again")
    wait_until(lambda: pods.ready("facts"), "the pod is ready again")
    assert pods.container("facts", "side")["restartCount"] == 0
    assert pods.container("facts")["lastState"]["terminated"]["exitCode"] == 137


def test_a_crashing_container_backs_off_and_keeps_its_previous_log(pods: Pods) -> None:
    def waits() -> bool:
        return pods.container("crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"

    wait_until(waits, "it backs off")
    found = pods.container("crash")
    assert found["restartCount"] >= 1
    assert found["lastState"]["terminated"]["exitCode"] == 3
    message = found["state"]["waiting"]["message"]
    assert re.fullmatch(r"back-off [124]0s restarting failed container=main pod=crash_pods\([0-9a-f-]+\)", message)
    assert pods.run("logs", "crash", "--previous") == "a bad run\n"
    assert "CrashLoopBackOff" in pods.run("get", "pod", "crash")


def test_restart_policies_end_pods(pods: Pods) -> None:
    wait_until(lambda: pods.status("once")["phase"] == "Succeeded", "the pod is done")
    assert pods.run("logs", "once") == "line one\nline two\nno newline\n"
    assert pods.run("logs", "once", "--tail=1") == "no newline\n"
    assert pods.container("once")["state"]["terminated"]["reason"] == "Completed"
    wait_until(lambda: pods.status("second-try")["phase"] == "Succeeded", "the second try succeeds")
    assert pods.container("second-try")["restartCount"] == 1


def test_a_missing_config_map_holds_a_container_until_it_appears(pods: Pods) -> None:
    def waiting() -> Object:
        return pods.container("lacking")["state"].get("waiting", {})

    wait_until(lambda: waiting().get("reason") == "CreateContainerConfigError", "the container is held")
    assert waiting()["message"] == 'configmap "later" not found'
    assert 'Error: configmap "later" not found' in pods.events("lacking", "Failed")
    pods.apply(config("later", LATER="now"))
    took = wait_until(lambda: pods.ready("lacking"), "the container runs")
    assert took < 5
    wait_until(lambda: pods.run("logs", "lacking") == "now\n", "its log")


def test_a_program_is_asked_to_end_and_its_last_words_are_kept(pods: Pods) -> None:
    wait_until(lambda: pods.run("logs", "polite") == "up\n", "it runs")
    argv = [str(pods.kubectl.binary), "logs", "-f", "polite", "-n", "pods"]
    with subprocess.Popen(argv, env=pods.kubectl.environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "up\n"
        started = time.monotonic()
        pods.run("delete", "pod", "polite")
        took = time.monotonic() - started
        out, _ = following.communicate(timeout=10)
    assert out == "before the end\nasked to end\nbye\n"
    assert took < 4


def test_a_program_that_does_not_listen_is_killed_after_its_grace(pods: Pods) -> None:
    wait_until(lambda: pods.run("logs", "stubborn") == "up\n", "it runs")
    started = time.monotonic()
    pods.run("delete", "pod", "stubborn")
    assert 1 <= time.monotonic() - started < 4


def test_a_pod_on_its_nodes_network(pods: Pods) -> None:
    wait_until(lambda: pods.ready("host"), "the pod is ready")
    status = pods.status("host")
    assert status["podIP"] == status["hostIP"]
    words = ("exec", "--from", "client", "--", "curl", "-sS", f"http://{status['hostIP']}:18080/name")
    node = pods.kubectl.json("-n", "pods", "get", "pod", "host")["spec"]["nodeName"]
    assert pods.command(*words).stdout == f"{node}\n"


def test_a_stand_in_speaks_every_protocol_through_its_service(pods: Pods) -> None:
    wait_until(lambda: pods.endpoints("standin") == [True], "the endpoint is ready")
    ports = ("80", "443", "7000", "5300")
    words = ("exec", "--from", "node/node-1", "--", PYTHON, "-c", ASK, pods.address("standin"), *ports)
    assert pods.command(*words).stdout == "all spoken\n"


def test_commands_run_in_pods(pods: Pods) -> None:
    wait_until(lambda: pods.ready("standin") and pods.ready("facts"), "the pods are ready")
    address = pods.status("standin")["podIP"]
    assert f" {address}/" in pods.within("standin", "ip", "-4", "addr")
    assert '"pod":"standin"' in pods.within("standin", "curl", "-sS", "http://127.0.0.1:8080/")
    assert "here" in pods.within("standin", "curl", "-sS", "http://facts/")
    assert pods.within("facts", "hostname") == "facts\n"
    assert pods.within("facts", "cat", "/secret/password") == "swordfish"
    assert not Path("/secret").exists()


def test_a_rolling_update_under_load_fails_no_request(pods: Pods) -> None:
    pods.run("rollout", "status", "deployment/rolled", "--timeout=30s")
    argv = pods.command.argv("exec", "--from", "node/node-1", "--")
    argv += [PYTHON, "-c", LOAD, pods.address("rolled"), "80", "200"]
    with subprocess.Popen(
        argv, env=pods.command.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "begun\n"
        pods.run("set", "image", "deployment/rolled", "main=rolled:2")
        pods.run("rollout", "status", "deployment/rolled", "--timeout=30s")
        wait_until(lambda: pods.endpoints("rolled") == [True] * 5, "the former pods are gone")
        out, _ = load.communicate("", timeout=20)
    sent, seen, rate, failed = out.splitlines()
    assert failed == "[]", out
    assert int(seen) > 5
    assert int(sent) > 100
    assert float(rate) > 100


def test_pods_are_right_again_after_the_kubelet_was_killed(pods: Pods) -> None:
    wait_until(lambda: pods.ready("facts") and pods.ready("standin"), "the pods are ready")
    record = json.loads((pods.command.home / "fairlead" / "cluster.json").read_text())
    before = pods.container("standin")["restartCount"]
    pid = next(pid for pid in descendants(record["keeper"]) if Path(f"/proc/{pid}/comm").read_text() == "kubelet\n")
    os.kill(pid, 9)
    wait_until(lambda: pods.container("standin")["restartCount"] > before, "the container is started again")
    for name in ("facts", "standin"):
        wait_until(lambda name=name: pods.ready(name) and pods.endpoints(name) == [True], f"{name} is ready again")
    assert pods.status("once")["phase"] == "Succeeded"
    assert pods.container("once")["restartCount"] == 0
    assert "here" in pods.within("standin", "curl", "-sS", "http://facts/")


def test_pods_of_an_ordinary_user_are_no_different(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become an ordinary user beside it")
    folder = Path("/tmp") / f"fairlead-pods-{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.chown(folder, 65534, 65534)
    user = Command(folder / "home", ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"))
    try:
        done = user("up", "--detach", "--nodes", "1", "--image", f"python*={PYTHON}", check=False)
        if done.returncode == 3 and "user namespace" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        pods = Pods(user, Kubectl(kubectls()[-1], Path(user("kubeconfig").stdout.strip()), tmp_path))
        pods.kubectl("apply", "-f", "-", stdin=bundle(*few()))
        test_a_program_finds_what_its_manifest_promised(pods)
        test_containers_of_a_pod_share_its_network(pods)
        test_readiness_takes_a_pod_out_of_its_service_and_puts_it_back(pods)
        test_a_program_is_asked_to_end_and_its_last_words_are_kept(pods)
        test_a_stand_in_speaks_every_protocol_through_its_service(pods)
        test_commands_run_in_pods(pods)
    finally:
        user("down", "--all", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [d for child in children for d in descendants(int(child))]
