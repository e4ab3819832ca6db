"""Serving: how long requests take that come from many at once, and that none is lost."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import fastnn

from .recording import Record

#: Requests of a round, from so many connections that stay open.
REQUESTS, CONNECTIONS = 500, 16

#: Seconds that 99 of 100 requests take at most, each of them waiting for its turn among 16; an
#: image takes longer, since its ink has to be found first.
P99 = {"a sample": 0.25, "an image": 1.0, "nothing": 0.25}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a server of 784-50-10, in a process of its own."""
    path = Path(tmp_path_factory.mktemp("serving"), "digits.safetensors")
    network = fastnn.TwoLayerNet(784, 50, 10, dtype="float32", rng=0)
    fastnn.load_data().describe(network)
    network.save(path)
    command = [sys.executable, "-m", "fastnn", "serve", str(path), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    with process, contextlib.closing(process.stdout):
        parts = urlsplit(json.loads(process.stdout.readline())["address"])
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port
        process.terminate()


def _latencies(
    place: tuple[str, int], method: str, path: str, body: bytes | None, requests: int
) -> list[float]:
    """The seconds of so many requests; raises unless every one was answered."""
    seconds: list[float] = []
    lost: list[Any] = []

    def some(count: int) -> None:
        try:
            connection = http.client.HTTPConnection(*place, timeout=60)
            for _ in range(count):
                start = time.perf_counter()
                connection.request(method, path, body)
                response = connection.getresponse()
                response.read()
                seconds.append(time.perf_counter() - start)
                if response.status != 200:
                    lost.append(response.status)
            connection.close()
        except OSError as error:
            lost.append(error)

    shares = [len(range(first, requests, CONNECTIONS)) for first in range(CONNECTIONS)]
    threads = [threading.Thread(target=some, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert len(seconds) == requests
    return seconds


def test_many_at_once(record: Record, place: tuple[str, int]) -> None:
    from PIL import Image

    pixels = fastnn.load_mnist(normalize=False)[1][0][0]
    buffer = io.BytesIO()
    paper = np.kron(255 - np.pad(pixels.reshape(28, 28), 4), np.ones((8, 8), np.uint8))
    Image.fromarray(paper.astype(np.uint8)).save(buffer, "PNG")
    asked = {
        "POST /predict, a sample": json.dumps({"sample": pixels.tolist()}).encode(),
        "POST /predict, an image": buffer.getvalue(),
        "GET /health, nothing": None,
    }
    requests = CONNECTIONS if record.quick else REQUESTS
    all_of_them: dict[str, list[float]] = {name: [] for name in asked}

    def contestant(name: str, body: bytes | None) -> Any:
        method, _, path = name.partition(",")[0].partition(" ")

        def sample() -> float:
            start = time.perf_counter()
            all_of_them[name] += _latencies(place, method, path, body, requests)
            return (time.perf_counter() - start) / requests

        return sample

    name = f"serving {REQUESTS} requests from {CONNECTIONS} connections"
    contestants = {each: contestant(each, body) for each, body in asked.items()}
    record.compare(name, contestants, unit="request", fewest=5, seconds=3)
    for each, seconds in all_of_them.items():
        bound = P99[each.partition(", ")[2]]
        text = f"{each}: 99 of 100 requests take at most {bound:g} s, and none is lost"
        record.statement(name, text, float(np.percentile(seconds, 99)), bound)
