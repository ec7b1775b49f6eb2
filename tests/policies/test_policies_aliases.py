"""Other names in a reach: Services that lead to pods, and Ingresses with a controller or one that stands in for it."""

from pathlib import Path

import pytest

from fairlead.kube.yamlcodec import parse_documents
from fairlead.sim.reach_explaining import explain_pairs
from fairlead.sim.reach_manifests import objects_of
from fairlead.sim.reach_objects import STAND_IN, Question, read_objects

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
API = "shop/api[Deployment]"
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec:
  defaultBackend: {service: {name: db, port: {number: 5432}}}
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /api, pathType: Prefix, backend: {service: {name: api, port: {name: http}}}}
      - {path: /gone, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}
"""
CONTROLLER = """
apiVersion: v1
kind: Pod
metadata: {name: controller, namespace: ingress-nginx, labels: {app.kubernetes.io/component: controller}}
spec: {containers: [{name: c, image: example/controller}]}
"""
METRICS_ONLY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: metrics-only, namespace: shop}
spec: {podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: metrics}]}]}
"""


def asked(*more: str) -> Question:
    texts = [(EXAMPLES / "application.yaml").read_text(), *more]
    return read_objects(objects_of([each for text in texts for each in parse_documents(text, source="test")]))


def talking(question: Question) -> dict[tuple[str, str], tuple[str, list[str]]]:
    lines = question.lines(question.reach())
    return {(src.name, dst.name): (conn, question.through(src, dst, conn)) for src, dst, conn in lines}


def test_who_stands_in_for_a_controller_reaches_what_ingresses_show_and_nobody_reaches_it() -> None:
    found = talking(asked(INGRESS))
    assert {pair: words for pair, words in found.items() if STAND_IN in pair} == {
        (STAND_IN, API): (
            "TCP 8080", ["shop/api:80 -> TCP 8080", "Ingress shop/front shop.example/api -> TCP 8080"]),
        (STAND_IN, "shop/db[StatefulSet]"): (
            "TCP 5432", ["shop/db:5432 -> TCP 5432", "Ingress shop/front * -> TCP 5432"]),
    }  # fmt: skip


def test_a_controller_that_is_known_is_a_pod_like_others() -> None:
    found = talking(asked(INGRESS, CONTROLLER))
    assert not any(STAND_IN in pair for pair in found)
    conn, through = found["ingress-nginx/controller", API]
    assert conn == "All Connections"
    assert "Ingress shop/front shop.example/api -> TCP 8080" in through
    assert ("shop/web[Deployment]", "ingress-nginx/controller") in found


@pytest.mark.parametrize(("controller", "name"), [(CONTROLLER, "ingress-nginx/controller"), ("", STAND_IN)])
def test_what_policies_keep_from_the_controller_is_told_with_the_path(controller: str, name: str) -> None:
    question = asked(INGRESS, controller, METRICS_ONLY)
    (finding,) = question.closed(question.reach())
    assert str(finding.origin) == "Ingress shop/front spec.rules[0].http.paths[0]"
    assert finding.message == f"shop.example/api leads to {API}, and policies keep {name} from it"
    lines = list(explain_pairs(question, question.reach(), name, API))
    assert lines[0].startswith(f"{name} => {API}: ")
    assert any("isolated by shop/metrics-only" in each for each in lines)
    assert not list(asked(INGRESS, controller).closed(asked(INGRESS, controller).reach()))


def test_services_and_urls_are_names_to_ask_by() -> None:
    question = asked(INGRESS)
    parties = {party.name: party for party in question.reach().parties}
    assert {name for name, party in parties.items() if question.means("svc/shop/api", party)} == {API}
    assert {name for name, party in parties.items() if question.means("shop.example/", party)} == {API}
    assert question.means("shop/web", parties["shop/web[Deployment]"])


def test_pods_of_one_workload_that_policies_tell_apart_keep_their_services() -> None:
    one = """
apiVersion: v1
kind: Pod
metadata:
  name: api-x
  namespace: shop
  labels: {app: api, track: canary}
  ownerReferences: [{kind: ReplicaSet, name: api, controller: true}]
spec: {containers: [{name: c, image: example/api, ports: [{name: http, containerPort: 8080}]}]}
"""
    found = talking(asked(one, one.replace("api-x", "api-y").replace("canary", "stable")))
    for name in ("shop/api[ReplicaSet]#1", "shop/api[ReplicaSet]#2"):
        assert found["shop/db[StatefulSet]", name] == ("All Connections", ["shop/api:80 -> TCP 8080"])
