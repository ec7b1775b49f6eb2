"""Reach and the judge of single connections against the oracle, for policies made by chance; the templates."""

import os
from pathlib import Path

import msgspec
import pytest
from nine_pods import OUTSIDE, PORTS, PROTOCOLS, a_policy, namespaces, pods, some_policies
from oracle import Document, Oracle

from fairlead.kube.core import Namespace, Pod
from fairlead.kube.documents import Document as ApiDocument
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.kube.yamlcodec import parse_documents
from fairlead.net import parse_address, parse_protocol
from fairlead.sim.policies import judge_flow
from fairlead.sim.policy_matching import Dialled, End
from fairlead.sim.reach_explaining import explain_pairs
from fairlead.sim.reach_forms import Change, FormError, compare, covers, csv_of, dot_of, read_csv
from fairlead.sim.reach_manifests import objects_of
from fairlead.sim.reach_objects import PolicyObjects, Question, read_objects

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
TEMPLATES = sorted(path.stem for path in EXAMPLES.glob("*.csv"))
SEEDS = range(1000 if os.environ.get("FAIRLEAD_LONG") else 120)


def question_of(documents: list[Document]) -> Question:
    def typed(kind: type[msgspec.Struct]) -> tuple[msgspec.Struct, ...]:
        return tuple(msgspec.convert(each, kind) for each in documents if each["kind"] == kind.__name__)

    return read_objects(
        PolicyObjects(
            namespaces=typed(Namespace),  # pyright: ignore[reportArgumentType]
            pods=typed(Pod),  # pyright: ignore[reportArgumentType]
            policies=(*typed(NetworkPolicy), *typed(ClusterNetworkPolicy)),  # pyright: ignore[reportArgumentType]
        )
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_reach_the_judge_and_the_oracle_agree(seed: int) -> None:
    policies = some_policies(seed, tiers=seed % 2 == 1)
    documents = [*namespaces(), *pods(), *policies]
    oracle, question = Oracle(documents), question_of(documents)
    words = {(src.name, dst.name): conn for src, dst, conn in question.reach().lines()}
    compiled = question.index.pods.pods
    for source in oracle.pods:
        for target in oracle.pods:
            names = [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in (source, target)]
            if source is target:
                continue
            for protocol in PROTOCOLS:
                for port in PORTS:
                    wanted = oracle.allows(source, target, protocol, port)
                    told = covers(words.get((names[0], names[1]), ""), protocol, port)
                    ends = [End(each.addresses[0], each) for each in (compiled[tuple(n.split("/"))] for n in names)]  # pyright: ignore[reportArgumentType]
                    verdict = judge_flow(question.index, ends[0], ends[1], Dialled(int(parse_protocol(protocol)), port))
                    assert (told, verdict.allowed) == (wanted, wanted), f"{names} {protocol} {port}: {policies}"


@pytest.mark.parametrize("seed", range(40))
def test_the_judge_and_the_oracle_agree_on_outside_addresses(seed: int) -> None:
    documents = [*namespaces(), *pods(), *some_policies(seed, tiers=True)]
    oracle, question = Oracle(documents), question_of(documents)
    for pod in oracle.pods:
        own = question.index.pods.pods[pod["metadata"]["namespace"], pod["metadata"]["name"]]
        inside = End(own.addresses[0], own)
        for address in OUTSIDE:
            outside = End(parse_address(address))
            for ends, wanted in (
                ((outside, inside), oracle.allows(address, pod, "TCP", 80)),
                ((inside, outside), oracle.allows(pod, address, "TCP", 80)),
            ):
                assert judge_flow(question.index, *ends, Dialled(6, 80)).allowed == wanted


def template(name: str) -> list[ApiDocument]:
    files = [EXAMPLES / f"{each}.yaml" for each in ("application", name)]
    return [document for file in files for document in parse_documents(file.read_text(), source=file.name)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_have_the_matrix_they_promise(name: str) -> None:
    pairs = {(src.name, dst.name): conn for src, dst, conn in read_objects(objects_of(template(name))).reach().lines()}
    assert compare(read_csv((EXAMPLES / f"{name}.csv").read_text()), pairs) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_explaining_a_template_gives_the_same_answers(name: str) -> None:
    question = read_objects(objects_of(template(name)))
    lines = list(explain_pairs(question, question.reach(), "", ""))
    assert any(" by " in line for line in lines)


def test_there_is_a_matrix_for_every_template() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {*TEMPLATES, "application"}


def test_blocks_split_the_outside() -> None:
    peer = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}
    policy = a_policy("x", "p", {}, ingress=[{"from": [peer]}])
    sources = {src.name for src, dst, _ in question_of([*namespaces(), *pods(), policy]).reach().lines()
               if src.pod is None and dst.name == "x/a"}  # fmt: skip
    assert sources == {"192.0.2.0/25[External]"}


def test_forms_keep_what_they_are_given() -> None:
    pairs = {("a", 'b "quoted"'): "TCP 80,443", ("b", "c"): "All Connections"}
    assert read_csv(csv_of(pairs)) == pairs
    assert '"a" -> "b \\"quoted\\"" [label="TCP 80,443"];' in dot_of(pairs)
    assert compare(pairs, {("b", "c"): "TCP"}) == [
        Change("a", 'b "quoted"', "TCP 80,443", ""),
        Change("b", "c", "All Connections", "TCP"),
    ]
    with pytest.raises(FormError, match="first line"):
        read_csv("a,b,c\n")


@pytest.mark.parametrize(
    ("conn", "protocol", "port", "wanted"),
    [
        ("TCP 80,90-95,UDP", "TCP", 93, True),
        ("TCP 80,90-95,UDP", "TCP", 96, False),
        ("TCP 80,90-95,UDP", "UDP", 7, True),
        ("SCTP 80", "TCP", 80, False),
        ("", "TCP", 80, False),
    ],
)
def test_words_cover_ports(conn: str, protocol: str, port: int, wanted: bool) -> None:
    assert covers(conn, protocol, port) is wanted
