"""The rules for single texts: names, labels, keys, addresses; each returns what is wrong in upstream's words.

In: a text. Out: a tuple of sentences, empty if it is good. Source:
k8s.io/apimachinery/pkg/util/validation/validation.go and content/*.go.
"""

import re
from collections.abc import Callable

from fairlead.net import Address, Family, Prefix, parse_address

Rule = Callable[[str], tuple[str, ...]]
"""Says what is wrong with a text."""

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
WILDCARD = rf"\*\.{SUBDOMAIN}"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = f"({QUALIFIED})?"
CONFIG_KEY = "[-._a-zA-Z0-9]+"
PERCENT = "[0-9]+%"

NON_EMPTY = "must be non-empty"
NOT_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"
PORT_RANGE = "must be between 1 and 65535, inclusive"
BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
BAD_PREFIX = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
LOOPBACK = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
LINK_LOCAL = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
LINK_LOCAL_MULTICAST = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"


def too_long(limit: int) -> str:
    """Return upstream's sentence for a text above a limit."""
    return f"must be no more than {limit} characters"


def by_pattern(message: str, pattern: str, *examples: str) -> str:
    """Return a sentence that ends in examples and the pattern, spaced as upstream's RegexError spaces it."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


BAD_LABEL = by_pattern(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    LABEL,
    "my-name",
    "123-abc",
)
BAD_SUBDOMAIN = by_pattern(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    SUBDOMAIN,
    "example.com",
)
BAD_1035 = by_pattern(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    DNS_1035,
    "my-name",
    "abc-123",
)
BAD_WILDCARD = by_pattern(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
    "which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    WILDCARD,
    "*.example.com",
)
_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
BAD_QUALIFIED = by_pattern(_QUALIFIED_RULE, QUALIFIED, "MyName", "my.name", "123-abc")
BAD_LABEL_VALUE = by_pattern(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
BAD_CONFIG_KEY = by_pattern(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
BAD_ENVIRONMENT_NAME = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)
BAD_PERCENT = by_pattern(
    "a valid percent string must be a numeric string followed by an ending '%'", PERCENT, "1%", "93%"
)


def _matching(pattern: str, limit: int, message: str) -> Rule:
    compiled = re.compile(pattern)

    def rule(text: str) -> tuple[str, ...]:
        wrong = (too_long(limit),) if len(text) > limit else ()
        return wrong if compiled.fullmatch(text) else (*wrong, message)

    return rule


dns_label = _matching(LABEL, 63, BAD_LABEL)
dns_subdomain = _matching(SUBDOMAIN, 253, BAD_SUBDOMAIN)
dns_1035_label = _matching(DNS_1035, 63, BAD_1035)
wildcard_subdomain = _matching(WILDCARD, 253, BAD_WILDCARD)
label_value = _matching(LABEL_VALUE, 63, BAD_LABEL_VALUE)


def config_key(text: str) -> tuple[str, ...]:
    """Judge a key of a ConfigMap or Secret."""
    wrong = _config_key(text)
    if text == ".":
        return (*wrong, "must not be '.'")
    if text == "..":
        return (*wrong, "must not be '..'")
    return (*wrong, "must not start with '..'") if text.startswith("..") else wrong


_config_key = _matching(CONFIG_KEY, 253, BAD_CONFIG_KEY)


def qualified_name(text: str) -> tuple[str, ...]:
    """Judge a label key: a name, with a domain and a slash before it or without."""
    parts = text.split("/")
    if len(parts) > 2:
        example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a qualified name {BAD_QUALIFIED} {example}",)
    wrong: list[str] = []
    if len(parts) == 2:
        said = dns_subdomain(parts[0]) if parts[0] else (NON_EMPTY,)
        wrong += [f"prefix part {each}" for each in said]
    name = parts[-1]
    if not name:
        wrong.append(f"name part {NON_EMPTY}")
    elif len(name) > 63:
        wrong.append(f"name part {too_long(63)}")
    if not re.fullmatch(QUALIFIED, name):
        wrong.append(f"name part {BAD_QUALIFIED}")
    return tuple(wrong)


def port_name(text: str) -> tuple[str, ...]:
    """Judge the name of a port (an IANA service name)."""
    wrong: list[str] = []
    if len(text) > 15:
        wrong.append(too_long(15))
    if not re.fullmatch("[-a-z0-9]+", text):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in text:
        wrong.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return tuple(wrong)


def environment_name(text: str) -> tuple[str, ...]:
    """Judge the name of an environment variable."""
    good = bool(text) and all(" " <= letter <= "~" and letter != "=" for letter in text)
    return () if good else (BAD_ENVIRONMENT_NAME,)


def address_of(text: str) -> Address | None:
    """Return an address, or None if the text is none or spells it in a way that others read differently."""
    try:
        return parse_address(text)
    except ValueError:
        return None


def ip_address(text: str) -> tuple[str, ...]:
    """Judge an IP address."""
    if re.fullmatch(r"[0-9.]+", text) and any(len(part) > 1 and part[0] == "0" for part in text.split(".")):
        return ("must not have leading 0s",)
    if text.lower().startswith("::ffff:") and "." in text:
        return ("must not be an IPv4-mapped IPv6 address",)
    return () if address_of(text) else (BAD_ADDRESS,)


def canonical_address(text: str) -> tuple[str, ...]:
    """Judge an IP address that must be written as everybody writes it, because it is a name."""
    address = address_of(text)
    return () if address is not None and str(address) == text else ("must be a valid IP address in canonical form",)


def prefix_of(text: str) -> Prefix | None:
    """Return the range a CIDR text means, its host bits cleared; None if it is no CIDR text."""
    head, slash, tail = text.partition("/")
    address = address_of(head)
    if address is None or not slash or not tail.isascii() or not tail.isdigit():
        return None
    length, bits = int(tail), 8 * address.family.size
    if length > bits or str(length) != tail:
        return None
    number = int.from_bytes(address.packed, "big") >> (bits - length) << (bits - length)
    return Prefix(Address(number.to_bytes(address.family.size, "big")), length)


def cidr(text: str) -> tuple[str, ...]:
    """Judge a range of addresses."""
    prefix = prefix_of(text)
    if prefix is None:
        return (BAD_PREFIX,)
    head = address_of(text.partition("/")[0])
    return () if head == prefix.address else ("must not have bits set beyond the prefix length",)


_LOCAL = ("127.0.0.0/8", "::1/128")
_LINK = ("169.254.0.0/16", "fe80::/10")
_LINK_MULTICAST = ("224.0.0.0/24", "ff02::/10")


def _within(address: Address, ranges: tuple[str, ...]) -> bool:
    return any(prefix is not None and address in prefix for prefix in map(prefix_of, ranges))


def special_address(text: str) -> tuple[str, ...]:
    """Say why an address cannot be reached from elsewhere, if so (ValidateNonSpecialIP)."""
    address = address_of(text)
    if address is None:
        return (BAD_ADDRESS,)
    wrong: list[str] = []
    if not any(address.packed):
        wrong.append(f"may not be unspecified ({text})")
    if _within(address, _LOCAL):
        wrong.append(LOOPBACK)
    if _within(address, _LINK):
        wrong.append(LINK_LOCAL)
    if _within(address, _LINK_MULTICAST):
        wrong.append(LINK_LOCAL_MULTICAST)
    return tuple(wrong)


def of_family(text: str, family: Family) -> bool:
    """Whether the text is an address of that family."""
    address = address_of(text)
    return address is not None and address.family is family
