"""The controllers together, on the real API engine in this process: what a user of kubectl would see."""

from embedded import Cluster, Kubelet, node

from fairlead.drivers.kubeapi import PatchType
from fairlead.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet
from fairlead.kube.core import ConfigMap, Endpoints, Event, Namespace, Node, Pod, Service, ServiceAccount
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json, mapping_at
from fairlead.kube.resources import resource_of


def template(**pod: Json) -> Document:
    container: Document = {"name": "main", "image": "nginx:1", "ports": [{"name": "http", "containerPort": 80}]}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **pod}}


def deployment(*, replicas: int = 3, namespace: str = "default", pod: Document | None = None, **spec: Json) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(**(pod or {})),
            **spec,
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


async def test_a_new_template_rolls_without_losing_capacity_and_can_be_undone(cluster: Cluster) -> None:
    await cluster.add_nodes(3)
    rolling: Document = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await cluster.apply(deployment(strategy=rolling))
    await cluster.until(lambda: rolled_out(cluster))
    first = {pod.metadata.uid for pod in await pods_of(cluster)}
    lowest = 3

    async def watched() -> bool:
        nonlocal lowest
        lowest = min(lowest, sum(pod.metadata.deletion_timestamp is None for pod in await pods_of(cluster)))
        return await rolled_out(cluster)

    await set_image(cluster, "nginx:2")
    await cluster.until(watched)
    assert lowest == 3
    pods = [pod for pod in await pods_of(cluster) if pod.metadata.deletion_timestamp is None]
    assert {pod.spec.containers[0].image for pod in pods} == {"nginx:2"}
    assert not first & {pod.metadata.uid for pod in pods}
    sets = {each.metadata.annotations["deployment.kubernetes.io/revision"]: each for each in await sets_of(cluster)}
    assert {revision: each.spec.replicas for revision, each in sets.items()} == {"1": 0, "2": 3}
    assert sets["2"].metadata.labels["pod-template-hash"] in sets["2"].metadata.name

    await set_image(cluster, "nginx:1")
    await cluster.until(lambda: rolled_out(cluster))
    back = next(each for each in await sets_of(cluster) if each.metadata.uid == sets["1"].metadata.uid)
    assert back.spec.replicas == 3
    assert back.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
    assert back.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"


async def set_image(cluster: Cluster, name: str, kind: type[Deployment | DaemonSet] = Deployment) -> None:
    """What `kubectl set image` sends."""
    patch: Document = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}
    await cluster.client.patch(kind, "web", "default", patch, patch_type=PatchType.STRATEGIC)


async def sets_of(cluster: Cluster) -> tuple[ReplicaSet, ...]:
    return (await cluster.client.list(ReplicaSet, "default")).items


