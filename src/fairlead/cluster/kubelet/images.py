"""What an image means here: a program of this machine, a built-in one, or a stand-in. Pure."""

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from fairlead.cluster.launch import ImageRule

BUILT_IN = "fairlead/"


class StandInImage(Struct, frozen=True):
    """Any image: a stand-in answers on the declared ports; `app` names a built-in program instead."""

    app: str = ""


class ProgramImage(Struct, frozen=True):
    """A program of this machine, by its absolute path, and the words that come before the container's own."""

    path: str
    words: tuple[str, ...] = ()


OWN_PROGRAMS = {f"{BUILT_IN}ingress": ("-m", "fairlead", "agent", "ingress")}
"""Built-in images that are Fairlead itself, run as a program of its own; the words are for the interpreter."""


def resolve_image(image: str, rules: Sequence[ImageRule]) -> StandInImage | ProgramImage:
    """What runs for `image`: the first rule that matches the reference, with or without its tag, decides.

    `fairlead/NAME` is a built-in program, an absolute path is that program.
    """
    bare = image.split("@", 1)[0]
    head, _, last = bare.rpartition("/")
    bare = f"{head}/{last.split(':', 1)[0]}" if head or bare.startswith("/") else last.split(":", 1)[0]
    short = bare.rsplit("/", 1)[-1]
    for rule in rules:
        if any(fnmatchcase(name, rule.pattern) for name in (image, bare, short)):
            return ProgramImage(rule.program)
    if image.startswith("/"):
        return ProgramImage(image)
    if bare in OWN_PROGRAMS:
        return ProgramImage(sys.executable, OWN_PROGRAMS[bare])
    return StandInImage(bare if bare.startswith(BUILT_IN) else "")
