"""Annotations about who may come in: basic and digest authentication, another service's word. Source: reference 1.1.

Secrets and ConfigMaps are looked up in what the caller hands in; names of another namespace are refused unless the
operator allows them.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import (
    ALLOWED_VARIABLES,
    parse_bool,
    parse_header_list,
    parse_header_name,
    parse_header_value,
    parse_text,
    parse_time,
    parse_url_text,
    parse_word_of,
    parse_words,
)
from fairlead.model import Origin
from fairlead.model.route_rules import AuthType, BasicAuth, ExternalAuth
from fairlead.model.route_text import Text, Variable

Key = tuple[str, str]
_NAME = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_USER = re.compile(r"[^:\x00-\x1f\x7f]{1,255}:[^\x00-\x1f\x7f]{1,1024}")


def parse_reference(text: str) -> tuple[str, str]:
    """`name` or `namespace/name`; the namespace is empty when it is not said."""
    if not _NAME.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no name, and no namespace and name")
    namespace, _, name = text.strip().rpartition("/")
    return namespace, name


def _verb(text: str) -> str:
    if not re.fullmatch(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE)", text):
        raise ValueError(f"{text!r} is no method")
    return text


def _durations(text: str) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for group in (each.strip() for each in text.split(",")):
        words = group.split()
        if len(words) < 2:
            raise ValueError(f"{group!r} is no list of statuses and a time, such as 200 202 10m")
        seconds = parse_time(words[-1])
        for word in words[:-1]:
            if not re.fullmatch(r"[1-5]\d\d|any", word):
                raise ValueError(f"{word!r} is no status")
            found += [(int(word), seconds)] if word != "any" else [(status, seconds) for status in (200, 202, 401)]
    return tuple(found)


def _parameter(text: str) -> str:
    if not re.fullmatch(r"[-._~a-zA-Z0-9]+", text):
        raise ValueError(f"{text!r} is no name of a parameter")
    return text


AUTH_TYPE = Annotation("auth-type", parse_word_of("basic", "digest"), Wrong.REFUSE, "how users show who they are")
AUTH_SECRET = Annotation("auth-secret", parse_reference, Wrong.DENY, "the Secret with users")
AUTH_SECRET_TYPE = Annotation(
    "auth-secret-type", parse_word_of("auth-file", "auth-map"), Wrong.DENY, "whether a key is a user or the file of all"
)
REALM = Annotation("auth-realm", parse_words, Wrong.DEFAULT, "what browsers show")
URL = Annotation("auth-url", parse_url_text, Wrong.REFUSE, "the service that decides")
SIGN_IN = Annotation("auth-signin", parse_url_text, Wrong.REFUSE, "where 401 is redirected to")
SIGN_IN_PARAMETER = Annotation(
    "auth-signin-redirect-param", _parameter, Wrong.REFUSE, "the parameter with the way back"
)
RESPONSE_HEADERS = Annotation("auth-response-headers", parse_header_list, Wrong.DENY, "its headers that go upstream")
METHOD = Annotation("auth-method", _verb, Wrong.DENY, "the method it is asked with")
SET_HEADERS = Annotation("auth-proxy-set-headers", parse_reference, Wrong.REFUSE, "a ConfigMap of headers for it")
REDIRECT = Annotation("auth-request-redirect", parse_text, Wrong.REFUSE, "its X-Auth-Request-Redirect")
SET_COOKIE = Annotation("auth-always-set-cookie", parse_bool, Wrong.REFUSE, "pass its cookies with every status")
CACHE_KEY = Annotation(
    "auth-cache-key",
    lambda text: parse_text(text, ALLOWED_VARIABLES | {"http_authorization", "http_cookie"}),
    Wrong.REFUSE,
    "what its answers are kept by",
)
CACHE_DURATION = Annotation("auth-cache-duration", _durations, Wrong.DENY, "for how long, by status")
GLOBAL = Annotation("enable-global-auth", parse_bool, Wrong.REFUSE, "whether the operator's global-auth-url holds")

ACCESS = (
    AUTH_TYPE, AUTH_SECRET, AUTH_SECRET_TYPE, REALM, URL, SIGN_IN, SIGN_IN_PARAMETER, RESPONSE_HEADERS, METHOD,
    SET_HEADERS, REDIRECT, SET_COOKIE, CACHE_KEY, CACHE_DURATION, GLOBAL,
)  # fmt: skip


def read_basic(
    reading: Reading, about: Origin, secret_of: Callable[[Key], Mapping[str, bytes] | None]
) -> BasicAuth | None:
    """Basic or digest authentication; with a Secret that cannot be used the location is denied."""
    kind = reading.get(AUTH_TYPE)
    if kind is None:
        return None
    named = reading.get(AUTH_SECRET)
    if named is None:
        if not reading.denied:
            reading.complain(AUTH_SECRET, "auth-type needs it", "name a Secret with the users")
        return None
    data = secret_of((named[0] or about.namespace, named[1]))
    if data is None:
        reading.complain(AUTH_SECRET, f"there is no Secret {named[0] or about.namespace}/{named[1]}", "create it")
        return None
    users = _users(data, as_map=reading.value(AUTH_SECRET_TYPE, "auth-file") == "auth-map")
    if isinstance(users, str):
        reading.complain(AUTH_SECRET, users)
        return None
    auth_type = AuthType(kind)
    if auth_type is AuthType.DIGEST:
        users = tuple(user.split(":", 2)[0] + ":" + user.rsplit(":", 1)[1] for user in users)
    return BasicAuth(type=auth_type, realm=reading.value(REALM, ""), users=users, origin=about)


def read_htpasswd(
    reading: Reading,
    about: Origin,
    secret_of: Callable[[Key], Mapping[str, bytes] | None],
    secret: Annotation[tuple[str, str]],
    realm: Annotation[str],
) -> BasicAuth | None:
    """Basic authentication by a Secret with the file of users under `htpasswd` (nginx.org/basic-auth-secret)."""
    named = reading.get(secret)
    if named is None:
        return None
    data = secret_of((named[0] or about.namespace, named[1]))
    found = f"there is no Secret {named[0] or about.namespace}/{named[1]}"
    users = found if data is None else _users({"auth": data.get("htpasswd", b"")}, as_map=False)
    if isinstance(users, str):
        reading.complain(secret, users)
        return None
    return BasicAuth(type=AuthType.BASIC, realm=reading.value(realm, ""), users=users, origin=about)


def _users(data: Mapping[str, bytes], *, as_map: bool) -> tuple[str, ...] | str:
    """The lines `user:hash`, or what is wrong with them."""
    try:
        if as_map:
            lines = [f"{user}:{word.decode().strip()}" for user, word in data.items()]
        elif "auth" not in data:
            return "the Secret has no key `auth`"
        else:
            lines = [each.strip() for each in data["auth"].decode().splitlines() if each.strip()[:1] not in ("", "#")]
    except UnicodeDecodeError:
        return "the Secret's users are no text"
    if not lines or any(not _USER.fullmatch(each) for each in lines):
        return "the Secret's users are no lines of user:hash"
    return tuple(lines)


def read_external(
    reading: Reading, about: Origin, config_map_of: Callable[[Key], Mapping[str, str] | None]
) -> ExternalAuth | None:
    """The word of another service, if one is named."""
    url = reading.get(URL)
    if url is None:
        return None
    first = url[0] if url and isinstance(url[0], str) else ""
    host = urlsplit(first).netloc
    duration = reading.value(CACHE_DURATION, ((200, 300), (202, 300), (401, 300)))
    return ExternalAuth(
        url=url,
        host=host,
        method=reading.get(METHOD),
        sign_in=reading.get(SIGN_IN),
        sign_in_parameter=reading.value(SIGN_IN_PARAMETER, "rd"),
        response_headers=reading.value(RESPONSE_HEADERS, ()),
        request_headers=_headers(reading, about, config_map_of),
        request_redirect=reading.get(REDIRECT),
        always_set_cookie=reading.value(SET_COOKIE, False),
        cache_key=reading.get(CACHE_KEY),
        cache_valid=duration,
    )


def _headers(
    reading: Reading, about: Origin, config_map_of: Callable[[Key], Mapping[str, str] | None]
) -> tuple[tuple[str, Text], ...]:
    named = reading.get(SET_HEADERS)
    if named is None:
        return ()
    key = (named[0] or about.namespace, named[1])
    data = config_map_of(key)
    if data is None:
        reading.complain(SET_HEADERS, f"there is no ConfigMap {key[0]}/{key[1]}", "create it")
        return ()
    found: list[tuple[str, Text]] = []
    for name, value in data.items():
        try:
            found.append((parse_header_name(name), parse_text(parse_header_value(value))))
        except ValueError as error:
            reading.complain(SET_HEADERS, f"{name}: {error}")
            return ()
    return tuple(found)


def global_auth(url: str) -> ExternalAuth:
    """The operator's own, which holds for every location that does not opt out. Raises ValueError."""
    text = parse_url_text(url)
    host = urlsplit(url).netloc
    return ExternalAuth(url=text, host=host, request_headers=(("X-Original-URI", (Variable("request_uri"),)),))
