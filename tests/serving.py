"""What the tests of serving share: a server in a process of its own, and requests to it."""

import base64
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

#: Runs the command line after some code, which may change what it finds.
BEHIND = """
import sys
exec(sys.argv[1])
from fastnn.__main__ import main
sys.argv[:] = ["fastnn", *sys.argv[2:]]
main()
"""


class Running(NamedTuple):
    process: subprocess.Popen
    address: str

    @property
    def place(self):
        parts = urlsplit(self.address)
        return parts.hostname, parts.port

    def connection(self, timeout=30):
        return http.client.HTTPConnection(*self.place, timeout=timeout)


@contextlib.contextmanager
def serving(model, *options, before=""):
    """A server in a process of its own; `before` is code that it runs first."""
    command = [sys.executable, "-c", BEHIND, before, "serve", model, "--port", 0, "--json"]
    process = subprocess.Popen(
        [*map(str, command), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield Running(process, json.loads(line)["address"])
    finally:
        process.kill()
        process.communicate()


def ask(server, body=None, path="/predict", method=None, connection=None, **headers):
    """The status code and the content of the answer."""
    method = method or ("GET" if body is None else "POST")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(body) if isinstance(body, dict | list) else body
    used = connection or server.connection()
    used.request(method, path, body, headers)
    response = used.getresponse()
    content = response.read()
    if connection is None:
        used.close()
    kind = response.headers.get_content_type()
    return response.status, json.loads(content) if kind == "application/json" else content


def png(grey):
    """Shades of grey, uint8, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(grey, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def base64_of(content):
    return base64.b64encode(content).decode()


def photo_of_a_seven():
    """Grey paper with a shade, a thick dark pen, off the middle: a PNG file."""
    rng = np.random.default_rng(0)
    paper = np.linspace(150, 200, 480)[:, None] + np.linspace(0, 20, 640)
    image = Image.fromarray(paper.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.line([(330, 120), (450, 120), (380, 330)], fill=40, width=26, joint="curve")
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), float)
    return png((noisy + rng.normal(0, 3, noisy.shape)).clip(0, 255))