async def test_a_template_that_never_gets_ready_keeps_the_old_pods_serving(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.add_nodes(3)
    await cluster.apply(deployment(replicas=4, progressDeadlineSeconds=1))
    await cluster.until(lambda: rolled_out(cluster))
    kubelet.held.add("broken:1")
    await set_image(cluster, "broken:1", Deployment)

    async def overdue() -> bool:
        found = await cluster.client.get(Deployment, "web", "default")
        return any(each.reason == "ProgressDeadlineExceeded" for each in found.status.conditions)

    await cluster.until(overdue)
    found = await cluster.client.get(Deployment, "web", "default")
    assert found.status.available_replicas >= 3
    assert sum(pod.spec.containers[0].image == "nginx:1" for pod in await pods_of(cluster)) >= 3


async def test_recreate_waits_until_no_old_pod_is_left(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(deployment(replicas=2, strategy={"type": "Recreate"}))
    await cluster.until(lambda: rolled_out(cluster))
    kubelet.lingering = True
    await set_image(cluster, "nginx:2")

    async def both_leaving() -> bool:
        return kubelet.leaving == 2 and all(each.spec.replicas == 0 for each in await sets_of(cluster))

    await cluster.until(both_leaving)
    assert len(await sets_of(cluster)) == 1
    await kubelet.let_go()
    await cluster.until(lambda: rolled_out(cluster))
    assert {pod.spec.containers[0].image for pod in await pods_of(cluster)} == {"nginx:2"}


async def test_a_paused_deployment_scales_but_does_not_roll(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(deployment(replicas=1))
    await cluster.until(lambda: rolled_out(cluster))
    await cluster.client.patch(Deployment, "web", "default", {"spec": {"paused": True, "replicas": 2}})
    await set_image(cluster, "nginx:2", Deployment)

    async def scaled() -> bool:
        return len(await pods_of(cluster)) == 2

    await cluster.until(scaled)
    assert {pod.spec.containers[0].image for pod in await pods_of(cluster)} == {"nginx:1"}
    await cluster.client.patch(Deployment, "web", "default", {"spec": {"paused": None}})
    await cluster.until(lambda: rolled_out(cluster))
    live = [pod for pod in await pods_of(cluster) if pod.metadata.deletion_timestamp is None]
    assert {pod.spec.containers[0].image for pod in live} == {"nginx:2"}


async def test_fields_that_no_type_knows_reach_the_pods(cluster: Cluster) -> None:
    await cluster.add_nodes(1)
    document = deployment(replicas=1, pod={"securityContext": {"runAsUser": 1000}})
    await cluster.apply(document)
    await cluster.until(lambda: rolled_out(cluster))
    name = (await pods_of(cluster))[0].metadata.name
    pod = await cluster.client.get_document(resource_of(Pod), name, "default")
    assert mapping_at(pod, "spec", "securityContext") == {"runAsUser": 1000}
    replica_set = (await sets_of(cluster))[0].metadata.name
    change: Document = {"spec": {"template": {"spec": {"securityContext": {"runAsUser": 2000}}}}}
    await cluster.client.patch(Deployment, "web", "default", change)
    await cluster.until(lambda: rolled_out(cluster))
    assert {each.metadata.name for each in await sets_of(cluster) if each.spec.replicas} != {replica_set}


async def test_deleting_a_deployment_removes_its_sets_and_pods(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(service(), deployment())
    await cluster.until(lambda: rolled_out(cluster))
    await cluster.client.delete(Deployment, "web", "default", propagation="Background")
    await cluster.client.delete(Service, "web", "default")

    async def gone() -> bool:
        slices = (await cluster.client.list(EndpointSlice, "default")).items
        endpoints = (await cluster.client.list(Endpoints, "default")).items
        return not (*(await pods_of(cluster)), *(await sets_of(cluster)), *slices, *endpoints)

    await cluster.until(gone)


async def test_a_foreground_deletion_waits_for_what_depends_on_it(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(deployment())
    await cluster.until(lambda: rolled_out(cluster))
    kubelet.lingering = True
    await cluster.client.delete(Deployment, "web", "default", propagation="Foreground")

    async def all_leaving() -> bool:
        return kubelet.leaving == 3

    await cluster.until(all_leaving)
    assert await cluster.client.get_or_none(Deployment, "web", "default") is not None
    await kubelet.let_go()

    async def gone() -> bool:
        return await cluster.client.get_or_none(Deployment, "web", "default") is None

    await cluster.until(gone)
    assert not await sets_of(cluster)


async def test_an_orphaning_deletion_leaves_the_pods_to_an_adopter(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(deployment())
    await cluster.until(lambda: rolled_out(cluster))
    pods = {pod.metadata.uid for pod in await pods_of(cluster)}
    await cluster.client.delete(Deployment, "web", "default", propagation="Orphan")

    async def orphaned() -> bool:
        left = await cluster.client.get_or_none(Deployment, "web", "default")
        return left is None and all(not each.metadata.owner_references for each in await sets_of(cluster))

    await cluster.until(orphaned)
    await cluster.apply(deployment())
    await cluster.until(lambda: rolled_out(cluster))
    assert {pod.metadata.uid for pod in await pods_of(cluster)} == pods
    assert len(await sets_of(cluster)) == 1


async def test_every_namespace_gets_its_provisions_and_is_emptied_pods_first(
    cluster: Cluster, kubelet: Kubelet
) -> None:
    await cluster.add_nodes(1)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})

    async def provided() -> bool:
        account = await cluster.client.get_or_none(ServiceAccount, "default", "shop")
        root_ca = await cluster.client.get_or_none(ConfigMap, "kube-root-ca.crt", "shop")
        return account is not None and root_ca is not None and root_ca.data == {"ca.crt": "CERTIFICATE"}

    await cluster.until(provided)
    await cluster.apply(deployment(namespace="shop"))

    async def running() -> bool:
        return (await cluster.client.get(Deployment, "web", "shop")).status.available_replicas == 3

    await cluster.until(running)
    kubelet.lingering = True
    await cluster.client.delete(Namespace, "shop")

    async def all_leaving() -> bool:
        return kubelet.leaving == 3

    await cluster.until(all_leaving)
    assert len((await cluster.client.list(ConfigMap, "shop")).items) == 1
    await kubelet.let_go()

    async def gone() -> bool:
        return await cluster.client.get_or_none(Namespace, "shop") is None

    await cluster.until(gone)
    assert not (await cluster.client.list(Pod, "shop")).items
    assert not (await cluster.client.list(ConfigMap, "shop")).items


async def test_a_pod_that_fits_nowhere_says_why_and_is_placed_once_a_node_fits(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    document = deployment(replicas=1, pod={"nodeSelector": {"disk": "ssd"}})
    await cluster.apply(document)

    async def told() -> bool:
        pods = await pods_of(cluster)
        conditions = [each for pod in pods for each in pod.status.conditions if each.type == "PodScheduled"]
        events = (await cluster.client.list(Event, "default")).items
        return [(each.status, each.reason, each.message) for each in conditions] == [
            ("False", "Unschedulable", why)
        ] and any((each.reason, each.message, each.type) == ("FailedScheduling", why, "Warning") for each in events)

    why = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    await cluster.until(told)
    await cluster.client.patch(Node, "node-2", "", {"metadata": {"labels": {"disk": "ssd"}}})
    await cluster.until(lambda: rolled_out(cluster))
    assert (await pods_of(cluster))[0].spec.node_name == "node-2"


async def test_a_daemon_set_runs_on_every_node_that_comes(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template()},
        }
    )

    async def available(wanted: int) -> bool:
        status = (await cluster.client.get(DaemonSet, "web", "default")).status
        return status.number_available == status.updated_number_scheduled == status.desired_number_scheduled == wanted

    await cluster.until(lambda: available(2))
    await cluster.apply(node("node-3"))
    await cluster.until(lambda: available(3))
    assert sorted(pod.spec.node_name for pod in await pods_of(cluster)) == ["node-1", "node-2", "node-3"]
    before = {pod.metadata.uid for pod in await pods_of(cluster)}
    await set_image(cluster, "nginx:2", DaemonSet)

    async def updated() -> bool:
        pods = await pods_of(cluster)
        done = await available(3) and len(pods) == 3
        return done and all(pod.spec.containers[0].image == "nginx:2" for pod in pods)

    await cluster.until(updated)
    assert not before & {pod.metadata.uid for pod in await pods_of(cluster)}
    revisions = (await cluster.client.list(ControllerRevision, "default")).items
    assert sorted(each.revision for each in revisions) == [1, 2]
    await set_image(cluster, "nginx:1", DaemonSet)

    async def renumbered() -> bool:
        return sorted(each.revision for each in (await cluster.client.list(ControllerRevision, "default")).items) == [
            2,
            3,
        ]

    await cluster.until(renumbered)


async def test_scaling_to_zero_and_back_is_followed_by_the_slices(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.apply(service(), deployment())
    await cluster.until(lambda: rolled_out(cluster))
    for size in (0, 2):
        await cluster.client.patch(Deployment, "web", "default", {"spec": {"replicas": size}})

        async def followed(size: int = size) -> bool:
            return len(await ready_addresses(cluster)) == size and len(await pods_of(cluster)) == size

        await cluster.until(followed)
    slices = (await cluster.client.list(EndpointSlice, "default")).items
    assert len(slices) == 1
    assert slices[0].metadata.labels == {
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web",
        "tier": "front",
    }
    assert slices[0].metadata.controller is not None
    endpoints = await cluster.client.get(Endpoints, "web", "default")
    assert len(endpoints.subsets) <= 1


async def test_endpoints_written_by_hand_are_mirrored_for_as_long_as_their_service_selects_nobody(
    cluster: Cluster,
) -> None:
    service: Document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "old-db", "namespace": "default"},
        "spec": {"ports": [{"port": 5432}]},
    }
    endpoints: Document = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "old-db", "namespace": "default", "labels": {"team": "a"}},
        "subsets": [
            {
                "addresses": [{"ip": "192.0.2.10"}, {"ip": "2001:db8::10"}],
                "notReadyAddresses": [{"ip": "192.0.2.11", "hostname": "spare"}],
                "ports": [{"port": 5432}],
            }
        ],
    }
    await cluster.apply(service, endpoints)

    async def mirrors() -> dict[str, list[tuple[str, bool | None]]]:
        found = [
            each
            for each in (await cluster.client.list(EndpointSlice, "default")).items
            if each.metadata.labels.get("kubernetes.io/service-name") == "old-db"
        ]
        assert all(
            each.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
            and each.metadata.labels["team"] == "a"
            and each.metadata.owner_references[0].kind == "Endpoints"
            and [port.port for port in each.ports] == [5432]
            for each in found
        )
        return {
            each.address_type: [(one.addresses[0], one.conditions.ready) for one in each.endpoints] for each in found
        }

    async def shows(wanted: dict[str, list[tuple[str, bool | None]]]) -> None:
        async def same() -> bool:
            return await mirrors() == wanted

        await cluster.until(same)

    both: list[tuple[str, bool | None]] = [("192.0.2.10", True), ("192.0.2.11", False)]
    await shows({"IPv4": both, "IPv6": [("2001:db8::10", True)]})
    client = cluster.client
    later: Document = {"subsets": [{"addresses": [{"ip": "192.0.2.12"}], "ports": [{"port": 5432}]}]}
    await client.patch(Endpoints, "old-db", "default", later)
    await shows({"IPv4": [("192.0.2.12", True)]})
    skip = "endpointslice.kubernetes.io/skip-mirror"
    await client.patch(Endpoints, "old-db", "default", {"metadata": {"labels": {skip: "true"}}})
    await shows({})
    await client.patch(Endpoints, "old-db", "default", {"metadata": {"labels": {skip: None}}})
    await shows({"IPv4": [("192.0.2.12", True)]})
    await client.patch(Service, "old-db", "default", {"spec": {"selector": {"app": "db"}}})

    async def handed_over() -> bool:
        found = (await cluster.client.list(EndpointSlice, "default")).items
        mine = [each for each in found if each.metadata.labels.get("kubernetes.io/service-name") == "old-db"]
        wanted = ["endpointslice-controller.k8s.io"]
        return [each.metadata.labels["endpointslice.kubernetes.io/managed-by"] for each in mine] == wanted

    await cluster.until(handed_over)
