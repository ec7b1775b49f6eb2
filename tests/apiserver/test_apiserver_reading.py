"""Lists, tables, selectors, pages and the subresource scale."""

from typing import Any

import pytest
from apiservers import Api

from fairlead.cluster.apiserver import store
from fairlead.cluster.apiserver.fieldselectors import compile_fields
from fairlead.cluster.apiserver.labelselectors import compile_labels
from fairlead.cluster.apiserver.negotiation import Form, parse_accept
from fairlead.cluster.apiserver.paths import Target, parse_path
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.subresources import selector_text

CM = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def fill(api: Api, *names: str) -> None:
    for name in names:
        await api("POST", CM, {"metadata": {"name": name, "labels": {"name": name}}})


def names(listed: Any) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


async def test_an_empty_list_has_items(api: Api) -> None:
    listed = (await api("GET", CM)).json
    assert listed["items"] == []
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")


async def test_pages_are_of_one_revision(api: Api) -> None:
    await fill(api, "a", "b", "c", "d", "e")
    first = (await api("GET", f"{CM}?limit=2")).json
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await api("DELETE", f"{CM}/c")
    await fill(api, "bb", "f")
    second = (await api("GET", f"{CM}?limit=2&continue={first['metadata']['continue']}")).json
    assert names(second) == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = (await api("GET", f"{CM}?continue={second['metadata']['continue']}")).json
    assert names(last) == ["e"]
    assert "continue" not in last["metadata"]


async def test_a_page_with_a_selector_does_not_count_what_remains(api: Api) -> None:
    await fill(api, "a", "b", "c")
    page = (await api("GET", f"{CM}?limit=1&labelSelector=name+in+(a,c)")).json
    assert "remainingItemCount" not in page["metadata"]
    rest = await api("GET", f"{CM}?labelSelector=name+in+(a,c)&continue={page['metadata']['continue']}")
    assert names(rest.json) == ["c"]


async def test_a_token_that_is_too_old_offers_an_inconsistent_one(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RING_LENGTH", 2)
    await fill(api, "a", "b")
    token = (await api("GET", f"{CM}?limit=1")).json["metadata"]["continue"]
    await fill(api, "c", "d", "e")
    refused = await api("GET", f"{CM}?limit=1&continue={token}")
    assert (refused.status, refused.json["reason"]) == (410, "Expired")
    assert refused.json["message"].startswith("The provided continue parameter is too old")
    rest = await api("GET", f"{CM}?continue={refused.json['metadata']['continue']}")
    assert names(rest.json) == ["b", "c", "d", "e"]
    assert (await api("GET", f"{CM}?continue=nonsense")).status == 400


async def test_an_exact_revision_is_shown_as_it_was(api: Api) -> None:
    await fill(api, "a")
    then = (await api("GET", CM)).json["metadata"]["resourceVersion"]
    await fill(api, "b")
    exact = await api("GET", f"{CM}?resourceVersion={then}&resourceVersionMatch=Exact")
    assert names(exact.json) == ["a"]
    assert exact.json["metadata"]["resourceVersion"] == then
    assert names((await api("GET", f"{CM}?resourceVersion={then}")).json) == ["a", "b"]
    assert (await api("GET", f"{CM}?resourceVersion=100000")).status == 504
    assert (await api("GET", f"{CM}?resourceVersion=abc")).status == 400


async def test_fields_select_what_the_kind_knows(api: Api) -> None:
    await fill(api, "a", "b")
    assert names((await api("GET", f"{CM}?fieldSelector=metadata.name%3Db")).json) == ["b"]
    assert names((await api("GET", f"{CM}?fieldSelector=metadata.name!%3Db")).json) == ["a"]
    refused = await api("GET", f"{CM}?fieldSelector=spec.nope%3Db")
    assert (refused.status, refused.json["message"]) == (400, "field label not supported: spec.nope")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=web", True),
        ("app==web,tier!=db", True),
        ("app in (api, web)", True),
        ("app notin (api,web)", False),
        ("tier notin (x)", True),
        ("app,!tier", True),
        ("!app", False),
        ("example.com/part=", True),
        ("app=", False),
    ],
)
def test_label_selectors(text: str, expected: bool) -> None:
    matches = compile_labels(text)
    assert matches is not None
    assert matches({"app": "web", "example.com/part": ""}) is expected


@pytest.mark.parametrize("text", ["=a", "a in b", "a=b c", "a in (b", "a=b=c", "-a"])
def test_label_selectors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(StatusError, match="unable to parse requirement"):
        compile_labels(text)


