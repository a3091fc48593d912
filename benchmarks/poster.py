"""Posts OTLP bodies over several connections that stay open, as exporters do. Run as a process of its own.

python -m benchmarks.poster ADDRESS CONNECTIONS < bodies      each body with its length before it, eight bytes

Prints one JSON object: seconds from the first byte to the last answer, how many were answered with which status, and
how many had to be sent again. What is answered with 503 is sent again when the answer says so, as exporters do.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import BinaryIO

HEADERS = {"Content-Type": "application/x-protobuf"}


def bodies_of(stream: BinaryIO) -> Iterator[bytes]:
    """The bodies that a stream holds."""
    while length := stream.read(8):
        yield stream.read(int.from_bytes(length, "big"))


def post(address: str, bodies: list[bytes], first: int, connections: int) -> Counter[int]:
    """Post every `connections`-th body from `first` on; the statuses that came back."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    answered: Counter[int] = Counter()
    for body in bodies[first::connections]:
        for _ in count():
            connection.request("POST", "/v1/traces", body, HEADERS)
            response = connection.getresponse()
            response.read()
            answered[response.status] += 1
            if response.status != 503:
                break
            time.sleep(float(response.headers["Retry-After"]))
    connection.close()
    return answered


def main() -> None:
    """Read all bodies, then post them."""
    address, connections = sys.argv[1], int(sys.argv[2])
    bodies = list(bodies_of(sys.stdin.buffer))
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        found = pool.map(lambda first: post(address, bodies, first, connections), range(connections))
        answered = sum(found, Counter[int]())
    print(json.dumps({"seconds": time.perf_counter() - began, "answered": answered}))


if __name__ == "__main__":
    main()
