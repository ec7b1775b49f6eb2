"""Questions about access: may somebody do something, what may I do, who am I.

In: a review as posted, its caller, and the authorizer. Out: the review with its status. Source:
k8s.io/api/authorization/v1 and authentication/v1, and k8s.io/kubernetes/pkg/registry/authorization.
"""

from fairlead.cluster.apiserver.access.authorizer import Authorizer
from fairlead.cluster.apiserver.access.rules import PolicyRule, Wish
from fairlead.cluster.apiserver.calls import Call
from fairlead.cluster.apiserver.statuses import bad_request
from fairlead.cluster.apiserver.users import User
from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at


def answer_review(call: Call, review: Document, authorizer: Authorizer) -> Document:
    """Return the review with its answer; raise 400 for one that asks nothing."""
    user = call.caller
    match call.kind.resource.kind:
        case "SelfSubjectReview":
            return {**review, "status": {"userInfo": user_info(user)}}
        case "SelfSubjectRulesReview":
            return {**review, "status": _rules(authorizer.rules_of(user, text_at(review, "spec", "namespace")))}
        case "SelfSubjectAccessReview":
            return _decided(review, user, authorizer)
        case "LocalSubjectAccessReview":
            spec = mapping_at(review, "spec")
            if text_at(spec, "resourceAttributes", "namespace") not in ("", call.target.namespace):
                raise bad_request("spec.resourceAttributes.namespace must match metadata.namespace")
            return _decided(review, _subject(spec), authorizer)
        case _:
            return _decided(review, _subject(mapping_at(review, "spec")), authorizer)


def user_info(user: User) -> Document:
    """Return a user as authentication.k8s.io/v1 UserInfo."""
    told: Document = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        told["uid"] = user.uid
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra}
    return told


def _subject(spec: Document) -> User:
    name, groups = text_at(spec, "user"), tuple(str(each) for each in items_at(spec, "groups"))
    if not name and not groups:
        raise bad_request("at least one of user or group must be specified")
    return User(name, groups)


def _decided(review: Document, user: User, authorizer: Authorizer) -> Document:
    spec = mapping_at(review, "spec")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) is (path is None):
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    if resource is None:
        wish = Wish(verb=text_at(path, "verb"), path=text_at(path, "path"))
    else:
        wish = Wish(
            verb=text_at(resource, "verb"),
            group=text_at(resource, "group"),
            resource=text_at(resource, "resource"),
            subresource=text_at(resource, "subresource"),
            namespace=text_at(resource, "namespace"),
            name=text_at(resource, "name"),
        )
    return {**review, "status": {"allowed": authorizer.may(user, wish)}}


def _rules(rules: tuple[PolicyRule, ...]) -> Document:
    resource_rules: list[Json] = []
    path_rules: list[Json] = []
    for rule in rules:
        if rule.non_resource_urls:
            path_rules.append({"verbs": list(rule.verbs), "nonResourceURLs": list(rule.non_resource_urls)})
            continue
        told: Document = {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.api_groups),
            "resources": list(rule.resources),
        }
        if rule.resource_names:
            told["resourceNames"] = list(rule.resource_names)
        resource_rules.append(told)
    return {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
