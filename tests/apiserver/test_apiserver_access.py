"""Who may do what: roles, bindings, escalation, aggregation, reviews, impersonation, and the words of refusals."""

from typing import Any

import pytest
from apiservers import Answer, Api

from fairlead.cluster.apiserver.access.rules import PolicyRule, Wish, allows, missing
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.users import ANONYMOUS, User

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
PODS = "/api/v1/namespaces/default/pods"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
BOB = User("bob", ("system:authenticated",))
AL = User("al", ("system:authenticated",))


def rule(verbs: str, resources: str, groups: str = "", names: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "verbs": verbs.split(","),
        "apiGroups": groups.split(","),
        "resources": resources.split(","),
    }
    return {**made, "resourceNames": names.split(",")} if names else made


def binding(role: str, subject: str, kind: str = "User", of: str = "Role") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{role}-{subject}"},
        "roleRef": {"kind": of, "name": role, "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": kind, "name": subject}],
    }


async def give(api: Api, user: str, *rules: dict[str, Any]) -> None:
    """Give a user rights in the namespace default."""
    assert (await api("POST", ROLES, {"metadata": {"name": f"of-{user}"}, "rules": list(rules)})).status == 201
    made = await api("POST", BINDINGS, binding(f"of-{user}", user))
    assert made.status == 201, made


def refusal(answer: Answer) -> str:
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden"), answer
    return answer.json["message"]


POD_READER = PolicyRule(("get", "list"), ("",), ("pods", "pods/log", "*/scale"))


@pytest.mark.parametrize(
    ("rule", "wish", "allowed"),
    [
        (POD_READER, Wish(verb="get", resource="pods"), True),
        (POD_READER, Wish(verb="delete", resource="pods"), False),
        (POD_READER, Wish(verb="get", resource="pods", group="x"), False),
        (POD_READER, Wish(verb="get", resource="pods", subresource="log"), True),
        (POD_READER, Wish(verb="get", resource="pods", subresource="exec"), False),
        (POD_READER, Wish(verb="get", resource="things", subresource="scale"), True),
        (PolicyRule(("get",), ("",), ("pods",), ("a",)), Wish(verb="get", resource="pods", name="a"), True),
        (PolicyRule(("get",), ("",), ("pods",), ("a",)), Wish(verb="get", resource="pods", name="b"), False),
        (PolicyRule(("*",), ("*",), ("*",)), Wish(verb="x", group="y", resource="z", subresource="w"), True),
        (PolicyRule(("*",), ("*",), ("*",)), Wish(verb="get", path="/metrics"), False),
        (PolicyRule(("get",), non_resource_urls=("/a/*",)), Wish(verb="get", path="/a/b"), True),
        (PolicyRule(("get",), non_resource_urls=("/a/*",)), Wish(verb="get", path="/ab"), False),
    ],
)
def test_a_rule_allows_what_it_names(rule: PolicyRule, wish: Wish, allowed: bool) -> None:
    assert allows(rule, wish) is allowed


def test_missing_rights_are_told_by_resource() -> None:
    held = [PolicyRule(("get",), ("",), ("pods",)), PolicyRule(("list",), ("",), ("pods",), ("a",))]
    wanted = [PolicyRule(("get", "list", "watch"), ("",), ("pods",))]
    assert [str(each) for each in missing(held, wanted)] == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}'
    ]
    assert missing([PolicyRule(("*",), ("*",), ("*",))], wanted) == []
    assert missing([PolicyRule(("list",), ("",), ("pods",), ("a",))], [held[1]]) == []


