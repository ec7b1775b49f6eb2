"""Does the ingress controller keep its promises on a real cluster, under load, faults and changes?"""

import json
import os
import time

import pytest
from ingress_cluster import Cluster, application, certificate, eventually, ingress

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]
LONG = bool(os.environ.get("FAIRLEAD_LONG"))
RELOADS = "nginx_ingress_controller_success"


def test_the_pod_is_shaped_as_people_know_it(cluster: Cluster) -> None:
    processes = cluster.in_controller("ps -eo user,args")
    assert "nginx: master process" in processes
    assert "www-data nginx: worker process" in processes
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    refused = cluster.in_controller(f"su -s /bin/sh www-data -c 'cat {token}'", check=False)
    assert "Permission denied" in refused
    assert cluster.get("ingressclass", "nginx")["spec"]["controller"] == "k8s.io/ingress-nginx"
    assert cluster.get("configmap", "-n", "nginx-ingress", "nginx-ingress")["kind"] == "ConfigMap"


def test_the_client_is_known_to_the_pod_through_load_balancer_and_ingress(cluster: Cluster) -> None:
    told = json.loads(cluster.curl("http://app.example/x?y=1", host="app.example"))
    assert told["headers"]["X-Forwarded-For"] == "198.51.100.2"
    assert told["path"].startswith("/x")


def test_rolling_the_application_under_load_fails_no_request_and_reloads_nothing(cluster: Cluster) -> None:
    rounds, replicas, rate = (20, 10, 500) if LONG else (3, 5, 150)
    cluster.apply(
        *application("rolling", replicas, terminationGracePeriodSeconds=10),
        ingress("rolling", "rolling.example", "rolling"),
    )
    eventually(lambda: cluster.status("http://rolling.example/", host="rolling.example") == 200, "an answer")
    reloads = cluster.metrics()[RELOADS]
    with cluster.load("http://rolling.example/", rate=rate, keep=8) as told:
        for number in range(rounds):
            cluster.kubectl("set", "env", "deploy/rolling", f"ROUND={number}")
            cluster.kubectl("rollout", "status", "deploy/rolling", "--timeout=120s")
    assert set(told["statuses"]) == {"200"}, told
    assert told["statuses"]["200"] > 100
    assert len(told["names"]) > replicas, "requests reached pods of several rounds"
    assert cluster.metrics()[RELOADS] == reloads
    cluster.kubectl("delete", "deploy,svc,ingress", "rolling")


def test_certificates_change_under_handshakes_without_a_failure_or_a_reload(cluster: Cluster) -> None:
    rounds = 200 if LONG else 20
    cluster.apply(certificate("tls", "tls.example"), ingress("tls", "tls.example", tls="tls", ssl_redirect="false"))
    subject = ("-k", "-o", "/dev/null", "-w", "%{certs}")
    eventually(
        lambda: "tls-" in cluster.curl("https://tls.example/", *subject, "-v", host="tls.example"), "its certificate"
    )
    reloads = cluster.metrics()[RELOADS]
    with cluster.load("https://tls.example/", rate=100, handshakes=True) as told:
        for _ in range(rounds):
            cluster.apply(certificate("tls", "tls.example"))
            time.sleep(0.05)
    assert set(told["statuses"]) == {"200"}, told
    assert len(told["names"]) > rounds // 2, "most certificates were seen"
    assert cluster.metrics()[RELOADS] == reloads
    cluster.kubectl("delete", "ingress/tls", "secret/tls")


def test_nginx_serves_on_without_the_controller_and_comes_back_within_a_second(cluster: Cluster) -> None:
    with cluster.load("http://app.example/", rate=100, keep=4) as told:
        cluster.in_controller("kill -9 $(pgrep -P 1 -f 'agent ingress')")
        ready = "curl -s http://127.0.0.1:10254/readyz"
        eventually(lambda: cluster.in_controller(ready, check=False) == "ok\n", "ready")
    assert set(told["statuses"]) == {"200"}, told
    assert cluster.metrics()[RELOADS] == 0, "a running NGINX is taken over as it is"
    milliseconds = int(cluster.in_controller(_KILL_AND_WAIT))
    assert milliseconds < 2000, "a second, and one more for a machine that is busy"
    assert cluster.status("http://app.example/", host="app.example") == 200


_KILL_AND_WAIT = """
file=/run/fairlead-ingress/nginx.pid; old=$(cat $file); began=$(date +%s%N); kill -9 $old
for i in $(seq 500); do
  now=$(cat $file 2>/dev/null)
  test -n "$now" -a "$now" != "$old" && curl -sf -H "Host: app.example" http://127.0.0.1/ >/dev/null && break
  sleep 0.01
done
echo $(( ($(date +%s%N) - began) / 1000000 ))
"""


def test_two_replicas_agree(cluster: Cluster) -> None:
    cluster.kubectl("-n", "nginx-ingress", "scale", "deploy/nginx-ingress", "--replicas=2")
    cluster.kubectl("-n", "nginx-ingress", "rollout", "status", "deploy/nginx-ingress", "--timeout=60s")
    pods = [each["metadata"]["name"] for each in cluster.get("pods", "-n", "nginx-ingress")["items"]]
    hashes = {
        line
        for pod in pods
        for line in cluster.kubectl(
            "-n", "nginx-ingress", "exec", pod, "--", "curl", "-s", "http://127.0.0.1:10254/metrics"
        ).splitlines()
        if line.startswith("nginx_ingress_controller_config_hash ")
    }
    assert len(pods) == 2
    assert len(hashes) == 1
    cluster.kubectl("-n", "nginx-ingress", "scale", "deploy/nginx-ingress", "--replicas=1")
    cluster.kubectl("-n", "nginx-ingress", "rollout", "status", "deploy/nginx-ingress", "--timeout=60s")


@pytest.mark.parametrize(
    ("name", "annotations", "said"),
    [
        ("size", {"proxy_body_size": "a lot"}, "is no size"),
        ("clients", {"whitelist_source_range": "10.0.0.0/8, nowhere"}, "is no address and no CIDR block"),
        ("snippet", {"configuration_snippet": "return 418;"}, "snippets are off"),
        ("typo", {"proxy_body_sise": "1m"}, "did you mean nginx.ingress.kubernetes.io/proxy-body-size"),
    ],
)
def test_a_mistake_is_an_event_that_says_what_to_do(
    cluster: Cluster, name: str, annotations: dict[str, str], said: str
) -> None:
    cluster.apply(ingress(f"wrong-{name}", f"{name}.example", **annotations))
    eventually(lambda: any(said in each for each in cluster.events(f"wrong-{name}")), f"an Event with {said!r}", 20)
    assert cluster.status("http://app.example/", host="app.example") == 200
    cluster.kubectl("delete", "ingress", f"wrong-{name}")
