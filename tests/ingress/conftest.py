"""One cluster with an ingress controller for the tests of this folder that need one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingress_cluster import Cluster, application, eventually, ingress


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for program in ("nginx", "kubectl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if not Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists():
        pytest.skip("libnginx-mod-http-lua is not installed")
    made = Cluster(tmp_path_factory.mktemp("ingress"))
    made.run("up", "--detach")
    try:
        made.apply(*application("app", 3), ingress("app", "app.example"))
        made.address = eventually(
            lambda: next(
                (
                    each["ip"]
                    for each in made.get("ingress", "app").get("status", {}).get("loadBalancer", {}).get("ingress", [])
                ),
                "",
            ),
            "an address for the Ingress",
            60,
        )
        eventually(lambda: made.status("http://app.example/", host="app.example") == 200, "an answer", 30)
        yield made
    finally:
        made.run("down", "--all", check=False)