async def test_nobody_may_do_what_no_role_allows(api: Api) -> None:
    told = 'User "bob" cannot {verb} resource "{resource}" in API group "{group}" in the namespace "default"'
    assert refusal(await api("GET", PODS, user=BOB)) == "pods is forbidden: " + told.format(
        verb="list", resource="pods", group=""
    )
    assert refusal(await api("GET", f"{PODS}/x/log", user=BOB)) == 'pods "x" is forbidden: ' + told.format(
        verb="get", resource="pods/log", group=""
    )
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    assert refusal(await api("DELETE", deployments, user=BOB)) == "deployments.apps is forbidden: " + told.format(
        verb="deletecollection", resource="deployments", group="apps"
    )
    assert refusal(await api("GET", "/api/v1/nodes?watch=1", user=BOB)).endswith(
        'cannot watch resource "nodes" in API group "" at the cluster scope'
    )
    assert refusal(await api("GET", "/metrics", user=BOB)) == 'forbidden: User "bob" cannot get path "/metrics"'


async def test_anonymous_gets_health_and_version_and_nothing_else(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await api("GET", path, user=ANONYMOUS)).status == 200, path
    for path in ("/api", "/apis", "/openapi/v3", "/metrics", PODS, "/apis/nothing/v1/here"):
        assert (await api("GET", path, user=ANONYMOUS)).status == 403, path
    review = f"{AUTHORIZATION}/selfsubjectaccessreviews"
    assert (await api("POST", review, {"spec": {}}, user=ANONYMOUS)).status == 403


async def test_a_binding_gives_a_role_in_its_namespace_only(api: Api) -> None:
    await give(api, "bob", rule("get,list", "pods"))
    assert (await api("GET", PODS, user=BOB)).status == 200
    assert (await api("GET", "/api/v1/namespaces/kube-system/pods", user=BOB)).status == 403
    assert (await api("GET", "/api/v1/pods", user=BOB)).status == 403
    await api("DELETE", f"{BINDINGS}/of-bob-bob")
    assert (await api("GET", PODS, user=BOB)).status == 403


async def test_groups_and_service_accounts_are_subjects_too(api: Api) -> None:
    await api("POST", f"{RBAC}/clusterrolebindings", binding("view", "viewers", "Group", "ClusterRole"))
    assert (await api("GET", "/api/v1/pods", user=User("eve", ("viewers",)))).status == 200
    account = binding("edit", "robot", "ServiceAccount", "ClusterRole")
    assert (await api("POST", BINDINGS, account)).status == 201
    robot = User("system:serviceaccount:default:robot")
    assert (
        await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}}, user=robot)
    ).status == 201
    assert (await api("GET", "/api/v1/namespaces/default/secrets", user=robot)).status == 200
    assert (await api("GET", "/api/v1/secrets", user=User("eve", ("viewers",)))).status == 403


async def test_names_in_rules_are_met_by_lists_that_select_them(api: Api) -> None:
    await give(api, "bob", rule("get,list,watch", "pods", names="a"))
    assert (await api("GET", f"{PODS}?fieldSelector=metadata.name%3Da", user=BOB)).status == 200
    assert (await api("GET", f"{PODS}?fieldSelector=metadata.name%3Db", user=BOB)).status == 403
    assert (await api("GET", f"{PODS}/a", user=BOB)).status == 404


async def test_nobody_grants_what_they_lack(api: Api) -> None:
    await give(api, "al", rule("create,update", "roles,rolebindings", "rbac.authorization.k8s.io"), rule("get", "pods"))
    fine = {"metadata": {"name": "r"}, "rules": [rule("get", "pods")]}
    assert (await api("POST", ROLES, fine, user=AL)).status == 201
    told = refusal(await api("PUT", f"{ROLES}/r", {**fine, "rules": [rule("get,list", "pods")]}, user=AL))
    assert told == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "al" (groups=["system:authenticated"]) is attempting '
        'to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}'
    )
    assert (await api("POST", BINDINGS, binding("r", "x"), user=AL)).status == 201
    assert "not currently held" in refusal(await api("POST", BINDINGS, binding("view", "x", of="ClusterRole"), user=AL))
    missing_role = await api("POST", BINDINGS, binding("nowhere", "x"), user=AL)
    assert missing_role.json["message"] == 'roles.rbac.authorization.k8s.io "nowhere" not found'


