"""Kinds that are asked and answered, never stored: may somebody do something, and who am I.

In: a review as posted, and its caller. Out: the review with its status. Everybody with a certificate of the cluster
may do everything; a later version that has roles changes the answers here.
"""

from fairlead.cluster.apiserver.kinds.spec import Caller
from fairlead.kube.documents import Document

EVERYTHING = "*"


def answer_access_review(review: Document, caller: Caller) -> Document:
    """Say that it is allowed."""
    status: Document = {"allowed": True, "reason": "every caller with a certificate may do everything"}
    return {**review, "status": status}


def answer_rules_review(review: Document, caller: Caller) -> Document:
    """Say that the caller may do everything with everything."""
    status: Document = {
        "resourceRules": [{"verbs": [EVERYTHING], "apiGroups": [EVERYTHING], "resources": [EVERYTHING]}],
        "nonResourceRules": [{"verbs": [EVERYTHING], "nonResourceURLs": [EVERYTHING]}],
        "incomplete": False,
    }
    return {**review, "status": status}


def answer_self_review(review: Document, caller: Caller) -> Document:
    """Say who the caller is."""
    status: Document = {"userInfo": {"username": caller.name, "groups": list(caller.groups)}}
    return {**review, "status": status}
