"""Asks a URL along a curve: `load.py URL RATE:SECONDS[,RATE:SECONDS...]`; prints what became of the requests.

Each request is a connection of its own, so that every one may find another pod. Between two points of the curve the
rate changes evenly. With a third word, `until-input-ends`, it also ends as soon as its input does.
"""

import select
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor


def rates(curve: str) -> list[tuple[float, float]]:
    """Pairs of requests per second and seconds."""
    return [(float(rate), float(seconds)) for rate, seconds in (part.split(":") for part in curve.split(","))]


def ask(url: str) -> int:
    """The status of one answer, 0 where there was none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    """Ask along the curve."""
    url, curve = sys.argv[1], rates(sys.argv[2])
    watched = [sys.stdin] if "until-input-ends" in sys.argv[3:] else []
    pending: list[Future[int]] = []
    with ThreadPoolExecutor(32) as pool:
        before = curve[0][0]
        ended = False
        for rate, seconds in curve:
            began = now = due = time.monotonic()
            while not ended and now < began + seconds:
                pending.append(pool.submit(ask, url))
                due += 1 / max(0.1, before + (rate - before) * (now - began) / seconds)
                readable, _, _ = select.select(watched, [], [], max(0.0, due - time.monotonic()))
                ended = bool(readable) and not sys.stdin.read(1)
                now = time.monotonic()
            before = rate
    statuses = [each.result() for each in pending]
    told = ", ".join(f"{statuses.count(each)} x {each or 'no answer'}" for each in sorted(set(statuses)))
    sys.stdout.write(f"{told}\n")


main()
