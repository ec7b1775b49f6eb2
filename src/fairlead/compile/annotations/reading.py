"""Reads the annotations of one Ingress by a table: names come in, typed values and findings go out.

Every annotation that is read is in a table of some theme, with what a wrong value does. What is in no table is told.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fairlead.model import Finding, Origin, Severity

T = TypeVar("T")
D = TypeVar("D")


class Wrong(Enum):
    """What a wrong value does (reference 1.1): falls back to the default, denies the location, refuses the Ingress."""

    DEFAULT = "default"
    DENY = "deny"
    REFUSE = "refuse"


class Annotation(Struct, Generic[T], frozen=True):
    """One annotation: its name without prefix, how its text is read, what a wrong one does, what it is for."""

    name: str
    parse: Callable[[str], T]
    wrong: Wrong
    summary: str


class Unsupported(Struct, frozen=True):
    """An annotation that is known and not carried, and what happens instead."""

    name: str
    instead: str


class Reading:
    """The annotations of one object with one prefix, and what was found wrong with them."""

    def __init__(self, annotations: Mapping[str, str], prefix: str, about: Origin) -> None:
        self._texts = {
            name.removeprefix(prefix + "/"): text for name, text in annotations.items() if name.startswith(prefix + "/")
        }
        self._prefix = prefix
        self._about = about
        self.findings: list[Finding] = []
        self.denied = ""
        self.refused = ""

    def __contains__(self, annotation: Annotation[Any]) -> bool:
        return annotation.name in self._texts

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are set, without the prefix."""
        return tuple(self._texts)

    def get(self, annotation: Annotation[T]) -> T | None:
        """The value; None when it is not set, empty or wrong."""
        text = self._texts.get(annotation.name, "")
        if not text.strip():
            return None
        try:
            return annotation.parse(text)
        except ValueError as error:
            self.complain(annotation, str(error))
            return None

    def value(self, annotation: Annotation[T], default: D) -> T | D:
        """The value, or `default`."""
        found = self.get(annotation)
        return default if found is None else found

    def complain(self, annotation: Annotation[Any], problem: str, remedy: str = "") -> None:
        """Record that the annotation's value is wrong, with the consequence its table says."""
        match annotation.wrong:
            case Wrong.DEFAULT:
                said, severity = "its default holds", Severity.WARNING
            case Wrong.DENY:
                said, severity = "the paths of this Ingress answer 503", Severity.ERROR
                self.denied = self.denied or f"{annotation.name}: {problem}"
            case Wrong.REFUSE:
                said, severity = "this Ingress is not taken over", Severity.ERROR
                self.refused = self.refused or f"{annotation.name}: {problem}"
        self.find(severity, annotation.name, f"{problem}; {said}", remedy)

    def find_error(self, annotation: Annotation[Any], message: str) -> None:
        """Record an error about an annotation whose consequence the message says."""
        self.find(Severity.ERROR, annotation.name, message)

    def find(self, severity: Severity, name: str, message: str, remedy: str = "") -> None:
        """Record a finding about an annotation."""
        field = f"metadata.annotations[{self._prefix}/{name}]"
        origin = Origin(self._about.kind, self._about.namespace, self._about.name, field)
        self.findings.append(Finding(severity, origin, message, remedy))

    def tell_unread(self, known: Mapping[str, object], unsupported: Mapping[str, Unsupported]) -> None:
        """Record every annotation that is not carried, and every one that nobody knows."""
        for name in self._texts:
            if name in known:
                continue
            if name in unsupported:
                self.find(Severity.WARNING, name, f"this is not carried: {unsupported[name].instead}")
                continue
            near = get_close_matches(name, [*known, *unsupported], 1)
            self.find(
                Severity.WARNING,
                name,
                "no such annotation is known; it does nothing",
                f"did you mean {self._prefix}/{near[0]}?" if near else "",
            )
