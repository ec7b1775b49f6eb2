"""Bad input and a hostile world: each gives one clear message, the right exit code, and loses nothing good."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SHOP, Command, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

GOOD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data: {a: b}
"""


OLD = """
---
apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: old}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec: {template: {spec: {hostPID: true, restartPolicy: Never, containers: [{name: c, image: i}]}}}
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


def record(command: Command, name: str = "fairlead") -> dict[str, int]:
    return json.loads((command.home / name / "cluster.json").read_text())


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [d for child in children for d in descendants(int(child))]


def host_interfaces() -> set[str]:
    return {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}


def test_invalid_yaml_names_line_and_column_and_starts_nothing(own: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\ndata: {}\n")
    done = own("up", str(bad), "--detach", check=False)
    assert done.returncode == 2
    assert "bad.yaml" in done.stderr
    assert "line 4" in done.stderr
    assert "column" in done.stderr
    assert own("status", check=False).returncode == 1


def test_a_path_that_is_not_there_is_a_usage_error(own: Command) -> None:
    done = own("up", "no/such/folder", "--detach", check=False)
    assert done.returncode == 2
    assert "no/such/folder" in done.stderr


def test_bad_objects_are_named_and_good_ones_come_up(own: Command, tmp_path: Path) -> None:
    text = (
        GOOD
        + "---\napiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: broken}\nspec: {ports: [{port: 0}]}\n"
        + "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\n"
        + OLD
    )
    (tmp_path / "mixed.yaml").write_text(text)
    done = own("up", str(tmp_path / "mixed.yaml"), "--detach", "--nodes", "1", check=False)
    assert done.returncode == 1
    assert 'no matches for kind "Widget" in version "example.org/v1"' in done.stdout
    assert "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive" in done.stdout
    assert 'no matches for kind "ResourceQuota" in version "v1": this cluster does not serve it' in done.stdout
    told = [line.partition("): ")[2] for line in done.stdout.splitlines() if "warning: CronJob old" in line]
    assert told == [
        "spec.jobTemplate.spec.template.spec.hostPID: is without effect in this cluster",
        "batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob",
    ]
    kubeconfig = own("kubeconfig").stdout.strip()
    if shutil.which("kubectl"):
        got = subprocess.run(
            ["kubectl", "--kubeconfig", kubeconfig, "get", "configmap", "good", "-o", "name"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert got.stdout.strip() == "configmap/good"


def test_manifests_come_from_standard_input(own: Command) -> None:
    done = own("up", "-", "--detach", "--nodes", "1", "-o", "json", stdin=GOOD)
    assert json.loads(done.stdout)["applied"] == 1


def test_a_taken_port_is_named(own: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = own("up", "--detach", "--api-port", str(port), check=False)
    assert done.returncode == 3
    assert f"port {port}" in done.stderr
    assert "--api-port" in done.stderr


def test_a_second_cluster_of_the_same_name_is_refused(own: Command) -> None:
    own("up", "--detach", "--nodes", "1")
    done = own("up", "--detach", "--nodes", "1", check=False)
    assert done.returncode == 3
    assert "already up" in done.stderr


def test_a_read_only_home_is_named(tmp_path: Path) -> None:
    inside = f'mount -t tmpfs -o ro none {tmp_path} && exec "$@"'
    command = Command(tmp_path / "home", ("unshare", "--mount", "sh", "-c", inside, "sh"))
    done = command("up", "--detach", check=False)
    assert done.returncode == 3
    assert "cannot be written" in done.stderr
    assert "FAIRLEAD_HOME" in done.stderr


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    inside = (
        f"mount -t tmpfs -o size=256k none {tmp_path} && head -c 300k /dev/zero >{tmp_path}/filler 2>/dev/null;"
        ' exec "$@"'
    )
    command = Command(tmp_path / "home", ("unshare", "--mount", "sh", "-c", inside, "sh"))
    done = command("up", "--detach", check=False)
    assert done.returncode == 3
    assert "no space is left" in done.stderr


def test_a_corrupt_database_is_refused_and_kept(own: Command) -> None:
    own("up", "--detach", "--nodes", "1")
    own("down", "--keep")
    database = own.home / "fairlead" / "data.sqlite"
    database.write_bytes(b"this is not a database" * 400)
    done = own("up", "--detach", "--nodes", "1", check=False)
    assert done.returncode == 3
    assert str(database) in done.stderr
    assert "--fresh" in done.stderr
    assert database.read_bytes().startswith(b"this is not a database")
    assert own("up", "--detach", "--nodes", "1", "--fresh").returncode == 0


@pytest.mark.parametrize("victim", ["keeper", "supervisor"])
def test_kill_9_leaves_nothing_and_the_next_up_resumes(own: Command, tmp_path: Path, victim: str) -> None:
    interfaces = host_interfaces()
    (tmp_path / "good.yaml").write_text(GOOD)
    own("up", str(SHOP), str(tmp_path / "good.yaml"), "--detach")
    told = record(own)
    family = [told["keeper"], *descendants(told["keeper"])]
    assert len(family) > 6
    os.kill(told[victim], signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in family), "every process of the cluster is gone")
    mounts = Path("/proc/self/mounts").read_text()
    assert str(own.home) not in mounts
    assert host_interfaces() == interfaces
    own("up", "--detach")
    assert own.curl("http://172.18.0.2:30080/")["pod"].startswith("web-")


def test_kill_9_of_the_command_in_the_foreground_ends_everything(own: Command) -> None:
    with subprocess.Popen(
        own.argv("up", str(SHOP)), env=own.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "pods ready" in process.stdout.readline()
        told = record(own)
        family = [told["keeper"], *descendants(told["keeper"])]
        process.kill()
    wait_until(lambda: not any(alive(pid) for pid in family), "every process of the cluster is gone")


def test_ctrl_c_ends_the_cluster_in_order(own: Command) -> None:
    with subprocess.Popen(
        own.argv("up", "--nodes", "1"), env=own.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "pods ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert own("status", check=False).returncode == 1
    assert not (own.home / "fairlead").exists()


@pytest.fixture(scope="module")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A cluster whose components may be killed, if it is left working."""
    command = Command(tmp_path_factory.mktemp("battered"))
    command("up", str(SHOP), "--detach")
    yield command
    command("down", "--all", check=False)


