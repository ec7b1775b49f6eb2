"""Discovery in both forms, OpenAPI, health, version, metrics and reviews."""

import asyncio

import pytest
from apiservers import Api

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.drivers.errors import FairleadError

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


async def test_aggregated_discovery_is_given_to_those_who_take_it(api: Api) -> None:
    core = await api("GET", "/api", accept=AGGREGATED)
    assert core.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    resources = {each["resource"]: each for each in core.json["items"][0]["versions"][0]["resources"]}
    pods = resources["pods"]
    assert pods["scope"] == "Namespaced"
    assert pods["shortNames"] == ["po"]
    assert {"log", "status", "binding"} <= {each["subresource"] for each in pods["subresources"]}
    groups = (await api("GET", "/apis", accept=AGGREGATED)).json["items"]
    assert "apps" in [group["metadata"]["name"] for group in groups]
    older = await api("GET", "/apis", accept=AGGREGATED.partition(",")[2])
    assert older.json["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


async def test_legacy_discovery_lists_subresources_with_their_own_kind(api: Api) -> None:
    assert (await api("GET", "/api")).json["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await api("GET", "/apis", accept="application/json")).json["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api("GET", "/apis/apps")).json["kind"] == "APIGroup"
    listed = (await api("GET", "/apis/apps/v1")).json
    resources = {each["name"]: each for each in listed["resources"]}
    assert listed["groupVersion"] == "apps/v1"
    scale = resources["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "watch" in resources["deployments"]["verbs"]
    for missing in ("/apis/nope", "/apis/apps/v9", "/api/v2", "/nope"):
        assert (await api("GET", missing)).status == 404


async def test_a_document_that_is_known_is_not_sent_again(api: Api) -> None:
    first = await api("GET", "/apis", accept=AGGREGATED)
    again = await api("GET", "/apis", accept=AGGREGATED, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert first.headers["Vary"] == "Accept"


async def test_openapi_documents_are_found_by_their_hash(api: Api) -> None:
    paths = (await api("GET", "/openapi/v3")).json["paths"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    document = await api("GET", url)
    assert "immutable" in document.headers["Cache-Control"]
    assert "/apis/apps/v1/namespaces/{namespace}/deployments" in document.json["paths"]
    stale = await api("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
    assert (stale.status, stale.headers["Location"]) == (301, url)
    known = await api("GET", url, headers={"If-None-Match": document.headers["ETag"]})
    assert known.status == 304
    assert (await api("GET", "/openapi/v2")).json["definitions"] == {}
    assert (await api("GET", "/openapi/v3/apis/nope/v1")).status == 404
    assert (await api("GET", "/openapi/v3", accept="text/html")).status == 406


async def test_version_and_health(api: Api) -> None:
    version = (await api("GET", "/version")).json
    assert (version["major"], version["minor"]) == ("1", "33")
    assert version["gitVersion"].endswith("+fairlead")
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert (await api("GET", path)).body == b"ok"
    assert b"[+]storage ok" in (await api("GET", "/readyz?verbose")).body
    assert (await api("GET", "/readyz/nope")).status == 404


async def test_metrics_count_requests_and_objects(api: Api) -> None:
    await api("GET", "/api/v1/namespaces/default/pods/nope")
    text = (await api("GET", "/metrics")).body.decode()
    assert 'apiserver_request_total{code="404",resource="pods",verb="GET"} 1.0' in text
    assert 'apiserver_storage_objects{resource="namespaces"} 5.0' in text


async def test_one_may_do_what_one_asks_about(api: Api) -> None:
    body = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    answer = await api("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (answer.status, answer.json["status"]["allowed"]) == (201, True)
    who = await api("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert who.json["status"]["userInfo"]["username"] == "kubernetes-admin"


async def test_a_full_disk_is_said_and_got_over(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    await api("POST", path, {"metadata": {"name": "x"}})
    stream = await api.watch(path)
    assert b"ADDED" in (await stream.next() or b"")

    def refuse(*_: object) -> None:
        raise FairleadError("cannot write data.sqlite: disk is full", "make room")

    with monkeypatch.context() as full:
        full.setattr(api.server.store._log, "append", refuse)  # pyright: ignore[reportPrivateUsage]
        refused = await api("POST", path, {"metadata": {"name": "y"}})
        assert refused.status == 507
        assert "disk is full: make room" in refused.json["message"]
        assert (await api("GET", f"{path}/y")).status == 404
        assert (await api("GET", f"{path}/x")).status == 200
        assert (await api("GET", "/readyz")).status == 500
        assert (await api("GET", "/livez")).status == 200
    assert (await api("POST", path, {"metadata": {"name": "z"}})).status == 201
    assert (await api("GET", "/readyz")).status == 200
    assert b'"name":"z"' in (await stream.next() or b"")


async def test_the_default_cluster_objects_are_there_once(api: Api) -> None:
    revision = api.server.store.revision
    service = (await api("GET", "/api/v1/namespaces/default/services/kubernetes")).json
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    where = {"service_address": "10.96.0.1", "api_address": "172.18.0.1"}
    await create_first_objects(api.server, **where, api_port=6443)
    assert api.server.store.revision == revision
    await create_first_objects(api.server, **where, api_port=7443)
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    assert (await api("GET", slices)).json["ports"][0]["port"] == 7443


async def test_writes_of_one_round_share_a_commit(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = list[int]()

    def count(rows: list[object], _revision: int) -> None:
        commits.append(len(rows))

    monkeypatch.setattr(
        api.server.store._log,  # pyright: ignore[reportPrivateUsage]
        "append",
        count,
    )
    path = "/api/v1/namespaces/default/configmaps"
    await asyncio.gather(*(api("POST", path, {"metadata": {"name": f"x{n}"}}) for n in range(50)))
    assert commits == [50]
