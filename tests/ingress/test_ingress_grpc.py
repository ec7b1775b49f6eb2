"""Do gRPC calls of all four shapes pass, with TLS to the pods and without, and do statuses and trailers come back?"""

import base64
import json
import sys
from pathlib import Path

import pytest
from ingress_cluster import Cluster, Document, application, certificate, eventually, ingress

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]
pytest.importorskip("grpc", reason="grpcio is not installed")
PROGRAM = Path(__file__).parent / "ingress_grpc.py"


def _calls(cluster: Cluster, host: str, secret: Document) -> Document:
    trusted = base64.b64decode(secret["data"]["tls.crt"]).decode()
    said = cluster.run(
        "exec", "--from", "client", "--", sys.executable, str(PROGRAM), "call", cluster.address, host,
        stdin=trusted, check=False,
    )  # fmt: skip
    return json.loads(said) if said.startswith("{") else {"problem": said}


@pytest.mark.parametrize("protocol", ["GRPC", "GRPCS"])
def test_calls_of_every_shape_pass(cluster: Cluster, protocol: str) -> None:
    name = protocol.lower()
    host = f"{name}.example"
    deployment, service = application(name, 2)
    secret = certificate(name, host)
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    pair = ["/tls/tls.crt", "/tls/tls.key"] if protocol == "GRPCS" else []
    container |= {
        "image": sys.executable,
        "args": [str(PROGRAM), "serve", *pair],
        "ports": [{"name": "http", "containerPort": 50051}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    spec["volumes"] = [{"name": "tls", "secret": {"secretName": name}}]
    cluster.apply(secret, deployment, service, ingress(name, host, name, tls=name, backend_protocol=protocol))
    told = eventually(lambda: found if "say" in (found := _calls(cluster, host, secret)) else None, "an answer", 40)
    assert told is not None
    assert told == {
        "say": "said this",
        "trailer": "said",
        "count": 5000,
        "gather": "0,1,2",
        "chat": ["heard 0", "heard 1", "heard 2"],
        "in turns": True,
        "Say refuse": ["PERMISSION_DENIED", "not you"],
        "Nothing ": ["UNIMPLEMENTED", "Method not found!"],
    }
    cluster.kubectl("delete", "deploy,svc,ingress,secret", name)