def test_field_selectors_take_escapes() -> None:
    matches = compile_fields(r"reason=a\,b\=c,type!=x", ("reason", "type"))
    assert matches is not None
    assert matches({"reason": "a,b=c"})
    assert not matches({"reason": "a,b=c", "type": "x"})
    with pytest.raises(StatusError, match="invalid selector"):
        compile_fields("reason", ("reason",))


async def test_a_table_has_columns_rows_and_metadata(api: Api) -> None:
    await fill(api, "a")
    table = (await api("GET", CM, accept=TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = table["rows"][0]
    assert row["cells"][0] == "a"
    assert row["object"]["kind"] == "PartialObjectMetadata"
    one = (await api("GET", f"{CM}/a?includeObject=Object", accept=TABLE)).json
    assert one["rows"][0]["object"]["kind"] == "ConfigMap"
    assert "object" not in (await api("GET", f"{CM}?includeObject=None", accept=TABLE)).json["rows"][0]


async def test_only_metadata_when_only_metadata_is_asked(api: Api) -> None:
    await fill(api, "a")
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = (await api("GET", CM, accept=accept)).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_the_first_clause_that_can_be_satisfied_wins() -> None:
    assert parse_accept("application/vnd.kubernetes.protobuf,application/json").form is Form.OBJECT
    assert parse_accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io").version == "v1beta1"
    assert parse_accept("application/json;as=Chair;v=v1;g=meta.k8s.io, */*").form is Form.OBJECT
    for accept in ("application/json;as=Chair;v=v1;g=meta.k8s.io", "text/html"):
        with pytest.raises(StatusError) as refused:
            parse_accept(accept)
        assert refused.value.code == 406


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target(group="", version="v1", plural="pods")),
        ("/api/v1/namespaces", Target(group="", version="v1", plural="namespaces")),
        ("/api/v1/namespaces/a", Target(group="", version="v1", plural="namespaces", name="a")),
        (
            "/api/v1/namespaces/a/finalize",
            Target(group="", version="v1", plural="namespaces", name="a", subresource="finalize"),
        ),
        (
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            Target(group="apps", version="v1", plural="deployments", namespace="a", name="d", subresource="scale"),
        ),
        (
            "/api/v1/namespaces/a/services/https:web:80/proxy/x/y/",
            Target(
                group="", version="v1", plural="services", namespace="a", name="https:web:80", subresource="proxy",
                rest="/x/y/",
            ),
        ),
        ("/api/v1", None),
        ("/apis/apps/v1/", None),
        ("/version", None),
    ],
)  # fmt: skip
def test_paths(path: str, target: Target | None) -> None:
    assert parse_path(path) == target


def test_a_selector_as_text() -> None:
    expressions: list[Any] = [
        {"key": "c", "operator": "In", "values": ["2", "1"]},
        {"key": "b", "operator": "DoesNotExist"},
    ]
    assert selector_text({"matchLabels": {"a": "1"}, "matchExpressions": expressions}) == "!b,a=1,c in (1,2)"


async def test_scale_is_read_and_written(api: Api) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await api("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    scale = (await api("GET", f"{path}/web/scale")).json
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale", {"replicas": 2}, {"replicas": 0, "selector": "app=web"},
    )  # fmt: skip
    merge = "application/merge-patch+json"
    assert (await api("PATCH", f"{path}/web/scale", {"spec": {"replicas": 4}}, kind=merge)).status == 200
    assert (await api("GET", f"{path}/web")).json["spec"]["replicas"] == 4
    assert (await api("PUT", f"{path}/web/scale", scale)).status == 409
    assert (await api("PATCH", f"{path}/web/scale", {"spec": {"replicas": -1}}, kind=merge)).status == 422


async def test_a_pod_is_bound_once(api: Api) -> None:
    pods = "/api/v1/namespaces/default/pods"
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    await api("POST", pods, body)
    binding = {"target": {"kind": "Node", "name": "node-1"}}
    assert (await api("POST", f"{pods}/p/binding", binding)).status == 201
    pod = (await api("GET", f"{pods}/p")).json
    assert pod["spec"]["nodeName"] == "node-1"
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    assert conditions["PodScheduled"] == "True"
    again = await api("POST", f"{pods}/p/binding", binding)
    assert (again.status, 'already assigned to node "node-1"' in again.json["message"]) == (409, True)


async def test_unknown_places_and_methods(api: Api) -> None:
    missing = await api("GET", "/api/v1/namespaces/default/gizmos")
    assert (missing.status, missing.json["message"]) == (404, "the server could not find the requested resource")
    assert (await api("GET", f"{CM}/x/proxy")).status == 404
    assert (await api("GET", f"{CM}/x")).json["message"] == 'configmaps "x" not found'
    assert (await api("PUT", CM, {})).status == 405
    assert (await api("GET", "/api/v1/namespaces/default/pods/x/binding")).status == 405
