"""Is what one applies on a cluster of one's own what an embedded cluster has, and is every kind in the view of it?"""

from pathlib import Path

from fairlead.cluster.apiserver.access.bootstrap import LOAD_BALANCER, first_cluster_roles
from fairlead.cluster.apiserver.custom.definitions import definition_rules
from fairlead.cluster.apiserver.custom.kinds import kinds_of
from fairlead.cluster.apiserver.kinds.metallb import GROUP, first_definitions
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.resources import RESOURCES
from fairlead.kube.yamlcodec import parse_documents

FILE = Path(__file__).parents[2] / "deploy" / "load-balancer.yaml"


def deployed(kind: str) -> dict[str, Document]:
    found = parse_documents(FILE.read_text(), source=FILE.name)
    return {text_at(each, "metadata", "name"): each for each in found if text_at(each, "kind") == kind}


def test_the_definitions_are_those_of_an_embedded_cluster() -> None:
    there = deployed("CustomResourceDefinition")
    here = {text_at(each, "metadata", "name"): mapping_at(each, "spec") for each in first_definitions()}
    assert {name: mapping_at(each, "spec") for name, each in there.items()} == here


def test_the_role_is_that_of_an_embedded_cluster() -> None:
    (role,) = (each for each in first_cluster_roles() if text_at(each, "metadata", "name") == LOAD_BALANCER)
    assert deployed("ClusterRole")["fairlead-load-balancer"]["rules"] == role["rules"]


def test_the_definitions_are_valid_and_serve_every_kind_there_is_a_view_of() -> None:
    served = set()
    for each in first_definitions():
        spec = mapping_at(each, "spec")
        names = mapping_at(spec, "names")
        assert not list(
            definition_rules({**each, "spec": {**spec, "conversion": {"strategy": "None"}, "names": names}})
        )
        served |= {(kind.resource.version, kind.resource.plural) for kind in kinds_of(each)}
    assert served == {(each.version, each.plural) for each in RESOURCES.values() if each.group == GROUP}
