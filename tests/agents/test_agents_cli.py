"""Does `fairlead agent node` say what is wrong, take a token from a file, and clean up after itself?"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.drivers.netns import entered, new_namespace
from fairlead.kube.core import Node


def run(*words: str, **environment: str) -> tuple[int, str]:
    """The exit code and everything said, without colours, borders and line breaks."""
    command = [sys.executable, "-m", "fairlead", "agent", *words]
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, re.sub(r"[\s│]+", " ", done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["node", "--kubeconfig", "/nowhere"], "/nowhere does not exist; name a kubeconfig with --kubeconfig"),
        (["nodes"], "'nodes' is no agent; the agents are: node"),
        (["node", "--kubeconfig", "{}", "--service-cidr", "10.96.0.1/16"], "has host bits set; write 10.96.0.0/16"),
        (["node", "--kubeconfig", "{}", "--cluster-cidr", "everything"], "write 10.96.0.0/16"),
        (["node", "--kubeconfig", "{}", "--healthz-bind-address", "10256"], "write it as 0.0.0.0:10256 or [::]:10256"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_write(words: list[str], said: str, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    code, text = run(*(word.format(config) if word == "{}" else word for word in words))
    assert code == 2
    assert said in text


def test_a_kubeconfig_without_context_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    code, text = run("node", KUBECONFIG=str(config))
    assert code == 3
    assert "name a file with a current context" in text


@pytest.mark.kernel
def test_cleanup_removes_our_tables_and_no_others() -> None:
    namespace = new_namespace()
    try:
        with entered(namespace):
            for words in ("table ip fairlead", "table ip6 fairlead", "table ip strange", "chain ip fairlead c"):
                subprocess.run(["nft", "add", *words.split()], check=True)
            assert run("node", "--cleanup") == (0, "removed table ip fairlead, table ip6 fairlead ")
            left = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
            assert left.split() == ["table", "ip", "strange"]
            assert run("node", "--cleanup") == (0, "there was nothing to remove ")
    finally:
        os.close(namespace)


async def test_a_token_in_a_file_is_sent_and_read_again_when_it_was_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"metadata": {"name": "node-1"}})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"tokenFile": "token"}}],
            }
        )
    )
    (tmp_path / "token").write_text("first\n")
    client = KubeClient(HttpTransport.from_kubeconfig(config))
    await client.get(Node, "node-1")
    (tmp_path / "token").write_text("second\n")
    await client.get(Node, "node-1")
    monkeypatch.setattr("fairlead.drivers.kubeapi.http._TOKEN_SECONDS", 0.0)
    renewed = KubeClient(HttpTransport.from_kubeconfig(config))
    await renewed.get(Node, "node-1")
    (tmp_path / "token").write_text("third\n")
    await renewed.get(Node, "node-1")
    assert seen == ["Bearer first", "Bearer first", "Bearer second", "Bearer third"]
    await client.close()
    await renewed.close()
    await runner.cleanup()


def test_the_manifest_in_the_documentation_is_one_and_runs_the_verb_with_options_it_has() -> None:
    text = (Path(__file__).parents[2] / "docs/running-on-a-cluster.md").read_text()
    manifest = text.partition("```yaml\n")[2].partition("```")[0]
    documents = {str(each["kind"]): each for each in yaml.safe_load_all(manifest)}
    assert list(documents) == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet"]
    container = documents["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    command = container["command"]
    assert command[:3] == ["fairlead", "agent", "node"]
    option = re.compile(r"--[a-z][a-z-]+")
    _, known = run("--help")
    assert set(option.findall(text)) <= set(option.findall(known))
    allowed = {r for rule in documents["ClusterRole"]["rules"] for r in rule["resources"] if "list" in rule["verbs"]}
    assert {"services", "endpointslices", "nodes"} <= allowed
