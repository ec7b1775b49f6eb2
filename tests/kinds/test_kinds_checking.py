"""Strict decoding: unknown fields and wrong types, in the words of upstream."""

from typing import Any

import pytest

from fairlead.cluster.apiserver.kinds.openapi import NAMED, PLAIN
from fairlead.kube.schema.checking import drop_unknown, type_errors, unknown_fields
from fairlead.kube.schema.types import schema_types

POD = "io.k8s.api.core.v1.Pod"
SERVICE = "io.k8s.api.core.v1.Service"
DEPLOYMENT = "io.k8s.api.apps.v1.Deployment"
SECRET = "io.k8s.api.core.v1.Secret"


def test_unknown_fields_are_named_by_their_path() -> None:
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "bar": 2}]}}},
        "extra": {},
    }
    assert unknown_fields(DEPLOYMENT, deployment) == [
        'unknown field "spec.foo"',
        'unknown field "spec.template.spec.containers[1].bar"',
        'unknown field "extra"',
    ]


def test_unknown_fields_and_nulls_are_dropped_and_free_maps_are_not() -> None:
    pod: dict[str, Any] = {
        "metadata": {"labels": {"any": "thing", "none": None}, "creationTimestamp": None, "x": 1},
        "spec": {"containers": [None, {"name": "a", "image": None}]},
    }
    assert drop_unknown(POD, pod) == ['unknown field "metadata.x"']
    assert pod == {
        "metadata": {"labels": {"any": "thing", "none": ""}},
        "spec": {"containers": [{}, {"name": "a"}]},
    }


def test_quantities_given_as_numbers_become_texts() -> None:
    limits: dict[str, Any] = {"cpu": 0.5, "memory": 1024, "storage": "1Gi"}
    pod: dict[str, Any] = {"spec": {"containers": [{"resources": {"limits": limits}}]}}
    assert drop_unknown(POD, pod) == []
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "1024", "storage": "1Gi"}


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a text for a number": (
        DEPLOYMENT,
        {"spec": {"replicas": "3"}},
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    ),
    "a number for a text deep inside": (
        DEPLOYMENT,
        {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}}},
        "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value "
        "of type string",
    ),
    "a truth for a text in a map": (
        POD,
        {"metadata": {"labels": {"a": True}}},
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
    ),
    "an object for a list": (
        POD,
        {"spec": {"containers": {"name": "a"}}},
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ),
    "a list for a map": (
        POD,
        {"metadata": {"labels": []}},
        "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
    ),
    "a text for an object": (
        POD,
        {"spec": "x"},
        "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec",
    ),
    "a broken number": (
        SERVICE,
        {"spec": {"ports": [{"port": 1.5}]}},
        "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    "a number too large": (
        SERVICE,
        {"spec": {"ports": [{"port": 2**31}]}},
        "json: cannot unmarshal number 2147483648 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    "no base64": (SECRET, {"data": {"a": "abcde"}}, "illegal base64 data at input byte 4"),
    "no quantity": (
        POD,
        {"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}},
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
}


@pytest.mark.parametrize(("schema", "document", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_value_of_the_wrong_type_is_refused(schema: str, document: dict[str, Any], message: str) -> None:
    assert type_errors(schema, document) == [message]


def test_values_that_may_be_two_things_are_accepted_as_either() -> None:
    for port in (80, "http"):
        assert type_errors(SERVICE, {"spec": {"ports": [{"port": 80, "targetPort": port}]}}) == []
    for amount in (1, 0.5, "500m"):
        assert type_errors(POD, {"spec": {"containers": [{"resources": {"limits": {"cpu": amount}}}]}}) == []


def test_every_type_a_field_names_is_there() -> None:
    types = schema_types()
    named = {field.type for known in types.values() for field in known.fields.values()}
    assert named - set(types) <= {*PLAIN, *NAMED}


def test_every_merge_key_is_a_field_of_the_elements() -> None:
    types = schema_types()
    keyed = [
        (field.type, key)
        for known in types.values()
        for field in known.fields.values()
        for key in (field.merge_key, *field.list_keys.split(","))
        if key
    ]
    assert keyed
    assert [(name, key) for name, key in keyed if key not in types[name].fields] == []
