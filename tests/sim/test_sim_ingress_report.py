"""Does the report say of every Ingress what carries over, what differs, and what to do?"""

from fairlead.kube.yamlcodec import parse_documents
from fairlead.sim.ingress_objects import read_ingress_objects
from fairlead.sim.ingress_report import IngressEntry, Outcome, report_on

_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
"""


def an_ingress(name: str, *annotations: str, path: str = "/", more: str = "") -> str:
    lines = "".join(f"    nginx.ingress.kubernetes.io/{each}\n" for each in annotations)
    return f"""
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations:
    other.example/thing: kept
{lines}spec:
  ingressClassName: nginx
{more}  rules:
  - host: {name}.example
    http: {{paths: [{{path: "{path}", pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
---
"""


def entries(*texts: str) -> dict[str, IngressEntry]:
    documents = [each for text in (_SERVICE, *texts) for each in parse_documents(text, source="test")]
    return {each.ingress.partition("/")[2]: each for each in report_on(read_ingress_objects(documents)).entries}


def test_an_ingress_without_a_mistake_carries_over_with_its_annotations() -> None:
    entry = entries(an_ingress("plain", 'proxy-body-size: "8m"'))["plain"]
    assert entry.outcome is Outcome.SAME
    assert entry.paths == ("plain.example prefix / -> default/web:80",)
    assert entry.carried == ("nginx.ingress.kubernetes.io/proxy-body-size",)


def test_what_is_not_carried_is_named_with_what_happens_instead() -> None:
    entry = entries(an_ingress("waf", 'enable-modsecurity: "true"'))["waf"]
    assert entry.outcome is Outcome.REMARKS
    assert [each.field for each in entry.remarks] == [
        "metadata.annotations[nginx.ingress.kubernetes.io/enable-modsecurity]"
    ]
    assert "firewall" in entry.remarks[0].message


def test_a_misspelt_annotation_names_its_neighbour() -> None:
    entry = entries(an_ingress("typo", "rewrite-traget: /"))["typo"]
    assert entry.remarks[0].remedy == "did you mean nginx.ingress.kubernetes.io/rewrite-target?"


def test_a_snippet_differs_and_the_rest_is_served() -> None:
    entry = entries(an_ingress("snippet", 'configuration-snippet: "return 418;"'))["snippet"]
    assert entry.outcome is Outcome.DIFFERS
    assert entry.paths


def test_an_ingress_of_another_class_is_not_ours() -> None:
    other = an_ingress("other").replace("ingressClassName: nginx", "ingressClassName: theirs")
    theirs = (
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: theirs}\nspec: {controller: x.y/z}\n"
    )
    assert entries(theirs, other)["other"].outcome is Outcome.NOT_OURS


def test_two_ingresses_with_one_path_leave_it_to_the_older() -> None:
    first, second = an_ingress("a"), an_ingress("b").replace("host: b.example", "host: a.example")
    found = entries(first, second)
    losers = [each for each in found.values() if each.remarks]
    assert len(losers) == 1
    assert "already defined in Ingress default/" in losers[0].remarks[0].message
