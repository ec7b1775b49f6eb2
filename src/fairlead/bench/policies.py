"""What network policies cost the node agent: everything from a process's start, one label, memory.

Ten thousand pods in a hundred namespaces under a thousand policies, as bytes of an API server; a process of its own in
a fresh network namespace reads, compiles, renders and programs them, and then follows changes of one label. Measured
for a node with a hundredth of the pods, and for one that has them all. Baseline of programming is the time to read the
lists alone; of a change, one replaced row with nothing compiled.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from os import geteuid
from pathlib import Path

import msgspec

from fairlead.agents.node.policies import PolicyPart
from fairlead.agents.node.policy_objects import (
    CLUSTER_POLICIES,
    PolicyObjects,
    keep_namespace,
    keep_network_policy,
    keep_pod,
)
from fairlead.agents.node.tables import Outcome, Table
from fairlead.bench.measurement import Measurement, at_most
from fairlead.drivers.collection import settle_memory
from fairlead.drivers.graceperiods import wait_for_grace_period
from fairlead.drivers.kubeapi import Applied, Replaced
from fairlead.drivers.kubeapi.views import decode_list_kept, decode_view
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.nft.transactions import Transaction
from fairlead.render.policy_chains import PolicySettings

_UNSHARE = ["unshare", "--net"] if geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
_APPS, _NAMESPACES, _CHANGES = 10, 100, 500
_SECONDS, _CHANGE_MS = 2.0, 100.0


def policies(pods: int = 10_000, count: int = 1_000) -> list[Measurement]:
    """Measure a node with a hundredth of the pods, and one with all of them."""
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        for nodes in (100, 1):
            _write_world(Path(folder), pods, count, nodes)
            command = [*_UNSHARE, sys.executable, "-m", "fairlead.bench.policies", folder, str(nodes), str(time.time())]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            found += msgspec.json.decode(done.stdout, type=list[Measurement])
    return found


def world_objects(pods: int, count: int, nodes: int = 1) -> dict[str, list[dict[str, object]]]:
    """The objects by the names of their resources."""
    return {
        "namespaces": [_namespace(number) for number in range(_NAMESPACES)],
        "networkpolicies": [_policy(number) for number in range(count)],
        "pods": [_pod(number, nodes) for number in range(pods)],
    }


def _write_world(folder: Path, pods: int, count: int, nodes: int) -> None:
    for name, items in world_objects(pods, count, nodes).items():
        (folder / name).write_text(json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}))


def _namespace(number: int) -> dict[str, object]:
    return {"metadata": {"name": f"ns-{number}", "labels": {"team": f"team-{number % 10}"}}}


def _pod(number: int, nodes: int, role: str = "plain") -> dict[str, object]:
    app = number // _NAMESPACES % _APPS
    labels = {"app": f"app-{app}", "role": role, "pod-template-hash": f"{app:08x}", "version": "v1"}
    port = {"name": "http", "containerPort": 8080}
    return {
        "metadata": {
            "name": f"pod-{number}",
            "namespace": f"ns-{number % _NAMESPACES}",
            "labels": labels,
            "uid": "x" * 36,
        },
        "spec": {
            "nodeName": f"node-{number % nodes}",
            "containers": [{"name": "app", "image": "registry.example/app:v1", "ports": [port]}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.{128 + number // 65536}.{number // 256 % 256}.{number % 256}"}],
        },
    }


def _policy(number: int) -> dict[str, object]:
    app = number // _NAMESPACES % _APPS
    caller = {"podSelector": {"matchLabels": {"app": f"app-{(app + 1) % _APPS}"}}}
    team = {
        "namespaceSelector": {"matchLabels": {"team": f"team-{number % 7}"}},
        "podSelector": _labelled("app", "app-0"),
    }
    admins = {"namespaceSelector": {}, "podSelector": _labelled("role", "admin")}
    office = {"ipBlock": {"cidr": "192.0.2.0/24", "except": [f"192.0.2.{number % 200}/32"]}}
    dns = {"ports": [{"protocol": "UDP", "port": 53}], "to": [{"namespaceSelector": _labelled("team", "team-0")}]}
    return {
        "metadata": {"name": f"policy-{number}", "namespace": f"ns-{number % _NAMESPACES}"},
        "spec": {
            "podSelector": _labelled("app", f"app-{app}"),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [caller, team, admins, office], "ports": [{"port": "http"}, {"port": 9090}]}],
            "egress": [dns, {"to": [caller], "ports": [{"port": 8080}]}],
        },
    }


def _labelled(key: str, value: str) -> dict[str, object]:
    return {"matchLabels": {key: value}}


class _Agent:
    """The agent's policy tables and a socket, without the loop."""

    def __init__(self) -> None:
        self.nft = NftSocket()
        self.objects = PolicyObjects("node-0")
        self.tables = PolicyPart(self.objects, PolicySettings(), 1).tables()
        self.objects.absent(CLUSTER_POLICIES)
        self.rows = 0
        self._after: list[Transaction] = []

    def begin(self) -> None:
        for table in self.tables:
            outcome = table.begin(self.nft.list_table(table.family, table.name))
            self.rows += sum(len(getattr(command, "elements", ())) for command in outcome.transaction.commands)
            self._carry_out(table, outcome)

    def round(self) -> None:
        for table in self.tables:
            if table.pending:
                self._carry_out(table, table.round())

    def tidy(self) -> None:
        """Carry out what is to come after the changes so far; the agent does so while it has nothing else to do."""
        if self._after:
            wait_for_grace_period()
        for transaction in self._after:
            self.nft.apply(transaction)
        self._after.clear()

    def _carry_out(self, table: Table, outcome: Outcome) -> None:
        if outcome.before:
            self.nft.apply(outcome.before)
            wait_for_grace_period()
        self.nft.apply(outcome.transaction)
        if outcome.after:
            self._after.append(outcome.after)
        table.programmed()


