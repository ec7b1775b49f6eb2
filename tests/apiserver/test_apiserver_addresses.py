"""ServiceCIDR and IPAddress: who has which address, ranges that come and go, and addresses kept free."""

from typing import Any

import pytest
from apiservers import SERVICE_RANGES, Api

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.store import MemoryLog, Row

RANGES = "/apis/networking.k8s.io/v1/servicecidrs"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
SERVICES = "/api/v1/namespaces/default/services"


class Kept(MemoryLog):
    """A log as an earlier server left it."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def load(self) -> tuple[int, list[Row]]:
        return max(each.revision for each in self._rows), self._rows


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def service_range(name: str, *cidrs: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


async def names(api: Api) -> set[str]:
    return {each["metadata"]["name"] for each in (await api("GET", ADDRESSES)).json["items"]}


async def test_every_address_of_a_service_has_an_object_while_the_service_is_there(api: Api) -> None:
    before = await names(api)
    made = (await api("POST", SERVICES, service("web"))).json
    address = made["spec"]["clusterIP"]
    assert await names(api) - before == {address}
    found = (await api("GET", f"{ADDRESSES}/{address}")).json
    assert found["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert found["metadata"]["uid"]
    await api("POST", SERVICES, service("pods", clusterIP="None", selector={"app": "x"}))
    assert (await api("POST", f"{SERVICES}?dryRun=All", service("try"))).status == 201
    external = {"spec": {"type": "ExternalName", "externalName": "a.example"}}
    patched = await api("PATCH", f"{SERVICES}/web", external, kind="application/merge-patch+json")
    assert patched.status == 200, patched
    assert await names(api) == before


async def test_an_address_kept_free_is_not_given_out(api: Api) -> None:
    kept = {"metadata": {"name": "10.96.7.7"}, "spec": {"parentRef": {"resource": "machines", "name": "m"}}}
    assert (await api("POST", ADDRESSES, kept)).status == 201
    answer = await api("POST", SERVICES, service("web", clusterIP="10.96.7.7"))
    assert answer.status == 422
    assert "failed to allocate IP 10.96.7.7: provided IP is already allocated" in answer.json["message"]
    assert (await api("DELETE", f"{ADDRESSES}/10.96.7.7")).status == 200
    assert (await api("POST", SERVICES, service("web", clusterIP="10.96.7.7"))).status == 201


async def test_a_second_range_gives_addresses_and_stays_while_one_is_in_use(api: Api) -> None:
    wanted = service("far", clusterIP="10.200.0.9")
    refused = await api("POST", SERVICES, wanted)
    assert "The range of valid IPs is 10.96.0.0/16" in refused.json["message"]
    made = (await api("POST", RANGES, service_range("more", "10.200.0.0/24"))).json
    assert [each["status"] for each in made["status"]["conditions"]] == ["True"]
    assert (await api("POST", SERVICES, wanted)).status == 201
    going = await api("DELETE", f"{RANGES}/more")
    assert going.json["metadata"]["deletionTimestamp"]
    assert (await api("POST", SERVICES, service("next", clusterIP="10.200.0.10"))).status == 422
    assert (await api("DELETE", f"{SERVICES}/far")).status == 200
    assert (await api("GET", f"{RANGES}/more")).status == 404


async def test_a_range_nobody_uses_and_one_that_another_covers_go_at_once(api: Api) -> None:
    await api("POST", RANGES, service_range("idle", "10.201.0.0/24"))
    assert (await api("DELETE", f"{RANGES}/idle")).status == 200
    assert (await api("GET", f"{RANGES}/idle")).status == 404
    await api("POST", RANGES, service_range("big", "10.202.0.0/16"))
    await api("POST", RANGES, service_range("small", "10.202.1.0/24"))
    await api("POST", SERVICES, service("web", clusterIP="10.202.1.1"))
    await api("DELETE", f"{RANGES}/small")
    assert (await api("GET", f"{RANGES}/small")).status == 404


async def test_the_cluster_s_own_range_is_listed_and_stays(api: Api) -> None:
    found = (await api("GET", f"{RANGES}/kubernetes")).json
    assert found["spec"]["cidrs"] == [str(each) for each in SERVICE_RANGES]
    await api("DELETE", f"{RANGES}/kubernetes")
    assert (await api("GET", f"{RANGES}/kubernetes")).status == 200
    assert (await api("POST", SERVICES, service("web"))).json["spec"]["clusterIP"].startswith("10.96.")


@pytest.mark.parametrize(
    ("cidrs", "message"),
    [
        ([], "spec.cidrs: Required value: at least one CIDR required"),
        (["10.0.0.0"], 'spec.cidrs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value'),
        (["10.0.0.0/24", "10.1.0.0/24"], "may specify no more than one IP for each IP family"),
        (["10.0.0.0/24", "fd00::/64", "fd01::/64"], "spec.cidrs: Too many: 3: must have at most 2 items"),
    ],
)
async def test_a_range_is_refused(api: Api, cidrs: list[str], message: str) -> None:
    assert message in (await api("POST", RANGES, service_range("bad", *cidrs))).json["message"]


async def test_ranges_and_addresses_do_not_change_hands(api: Api) -> None:
    await api("POST", RANGES, service_range("more", "10.200.0.0/24"))
    moved = {"spec": {"cidrs": ["10.201.0.0/24"]}}
    merge = "application/merge-patch+json"
    assert "field is immutable" in (await api("PATCH", f"{RANGES}/more", moved, kind=merge)).json["message"]
    grown = {"spec": {"cidrs": ["10.200.0.0/24", "fd00:200::/112"]}}
    assert (await api("PATCH", f"{RANGES}/more", grown, kind=merge)).status == 200
    mine = {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "mine"}}}
    answer = await api("PATCH", f"{ADDRESSES}/10.96.0.1", mine, kind=merge)
    assert "field is immutable" in answer.json["message"]
    odd = {"metadata": {"name": "10.96.07.1"}, "spec": mine["spec"]}
    assert "must be a valid IP address in canonical form" in (await api("POST", ADDRESSES, odd)).json["message"]


async def test_a_server_that_starts_again_knows_ranges_and_addresses(api: Api) -> None:
    await api("POST", RANGES, service_range("more", "10.200.0.0/24"))
    kept = {"metadata": {"name": "10.200.0.7"}, "spec": {"parentRef": {"resource": "machines", "name": "m"}}}
    await api("POST", ADDRESSES, kept)
    resources = (("networking.k8s.io", "servicecidrs"), ("networking.k8s.io", "ipaddresses"), ("", "namespaces"))
    rows = [
        Row(resource=resource, key=each.key, revision=each.revision, value=each.raw)
        for resource in resources
        for each in api.server.store.items(resource)
    ]
    again = ApiServer(Kept(rows), KINDS, service_ranges=SERVICE_RANGES)
    later = Api(again)
    assert (await later("POST", SERVICES, service("a", clusterIP="10.200.0.7"))).status == 422
    assert (await later("POST", SERVICES, service("b", clusterIP="10.200.0.8"))).status == 201


async def test_replication_controllers_are_listed_and_refused(api: Api) -> None:
    path = "/api/v1/namespaces/default/replicationcontrollers"
    assert (await api("GET", path)).json["items"] == []
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    answer = await api(
        "POST", path, {"metadata": {"name": "old"}, "spec": {"selector": {"a": "b"}, "template": template}}
    )
    assert answer.status == 403
    assert "make a Deployment of apps/v1 in its place" in answer.json["message"]