@pytest.mark.parametrize("component", ["apiserver", "kubelet", "standins", "agent-node-1"])
def test_a_component_that_dies_is_started_again(battered: Command, component: str) -> None:
    own = battered
    family = descendants(record(own)["keeper"])
    victim = next(pid for pid in family if Path(f"/proc/{pid}/comm").read_text().strip() == component[:15])
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.2)  # the window in which the component is away
    wait_until(
        lambda: (
            own(
                "exec",
                "--from",
                "client",
                "--",
                "curl",
                "-sS",
                "--max-time",
                "2",
                "http://172.18.0.2:30080/",
                check=False,
            ).returncode
            == 0
        ),
        "the shop answers again",
    )
    wait_until(lambda: own("status", check=False).returncode == 0, "the API server answers again")
    names = (Path(f"/proc/{pid}/comm").read_text().strip() for pid in descendants(record(own)["keeper"]))
    assert component[:15] in names


IMPATIENT = """
apiVersion: v1
kind: Pod
metadata: {name: impatient}
spec:
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]
  containers: [{name: c, image: example/web}]
"""


@pytest.mark.skipif(not os.environ.get("FAIRLEAD_LONG"), reason="waits for 50 seconds; FAIRLEAD_LONG=1 runs it")
def test_nodes_that_fall_silent_are_tainted_left_and_come_back(own: Command) -> None:
    own("up", str(SHOP), "-", "--detach", stdin=IMPATIENT)

    def asked(*words: str) -> str:
        argv = ["kubectl", "--kubeconfig", own("kubeconfig").stdout.strip(), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout

    ready = ("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}")
    serving = ("get", "endpointslices", "-n", "shop", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}")
    assert set(asked(*serving).split()) == {"true"}
    family = descendants(record(own)["keeper"])
    kubelet = next(pid for pid in family if Path(f"/proc/{pid}/comm").read_text().strip() == "kubelet")
    os.kill(kubelet, signal.SIGSTOP)
    try:
        wait_until(lambda: asked(*ready).split() == ["Unknown"] * 3, "nobody hears of the nodes", 70)
        wait_until(lambda: asked(*serving).split() == ["false"] * 5, "nobody is sent there")
        taints = asked("get", "node", "node-1", "-o", "jsonpath={.spec.taints[*].effect}").split()
        assert sorted(taints) == ["NoExecute", "NoSchedule"]
        ending = ("get", "pods", "-A", "-o", "jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}")
        wait_until(lambda: asked(*ending) == "impatient", "who does not wait leaves, the others stay")
    finally:
        os.kill(kubelet, signal.SIGCONT)
    wait_until(lambda: asked(*ready).split() == ["True"] * 3, "the nodes are heard of again", 30)
    wait_until(lambda: set(asked(*serving).split()) == {"true"}, "they are sent to again")
    assert asked("get", "node", "node-1", "-o", "jsonpath={.spec.taints}") == ""
    wait_until(lambda: "impatient" not in asked("get", "pods", "-o", "name"), "the pod has ended")


def test_root_and_an_ordinary_user_have_clusters_side_by_side(
    shop: Command,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become an ordinary user beside it")
    folder = Path("/tmp") / f"fairlead-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.chown(folder, 65534, 65534)
    user = Command(folder / "home", ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"))
    try:
        done = user("up", str(SHOP), "--detach", check=False)
        if done.returncode == 3 and "user namespace" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        first, second = shop.curl("http://172.18.0.2:30080/"), user.curl("http://172.18.0.2:30080/")
        assert first["pod"] != second["pod"]
        assert "goto" in user("exec", "--from", "node/node-1", "--", "nft", "list", "ruleset").stdout
        assert user("down").returncode == 0
        assert shop.curl("http://172.18.0.3:30080/")["pod"].startswith("web-")
    finally:
        user("down", "--all", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def test_root_without_the_capability_is_told_why_and_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give up capabilities")
    bounded = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    done = Command(tmp_path / "home", bounded)("up", "--detach", check=False)
    assert done.returncode == 3
    assert "without the capability" in done.stderr
    assert "--privileged" in done.stderr


def test_several_clusters_of_one_user_are_told_apart_by_name(own: Command) -> None:
    own("up", "--detach", "--nodes", "1", "--name", "one")
    own("up", "--detach", "--nodes", "2", "--name", "two")
    lines = {line["name"]: line for line in json.loads(own("status", "--all", "-o", "json").stdout)}
    assert lines["one"]["up"]
    assert lines["two"]["nodes"] == 2
    assert lines["one"]["api"] != lines["two"]["api"]
    own("down", "--name", "one")
    assert own("status", "--name", "two").returncode == 0
