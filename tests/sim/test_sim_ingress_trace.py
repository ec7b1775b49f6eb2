"""Is a URL followed through NGINX, with what decided at each step?"""

from fairlead.kube.yamlcodec import parse_documents
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.ingress_objects import read_ingress_objects
from fairlead.sim.ingress_trace import Url, parse_url, trace_url
from fairlead.sim.manifests import derive_world
from fairlead.sim.telling import tell_trace

_SHOP = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /$1, nginx.ingress.kubernetes.io/enable-cors: "true"}
spec:
  ingressClassName: nginx
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /api/(.*), pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /gone, pathType: ImplementationSpecific, backend: {service: {name: gone, port: {number: 80}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: nginx, namespace: nginx-ingress, labels: {app.kubernetes.io/name: nginx-ingress}}
spec: {containers: [{name: nginx, image: fairlead/ingress, ports: [{containerPort: 80}, {containerPort: 443}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: nginx-ingress, namespace: nginx-ingress, labels: {app.kubernetes.io/name: nginx-ingress}}
spec: {selector: {app.kubernetes.io/name: nginx-ingress}, ports: [{name: http, port: 80}, {name: https, port: 443}]}
"""
_POLICY = """
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""


def traced(url: str, more: str = "", source: str = "pod/default/web", method: str = "GET") -> Trace:
    documents = parse_documents(_SHOP + more, source="test")
    parsed = parse_url(url)
    assert parsed is not None
    return trace_url(derive_world(documents), read_ingress_objects(documents), source, parsed, method=method)


def test_a_request_is_followed_to_the_pod_with_the_path_it_sees() -> None:
    answer = traced("http://shop.example/api/v1/items?page=2")
    assert answer.request is not None
    assert answer.disposition is Disposition.DELIVERED
    assert answer.request.path == "/v1/items?page=2"
    assert [end.place for onward in answer.onward for end in onward.ends] == ["pod/default/web"]
    told = tell_trace(answer)
    assert "location regex /api/(.*)" in told
    assert "from Ingress default/web spec.rules[0].http.paths[0]" in told


def test_a_service_without_endpoints_is_a_503_that_names_it() -> None:
    answer = traced("http://shop.example/gone")
    assert answer.request is not None
    assert answer.request.status == 503
    assert "default/gone" in answer.request.steps[-1].what


def test_a_policy_between_nginx_and_the_pod_is_seen() -> None:
    answer = traced("http://shop.example/api/x", _POLICY)
    assert answer.disposition is Disposition.DROPPED
    assert "nobody" in tell_trace(answer)


def test_a_preflight_is_answered_by_nginx_itself() -> None:
    answer = traced("https://shop.example/api/x", method="OPTIONS")
    assert answer.request is not None
    assert answer.request.status == 204


def test_only_urls_with_a_name_are_requests_to_an_ingress() -> None:
    assert parse_url("http://203.0.113.1/") is None
    assert parse_url("svc/default/web:80") is None
    assert parse_url("https://shop.example:8443/a?b") == Url("https", "shop.example", 8443, "/a?b")
