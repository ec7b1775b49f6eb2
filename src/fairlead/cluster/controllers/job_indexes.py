"""The completed indexes of an indexed Job, as text such as `0,2-4` and as a set. Source: JobStatus, batch/v1."""

from collections.abc import Collection


def parse_indexes(text: str) -> set[int]:
    """The indexes a text names; what is no number in it is passed over."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), (int(last) if last.isdigit() else int(first)) + 1))
    return found


def format_indexes(indexes: Collection[int]) -> str:
    """The text that names indexes, runs of three and more written as `first-last`, pairs as `first,last`."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = [
        str(first) if first == last else f"{first}{',' if last == first + 1 else '-'}{last}" for first, last in runs
    ]
    return ",".join(parts)
