"""`fairlead reach` and `fairlead lint` as scripts use them: what they print, and with which exit code they leave."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fairlead.cli.objects import list_where_served
from fairlead.cli.output import EXIT_NO, EXIT_OK, EXIT_USAGE
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.policy import ClusterNetworkPolicy

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
APPLICATION = EXAMPLES / "application.yaml"
DENY, DENY_MATRIX = EXAMPLES / "default-deny-ingress.yaml", EXAMPLES / "default-deny-ingress.csv"
MISTAKE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: nowhere}]}
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "fairlead", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def test_reach_keeps_to_a_matrix_or_says_which_pairs_differ() -> None:
    same = run("reach", "-f", APPLICATION, "-f", DENY, "--expect", DENY_MATRIX)
    assert same.returncode == EXIT_OK, same.stderr
    other = run("reach", "-f", APPLICATION, "--expect", DENY_MATRIX)
    assert other.returncode == EXIT_NO
    assert "everywhere[External] => shop/db[StatefulSet]: All Connections, expected nothing" in other.stdout
    assert run("reach", "-f", APPLICATION, "--expect", APPLICATION).returncode == EXIT_USAGE


def test_reach_tells_what_a_change_closes(tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in (APPLICATION, DENY):
        (changed / file.name).write_text(file.read_text())
    answer = run("reach", "--diff", APPLICATION, changed)
    assert answer.returncode == EXIT_NO
    assert "closed  billing/invoices[Deployment] => shop/db[StatefulSet]: All Connections -> nothing" in answer.stdout
    assert run("reach", "--diff", changed, changed).returncode == EXIT_OK


def test_a_change_that_names_a_range_opens_and_closes_nothing_elsewhere(tmp_path: Path) -> None:
    for file in (APPLICATION, EXAMPLES / "only-from-an-office.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    answer = run("reach", "--diff", APPLICATION, tmp_path, "-o", "json")
    changes = json.loads(answer.stdout)
    assert {each["dst"] for each in changes} == {"shop/web[Deployment]"}
    (office,) = [each for each in changes if each["src"] == "192.0.2.0/25[External]"]
    assert (office["before"], office["after"]) == ("All Connections", "TCP 8080")
    assert [each["after"] for each in changes if each["src"] == "elsewhere[External]"] == [""]


def test_reach_explains_each_pair_by_its_policies() -> None:
    answer = run("reach", "-f", APPLICATION, "-f", DENY, "--to", "svc/shop/db", "--from", "shop/api", "--explain")
    assert answer.stdout.splitlines()[0] == "shop/api[Deployment] => shop/db[StatefulSet]: No Connections"
    assert "ingress denied: isolated by shop/default-deny-ingress, and no rule allows it" in answer.stdout


def test_reach_names_the_services_that_lead_to_a_pod() -> None:
    found = json.loads(run("reach", "-f", APPLICATION, "-o", "json", "--to", "shop/api").stdout)
    assert {tuple(each["services"]) for each in found} == {("shop/api:80 -> TCP 8080",)}


def test_lint_leaves_with_one_where_something_never_works(tmp_path: Path) -> None:
    mistake = tmp_path / "mistake.yaml"
    mistake.write_text(MISTAKE)
    wrong = run("lint", "-f", APPLICATION, "-f", mistake, "-o", "json")
    assert wrong.returncode == EXIT_NO
    errors = [each for each in json.loads(wrong.stdout) if each["severity"] == "error"]
    assert [each["origin"]["field"] for each in errors] == ["spec.ports[0].targetPort"]
    assert run("lint", "-f", APPLICATION).returncode == EXIT_OK


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec: {defaultBackend: {service: {name: api, port: {number: 80}}}}
"""


def test_lint_names_the_ingress_that_policies_close(tmp_path: Path) -> None:
    ingress = tmp_path / "ingress.yaml"
    ingress.write_text(INGRESS)
    assert json.loads(run("lint", "-f", APPLICATION, "-f", ingress, "-o", "json").stdout) == []
    (found,) = json.loads(run("lint", "-f", APPLICATION, "-f", ingress, "-f", DENY, "-o", "json").stdout)
    assert (found["origin"]["kind"], found["origin"]["field"]) == ("Ingress", "spec.defaultBackend")
    assert found["message"] == "* leads to shop/api[Deployment], and policies keep {ingress-controller} from it"


class WithoutKind:
    """An API server that knows no kind at all, as a transport; or one that shows it to nobody."""

    def __init__(self, status: int) -> None:
        self._answer = ApiResponse(status, body=b"404 page not found\n")

    async def send(self, request: ApiRequest) -> ApiResponse:
        assert request.path == "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"
        return self._answer

    def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        raise AssertionError(request)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_cluster_that_does_not_know_cluster_network_policies_has_none() -> None:
    assert await list_where_served(KubeClient(WithoutKind(404)), ClusterNetworkPolicy) == ()
    with pytest.raises(ApiError):
        await list_where_served(KubeClient(WithoutKind(403)), ClusterNetworkPolicy)


def test_a_picture_is_drawn_of_what_can_be_looked_at(tmp_path: Path) -> None:
    pods = tmp_path / "pods.yaml"
    one = "{apiVersion: v1, kind: Pod, metadata: {name: pod-%d, namespace: many}}"
    pods.write_text("\n---\n".join(one % number for number in range(401)))
    assert run("reach", "-f", APPLICATION, "-o", "svg").stdout.startswith("<svg ")
    much = run("reach", "-f", pods, "-o", "svg")
    assert (much.returncode, much.stdout) == (EXIT_USAGE, "")
    assert run("reach", "-f", pods, "-o", "svg", "--from", "pod-400", "--to", "pod-1").stdout.startswith("<svg ")