def _measure(folder: Path, nodes: int, started: float) -> list[Measurement]:
    agent = _Agent()
    read_from = time.time()
    listed_policies, _ = decode_list_kept(NetworkPolicy, keep_network_policy, (folder / "networkpolicies").read_bytes())
    listed_namespaces, _ = decode_list_kept(Namespace, keep_namespace, (folder / "namespaces").read_bytes())
    listed_pods, _ = decode_list_kept(PodOutline, keep_pod, (folder / "pods").read_bytes())
    read = time.time() - read_from
    where = "all here" if nodes == 1 else "1 in 100 here"
    title = f"policies {len(listed_pods):,} x {len(listed_policies):,}, {where}"
    agent.objects.take_pods(Replaced(listed_pods))
    agent.objects.take_namespaces(Replaced(listed_namespaces))
    agent.objects.take_network_policies(Replaced(listed_policies))
    agent.objects.absent(CLUSTER_POLICIES)
    agent.begin()
    programmed = time.time() - started
    settle_memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    changes = sorted(_change(agent, number, nodes) for number in range(_CHANGES))
    return [
        at_most(f"{title}: process start to programmed", programmed, "s", _SECONDS, read),
        Measurement(f"{title}: rows and elements programmed", agent.rows, "rows"),
        at_most(f"{title}: one label change, median", changes[len(changes) // 2], "ms", _CHANGE_MS),
        at_most(f"{title}: one label change, p99", changes[len(changes) * 99 // 100], "ms", _CHANGE_MS),
        Measurement(f"{title}: peak memory", peak, "MB"),
    ]


def _change(agent: _Agent, number: int, nodes: int) -> float:
    """The milliseconds from the bytes of an event to the kernel's acknowledgement of what brings it into force."""
    agent.tidy()
    event = json.dumps(_pod(number % 50 * 100, nodes, "admin" if number // 50 % 2 == 0 else "plain")).encode()
    before = time.perf_counter()
    agent.objects.take_pods(Applied(keep_pod(decode_view(PodOutline, event))))
    agent.round()
    return (time.perf_counter() - before) * 1000


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_measure(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
