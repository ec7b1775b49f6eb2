"""Do the model and a real NGINX give the same backend, path and status for every request?"""

import os
from collections.abc import Iterator

import pytest
from ingress_worlds import build, requests
from nginx_running import Answer, RunningNginx, Service, nginx_missing, unchecked

from fairlead.agents.ingress.placeholder import make_placeholder
from fairlead.compile.routes import Built
from fairlead.model.route_upstreams import Endpoints
from fairlead.sim.ingress import Request, RequestVerdict, judge_request

pytestmark = pytest.mark.kernel
SETS = 400 if os.environ.get("FAIRLEAD_LONG") else 60
EACH = 8


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNginx]:
    missing = nginx_missing()
    if missing:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("model")
    folder.chmod(0o755)
    made = RunningNginx(folder)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Service]]:
    made = {name: Service(name) for name in ("red", "green", "blue")}
    yield made
    for each in made.values():
        each.stop()


def put_in_force(nginx: RunningNginx, built: Built, services: dict[str, Service]) -> None:
    """Serve the set, with the services of this test in place of pods."""
    nginx.render(built.routing)
    complaint = nginx.test()
    assert not complaint, f"{complaint}\n{nginx.config}"
    if nginx.process is None:
        nginx.start()
    else:
        former = set(nginx.workers())
        nginx.reload()
        nginx.wait(lambda: not former & set(nginx.workers()))
    told = [
        Endpoints(key, tuple(services[key.service].backend for _ in each.backends[:1]))
        for key, each in built.endpoints.items()
    ]
    nginx.tell(*told, full=True)
    placeholder = make_placeholder()
    nginx.tell_certificates(placeholder, default=placeholder.id, full=True)


def ask(nginx: RunningNginx, request: Request) -> Answer:
    return nginx.get(
        request.host,
        request.target,
        method=request.method,
        headers=request.headers,
        body=b"" if request.method in ("POST", "PUT") else None,
        tls=unchecked() if request.secure else None,
    )


def compare(verdict: RequestVerdict, answer: Answer, ports: tuple[int, int]) -> str:
    """What differs, or nothing."""
    if verdict.status:
        if answer.status != verdict.status:
            return f"status {answer.status}, not {verdict.status}"
        if verdict.redirect:
            location, wanted = ((each or "") for each in (answer.header("Location"), verdict.redirect))
            for port in ports:  # of this test; a controller has 80 and 443
                location, wanted = location.replace(f":{port}", ""), wanted.replace(f":{port}", "")
            if location != wanted:
                return f"Location {location}, not {wanted}"
        return ""
    if answer.status != 200:
        return f"status {answer.status}, not the upstream's"
    told = answer.told
    if told["name"] not in {key.service for key in verdict.upstreams}:
        return f"{told['name']} was asked, not {[str(each) for each in verdict.upstreams]}"
    asked = "/" + verdict.path.lstrip("/")  # as Python's server tells it
    return "" if told["path"] == asked else f"asked for {told['path']}, not {verdict.path}"


def test_the_model_and_nginx_agree_on_generated_sets(nginx: RunningNginx, services: dict[str, Service]) -> None:
    seen: set[int] = set()
    wrong: list[str] = []
    count = 0
    for seed in range(SETS):
        built = build(seed)
        put_in_force(nginx, built, services)
        for request in requests(seed, EACH):
            verdict = judge_request(built.routing, nginx.settings, built.endpoints, request)
            answer = ask(nginx, request)
            problem = compare(verdict, answer, (nginx.http, nginx.https))
            count += 1
            seen.add(verdict.status)
            if problem:
                steps = "\n    ".join(each.what for each in verdict.steps)
                wrong.append(f"set {seed}: {request}\n  {problem}\n    {steps}")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:8])
    assert count >= 300
    assert seen >= {0, 204, 301, 302, 308, 403, 404, 503}, f"every kind of verdict was met: {sorted(seen)}"
