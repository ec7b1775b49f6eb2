"""Annotations that name other objects or hold raw configuration. Source: reference 1.1."""

import re

from fairlead.compile.annotations.access import parse_reference
from fairlead.compile.annotations.reading import Annotation, Wrong
from fairlead.compile.annotations.values import parse_text
from fairlead.model.route_text import Text


def _service(text: str) -> str:
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", text.strip()):
        raise ValueError(f"{text!r} is no name of a Service")
    return text.strip()


def _snippet(text: str) -> str:
    return text


def _word(text: str) -> Text:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(f"{text!r} is no file name")
    return parse_text(text)


DEFAULT_BACKEND = Annotation("default-backend", _service, Wrong.REFUSE, "a Service for when there are no endpoints")
CUSTOM_HEADERS = Annotation("custom-headers", parse_reference, Wrong.DENY, "a ConfigMap of response headers")
FASTCGI_INDEX = Annotation("fastcgi-index", _word, Wrong.DEFAULT, "the file after a path that ends with a slash")
FASTCGI_PARAMETERS = Annotation(
    "fastcgi-params-configmap", parse_reference, Wrong.REFUSE, "a ConfigMap of FastCGI parameters"
)
CONFIGURATION = Annotation("configuration-snippet", _snippet, Wrong.REFUSE, "raw configuration of its locations")
SERVER = Annotation("server-snippet", _snippet, Wrong.REFUSE, "raw configuration of its host")

GENERAL = (DEFAULT_BACKEND, CUSTOM_HEADERS, FASTCGI_INDEX, FASTCGI_PARAMETERS, CONFIGURATION, SERVER)
