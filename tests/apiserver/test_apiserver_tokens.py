"""Tokens of service accounts: asked for, recognised, and of no use once their account or pod is gone."""

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from apiservers import Answer, Api, served

from fairlead.cluster.apiserver.access.tokens import ISSUER, BadTokenError, Claims, Named, Place, Tokens
from fairlead.cluster.apiserver.kinds.defaults.accounts import FOLDER
from fairlead.cluster.apiserver.statuses import StatusError

NS = "/api/v1/namespaces/default"
ACCOUNTS = f"{NS}/serviceaccounts"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


async def request(api: Api, **spec: Any) -> Answer:
    await api("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
    return await api("POST", f"{ACCOUNTS}/robot/token", {"spec": spec})


async def token(api: Api, **spec: Any) -> str:
    answer = await request(api, **spec)
    assert answer.status == 201, answer
    return answer.json["status"]["token"]


async def test_a_token_is_its_accounts(api: Api) -> None:
    user = api.server.accounts.authenticate(f"Bearer {await token(api)}")
    assert user.name == "system:serviceaccount:default:robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated")


async def test_a_token_ends_with_its_account(api: Api) -> None:
    text = await token(api)
    await api("DELETE", f"{ACCOUNTS}/robot")
    with pytest.raises(StatusError, match="Unauthorized"):
        api.server.accounts.authenticate(f"Bearer {text}")
    await api("POST", ACCOUNTS, {"metadata": {"name": "robot"}})  # the same name is another account
    with pytest.raises(StatusError, match="Unauthorized"):
        api.server.accounts.authenticate(f"Bearer {text}")


async def test_a_token_may_be_bound_to_a_pod(api: Api) -> None:
    await api("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
    pod = {
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "robot", "containers": [{"name": "c", "image": "i"}]},
    }
    assert (await api("POST", f"{NS}/pods", pod)).status == 201
    text = await token(api, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    user = api.server.accounts.authenticate(f"Bearer {text}")
    assert dict(user.extra)["authentication.kubernetes.io/pod-name"] == ("p",)
    wrong = await request(api, boundObjectRef={"kind": "Pod", "name": "p", "uid": "another"})
    assert wrong.status == 409
    assert (await request(api, boundObjectRef={"kind": "Pod", "name": "none"})).status == 404
    await api("DELETE", f"{NS}/pods/p?gracePeriodSeconds=0")
    with pytest.raises(StatusError):
        api.server.accounts.authenticate(f"Bearer {text}")


async def test_the_lifetime_has_bounds(api: Api) -> None:
    refused = await request(api, expirationSeconds=10)
    assert refused.status == 422
    assert "may not specify a duration less than 10 minutes" in refused.json["message"]
    assert (await request(api, expirationSeconds=601)).json["spec"]["expirationSeconds"] == 601


async def test_a_review_tells_whose_a_token_is_and_for_whom(api: Api) -> None:
    text = await token(api, audiences=["vault"])
    with pytest.raises(StatusError):
        api.server.accounts.authenticate(f"Bearer {text}")
    known = await api("POST", REVIEWS, {"spec": {"token": text, "audiences": ["vault", "x"]}})
    assert known.json["status"]["user"]["username"] == "system:serviceaccount:default:robot"
    assert known.json["status"]["audiences"] == ["vault"]
    unknown = await api("POST", REVIEWS, {"spec": {"token": f"{text[:-6]}AAAAAA"}})
    assert unknown.json["status"] == {"user": {}, "error": "invalid bearer token"}


def test_tokens_of_other_keys_and_times_are_refused() -> None:
    now = 1000.0
    place = Place("default", Named("robot", "uid"))
    claims = Claims(iss=ISSUER, sub="s", aud=(ISSUER,), exp=2000, nbf=900, iat=900, jti="j", place=place)
    ours = Tokens(b"", lambda: now)
    text = ours.sign(claims)
    assert ours.read(text) == claims
    with pytest.raises(BadTokenError):
        Tokens(b"", lambda: now).read(text)
    now = 2000.0
    with pytest.raises(BadTokenError, match="expired"):
        ours.read(text)
    for broken in ("", "a.b.c", text.replace(".", "", 1), text[:-4], text.partition(".")[0] + ".e30." + text[-86:]):
        with pytest.raises(BadTokenError):
            ours.read(broken)


async def test_a_pod_gets_its_token_where_clients_look_for_it(api: Api) -> None:
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await api("POST", f"{NS}/pods", pod)
    (volume,) = made.json["spec"]["volumes"]
    assert [next(iter(each)) for each in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    mounts = made.json["spec"]["containers"][0]["volumeMounts"]
    assert mounts == [{"name": volume["name"], "readOnly": True, "mountPath": FOLDER}]
    pod["metadata"]["name"] = "q"
    pod["spec"]["automountServiceAccountToken"] = False
    assert "volumes" not in (await api("POST", f"{NS}/pods", pod)).json["spec"]


async def test_the_server_takes_tokens_from_the_wire(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, url, pki), aiohttp.ClientSession() as session:
        text = await token(Api(server))
        tls = ssl.create_default_context(cadata=pki.authority.decode())
        headers = {"Authorization": f"Bearer {text}"}
        async with session.get(f"{url}{NS}/pods", ssl=tls, headers=headers) as answer:
            assert answer.status == 403
            told = msgspec.json.decode(await answer.read())["message"]
            assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in told
        body = {"spec": {}}
        who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        async with session.post(url + who, json=body, ssl=tls, headers=headers) as answer:
            assert (await answer.json())["status"]["userInfo"]["username"].endswith(":robot")
