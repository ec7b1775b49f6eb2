"""The controllers together, on the real API engine in this process: what a user of kubectl would see."""

from embedded import Cluster, Kubelet

from fairlead.kube.apps import Deployment, ReplicaSet
from fairlead.kube.core import Pod, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document


def deployment(name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: object) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "annotations": {"kubernetes.io/change-cause": image}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {"name": "main", "image": image, "ports": [{"name": "http", "containerPort": 80}]}
                    ]
                },
            },
            **spec,  # type: ignore[dict-item]
        },
    }


def service(name: str = "web") -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"tier": "front"}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


async def rolled_out(cluster: Cluster, name: str = "web") -> bool:
    """What `kubectl rollout status` waits for."""
    found = await cluster.client.get(Deployment, name, "default")
    status, wanted = found.status, found.spec.replicas
    return (
        status.observed_generation >= found.metadata.generation
        and status.updated_replicas == wanted
        and status.replicas == wanted
        and status.available_replicas == wanted
    )


async def pods_of(cluster: Cluster) -> tuple[Pod, ...]:
    return (await cluster.client.list(Pod, "default")).items


async def ready_addresses(cluster: Cluster) -> set[str]:
    slices = await cluster.client.list(EndpointSlice, "default", labels="kubernetes.io/service-name=web")
    return {e.addresses[0] for each in slices.items for e in each.endpoints if e.conditions.ready}


async def test_a_deployment_rolls_out_and_its_service_leads_to_its_pods(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    await cluster.apply(service(), deployment())
    await cluster.until(lambda: rolled_out(cluster))
    pods = await pods_of(cluster)
    assert sorted(pod.spec.node_name for pod in pods) == ["node-1", "node-2", "node-3"]
    addresses = {pod.status.pod_ip for pod in pods}

    async def followed() -> bool:
        return await ready_addresses(cluster) == addresses

    await cluster.until(followed)
    found = await cluster.client.get(Deployment, "web", "default")
    reasons = {each.type: (each.status, each.reason) for each in found.status.conditions}
    assert reasons == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