async def test_the_verbs_bind_and_escalate_allow_it_after_all(api: Api) -> None:
    rbac = "rbac.authorization.k8s.io"
    await give(api, "al", rule("create,escalate", "roles", rbac), rule("create", "rolebindings", rbac))
    bold = {"metadata": {"name": "bold"}, "rules": [rule("*", "secrets")]}
    assert (await api("POST", ROLES, bold, user=AL)).status == 201
    assert (await api("POST", BINDINGS, binding("bold", "x"), user=AL)).status == 403
    await give(api, "bob", rule("create", "rolebindings", rbac), rule("bind", "roles", rbac, "bold"))
    assert (await api("POST", BINDINGS, binding("bold", "x"), user=BOB)).status == 201


async def test_aggregated_roles_follow_the_roles_their_selectors_find(api: Api) -> None:
    roles = f"{RBAC}/clusterroles"

    def verbs(answer: Answer) -> list[Any]:
        return [each for each in answer.json["rules"] if each.get("resources") == ["widgets"]]

    assert verbs(await api("GET", f"{roles}/admin")) == []
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    widgets = {"metadata": {"name": "widgets", "labels": labels}, "rules": [rule("get", "widgets", "example.com")]}
    await api("POST", roles, widgets)
    for name in ("view", "edit", "admin"):
        assert verbs(await api("GET", f"{roles}/{name}")) == [rule("get", "widgets", "example.com")]
    await api("DELETE", f"{roles}/widgets")
    assert verbs(await api("GET", f"{roles}/admin")) == []


async def test_reviews_answer_for_the_caller_and_for_others(api: Api) -> None:
    await give(api, "bob", rule("get", "pods"))
    asked: dict[str, Any] = {
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    }
    own = await api("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", asked, user=BOB)
    assert own.json["status"] == {"allowed": True}
    assert (await api("POST", f"{AUTHORIZATION}/subjectaccessreviews", asked, user=BOB)).status == 403
    asked["spec"]["user"] = "al"
    other = await api("POST", f"{AUTHORIZATION}/subjectaccessreviews", asked)
    assert other.json["status"] == {"allowed": False}
    assert (await api("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": {}})).status == 400
    rules = await api("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, user=BOB)
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in rules.json["status"]["resourceRules"]
    who = await api("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, user=BOB)
    assert who.json["status"]["userInfo"] == {"username": "bob", "groups": ["system:authenticated"]}


def test_impersonation_needs_the_right_to_it(api: Api) -> None:
    admin = User("root", ("system:masters",))
    acting = api.server.acting(admin, [("Impersonate-User", "bob"), ("Impersonate-Group", "g")])
    assert acting == User("bob", ("g", "system:authenticated"))
    robot = api.server.acting(admin, [("impersonate-user", "system:serviceaccount:a:b")])
    assert robot.groups == ("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")
    with pytest.raises(StatusError) as caught:
        api.server.acting(BOB, [("Impersonate-User", "root")])
    assert caught.value.message == (
        'users "root" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope'
    )
    with pytest.raises(StatusError):
        api.server.acting(admin, [("Impersonate-Group", "system:masters")])


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (ROLES, {"rules": [{"verbs": []}]}, "rules[0].verbs: Required value: verbs must contain at least one value"),
        (
            ROLES,
            {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        ),
        (
            BINDINGS,
            {**binding("r", "x"), "subjects": [{"kind": "Robot", "name": "x"}]},
            'subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"',
        ),
    ],
)
async def test_roles_and_bindings_are_validated(api: Api, path: str, body: dict[str, Any], told: str) -> None:
    refused = await api("POST", path, {**body, "metadata": {"name": "n"}})
    assert refused.status == 422
    assert told in refused.json["message"]


async def test_a_binding_keeps_its_role(api: Api) -> None:
    await give(api, "bob", rule("get", "pods"))
    changed = {**binding("other", "bob"), "metadata": {"name": "of-bob-bob"}}
    refused = await api("PUT", f"{BINDINGS}/of-bob-bob", changed)
    assert refused.json["message"].endswith("cannot change roleRef")
