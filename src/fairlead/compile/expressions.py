"""Regular expressions that tenants wrote: what NGINX's PCRE takes, and takes in bounded time.

Comes in: text. Goes out: nothing, or ValueError with what is wrong. Python's engine reads the same language but for a
few constructs, and what only one of them knows is refused. Source: reference section 7 (invalid PCRE breaks reloads,
`(a+)+` takes for ever); pcre2pattern(3).
"""

import re
import warnings
from importlib import import_module
from typing import Any

_LONGEST, _MOST_REPEATS, _DEEPEST = 1024, 1000, 40
_OTHERS = re.compile(r"\\[CEGKNPQRVXZghkopz0-9]|\(\?[^:=!]|\(\*|[*+?}]\+")
"""What the two languages spell differently, or only one of them knows; back references too."""
_parser: Any = import_module("re._parser")
_codes: Any = import_module("re._constants")
_REPEATS = (_codes.MAX_REPEAT, _codes.MIN_REPEAT)


def check_expression(text: str) -> None:
    """Raise ValueError unless `text` is an expression for NGINX that cannot take exponential time."""
    if len(text) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST} characters")
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError("an expression holds no control characters")
    other = _OTHERS.search(text.replace("\\\\", "").replace("(?i)", ""))
    if other is not None:
        raise ValueError(f"{other.group()!r} is not carried in expressions")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed: Any = _parser.parse(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    _check(parsed, depth=0)


def _check(parsed: Any, *, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("the expression is nested too deeply")
    for code, value in parsed:
        if code in _REPEATS:
            least, most, inner = value
            if least > _MOST_REPEATS or (most is not _codes.MAXREPEAT and most > _MOST_REPEATS):
                raise ValueError(f"a part is to be repeated more than {_MOST_REPEATS} times")
            if most is _codes.MAXREPEAT and _is_ambiguous(inner):
                raise ValueError("a repetition within a repetition can take for ever, as (a+)+ does")
            _check(inner, depth=depth + 1)
        else:
            for each in _parts(code, value):
                _check(each, depth=depth + 1)


def _parts(code: Any, value: Any) -> list[Any]:
    """The sequences inside a node."""
    if code is _codes.SUBPATTERN:
        return [value[3]]
    if code is _codes.BRANCH:
        return list(value[1])
    if code in (_codes.ASSERT, _codes.ASSERT_NOT):
        return [value[1]]
    return []


def _is_ambiguous(sequence: Any) -> bool:
    """Whether a sequence, repeated, can match one text in very many ways.

    It cannot where a plain character that none of its own repetitions matches parts one round from the next.
    """
    items = list(_flat(sequence))
    loops = [value[2] for code, value in items if code in _REPEATS and value[1] is _codes.MAXREPEAT]
    if any(code is _codes.BRANCH for code, _ in items):
        return any(_has_loop(each) for code, value in items if code is _codes.BRANCH for each in value[1]) or bool(
            loops
        )
    if not loops:
        return any(code in _REPEATS and _has_loop(value[2]) for code, value in items)
    fixed = [value for code, value in items if code is _codes.LITERAL]
    return not any(all(not _matches(loop, each) for loop in loops) for each in fixed)


def _flat(sequence: Any) -> list[Any]:
    """The items of a sequence with its plain groups opened."""
    found: list[Any] = []
    for code, value in sequence:
        if code is _codes.SUBPATTERN:
            found += _flat(value[3])
        else:
            found.append((code, value))
    return found


def _has_loop(sequence: Any) -> bool:
    return any(
        (code in _REPEATS and (value[1] is _codes.MAXREPEAT or _has_loop(value[2])))
        or any(_has_loop(each) for each in _parts(code, value))
        for code, value in sequence
    )


def _matches(sequence: Any, char: int) -> bool:
    """Whether a character can be part of what a sequence matches; True in doubt."""
    items = _flat(sequence)
    if not items:
        return False
    for code, value in items:
        if code is _codes.LITERAL:
            if value == char:
                return True
        elif code is _codes.NOT_LITERAL:
            if value != char:
                return True
        elif code is _codes.IN:
            if _in_set(value, char):
                return True
        else:
            return True
    return False


def _in_set(items: Any, char: int) -> bool:
    negated, found = False, False
    for code, value in items:
        if code is _codes.NEGATE:
            negated = True
        elif code is _codes.LITERAL:
            found = found or value == char
        elif code is _codes.RANGE:
            found = found or value[0] <= char <= value[1]
        else:
            found = found or _in_category(str(value), chr(char))
    return found != negated


def _in_category(name: str, char: str) -> bool:
    negated = "NOT" in name
    if "DIGIT" in name:
        return char.isdigit() != negated
    if "SPACE" in name:
        return char.isspace() != negated
    return (char.isalnum() or char == "_") != negated
