"""Does a kubeconfig name its cluster as it was named, whatever else YAML would read in that?"""

import pytest
import yaml

from fairlead.cluster.apiserver.pki import Credential, kubeconfig_text


@pytest.mark.parametrize("name", ["fairlead", "n", "yes", "1", "null", "1e3"])
def test_a_cluster_may_have_a_name_that_yaml_takes_for_something_else(name: str) -> None:
    written = kubeconfig_text("https://127.0.0.1:6443", b"ca", Credential(b"crt", b"key"), user="admin", name=name)
    config = yaml.safe_load(written)
    assert config["current-context"] == name
    assert config["contexts"] == [{"name": name, "context": {"cluster": name, "user": "admin"}}]
    assert config["clusters"][0]["name"] == name
