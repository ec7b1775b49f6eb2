"""Ranges of keys: what the kernel holds of them, the rows they are, and which of them holds a key.

The kernel keeps a plain range as two elements, its first key and the key after its last; a range in each field of a
concatenation it keeps as one, with its first and its last key. Here both are one row, whose key is the first key
followed by the last. Comes in: either. Goes out: the other. Refuses to know what the keys mean.
"""

from collections.abc import Iterable, Sequence

from fairlead.nft.attributes import padded
from fairlead.nft.verdicts import Verdict


def after(key: bytes) -> bytes | None:
    """Return the key after one, without padding, or None behind the last one there is."""
    following = int.from_bytes(key, "big") + 1
    return None if following >> (8 * len(key)) else following.to_bytes(len(key), "big")


def join_range(first: bytes, last: bytes | None) -> bytes:
    """Return the key of a row in a set of intervals."""
    return first + (first if last is None else last)


def split_range(joined: bytes) -> tuple[bytes, bytes]:
    """Return the first and the last key of a row in a set of intervals."""
    half = len(joined) // 2
    return joined[:half], joined[half:]


def pair_ends(
    firsts: Iterable[tuple[bytes, bytes | Verdict | None]], beyonds: Iterable[bytes]
) -> dict[bytes, bytes | Verdict | None]:
    """Return the rows of plain ranges from their first keys and the keys behind their last ones, in any order.

    Keys come without padding. A range without a key behind it reaches to the last key there is.
    """
    ends = sorted(beyonds)
    rows: dict[bytes, bytes | Verdict | None] = {}
    at = 0
    for first, value in sorted(firsts, key=lambda each: each[0]):
        while at < len(ends) and ends[at] <= first:
            at += 1
        last = _before(ends[at]) if at < len(ends) else b"\xff" * len(first)
        padding = bytes(padded(len(first)) - len(first))
        rows[first + padding + last + padding] = value
    return rows


def find_range(rows: Iterable[bytes], key: bytes, widths: Sequence[int]) -> bytes | None:
    """Return the first row whose range holds a key in each of its fields; `widths` are those in the key, in bytes."""
    for joined in rows:
        first, last = split_range(joined)
        start = 0
        for width in widths or (len(key),):
            end = start + width
            if not first[start:end] <= key[start:end] <= last[start:end]:
                break
            start = end
        else:
            return joined
    return None


def _before(key: bytes) -> bytes:
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")
