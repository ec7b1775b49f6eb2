"""Does the ingress controller come when it is needed, as its documentation says, and not otherwise?"""

from pathlib import Path

import yaml

from fairlead.cluster.addons.ingress import ingress_manifests, wants_ours
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.networking import Ingress, IngressSpec

DEPLOY = Path(__file__).parents[2] / "deploy" / "ingress.yaml"


def test_what_is_installed_is_what_people_apply_on_clusters_of_their_own() -> None:
    assert list(yaml.safe_load_all(DEPLOY.read_text())) == ingress_manifests()


def test_the_controller_comes_for_its_class_and_for_no_class_at_all() -> None:
    def named(name: str | None, annotation: str = "") -> Ingress:
        annotations = {"kubernetes.io/ingress.class": annotation} if annotation else {}
        return Ingress(metadata=ObjectMeta(annotations=annotations), spec=IngressSpec(ingress_class_name=name))

    assert wants_ours(named("nginx"))
    assert wants_ours(named(None))
    assert wants_ours(named(None, "nginx"))
    assert not wants_ours(named("traefik"))
    assert not wants_ours(named(None, "gce"))


def test_nginx_workers_cannot_read_the_account() -> None:
    deployment = next(each for each in ingress_manifests() if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]  # type: ignore[index,call-overload]
    assert pod["automountServiceAccountToken"] is False  # type: ignore[index,call-overload]
    assert pod["volumes"][0]["projected"]["defaultMode"] == 0o400  # type: ignore[index,call-overload]
