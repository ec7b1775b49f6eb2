"""The objects that make cluster DNS a part of the cluster: comes in as addresses, goes out as documents to apply.

Named and labelled as in clusters made by kubeadm, so that what people select by `k8s-app=kube-dns` is there.
"""

from fairlead.kube.documents import Document

IMAGE = "fairlead/dns"
"""The built-in program that serves `serve_dns` in its pod."""
NAMESPACE = "kube-system"
SERVICE = "kube-dns"
ADDRESS = "10.96.0.10"
_LABELS = {"k8s-app": "kube-dns"}


def system_manifests(address: str = ADDRESS, replicas: int = 2) -> list[Document]:
    """The Deployment `coredns` and the Service `kube-dns` at `address`."""
    return [_service(address), _deployment(replicas)]


def _service(address: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {**_LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": address,
            "selector": dict(_LABELS),
            "ports": [
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
                {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
            ],
        },
    }


def _deployment(replicas: int) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": NAMESPACE, "labels": dict(_LABELS)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(_LABELS)},
            "template": {
                "metadata": {"labels": dict(_LABELS)},
                "spec": {
                    "dnsPolicy": "Default",
                    "priorityClassName": "system-cluster-critical",
                    "containers": [
                        {
                            "name": "coredns",
                            "image": IMAGE,
                            "ports": [
                                {"name": "dns", "protocol": "UDP", "containerPort": 53},
                                {"name": "dns-tcp", "protocol": "TCP", "containerPort": 53},
                            ],
                            "readinessProbe": {"tcpSocket": {"port": 53}, "periodSeconds": 1},
                        }
                    ],
                },
            },
        },
    }
