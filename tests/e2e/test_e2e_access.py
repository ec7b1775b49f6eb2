"""A pod that asks the API server with its own token, and gets what its role allows."""

import json
import sys

import pytest
from conftest import Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]

PROGRAM = """
from kubernetes import client, config
config.load_incluster_config()
print([each.metadata.name for each in client.CoreV1Api().list_namespaced_service("asking").items])
try:
    client.CoreV1Api().list_namespaced_secret("asking")
except client.ApiException as error:
    print(error.status)
"""

MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: asking}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: asking}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: asking}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: asking}}]
---
apiVersion: v1
kind: Service
metadata: {{name: found, namespace: asking}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: asking, namespace: asking}}
spec:
  serviceAccountName: reader
  restartPolicy: Never
  containers:
  - name: asking
    image: {sys.executable}
    args: ["-c", {json.dumps(PROGRAM)}]
    volumeMounts: [{{name: python, mountPath: {sys.prefix}, readOnly: true}}]
  volumes:
  - {{name: python, hostPath: {{path: {sys.prefix}}}}}  # which may lie in a folder of which a container has its own
"""


def test_a_pod_reaches_the_api_with_its_own_token(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", stdin=MANIFEST)

    def ended() -> bool:
        phase = kubectl.run("get", "pod", "-n", "asking", "asking", "-o", "jsonpath={.status.phase}").stdout
        return phase in ("Succeeded", "Failed")

    wait_until(ended, "the end of the pod that asks", 60.0)
    assert kubectl.run("logs", "-n", "asking", "asking").stdout.splitlines() == ["['found']", "403"]
    kubectl.run("delete", "namespace", "asking", "--timeout=30s")
    assert kubectl.run("get", "rolebindings", "-n", "asking", "-o", "name").stdout == ""
