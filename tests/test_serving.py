"""``fastnn serve`` over HTTP: what it answers, what it refuses, and how it ends."""

import asyncio
import json
import signal
import socket
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("PIL")

from serving import ask, base64_of, photo_of_a_seven, png, serving

import fastnn
from fastnn.cli import main
from fastnn.serving import bodies
from fastnn.serving.guard import HEADERS, Guard
from fastnn.serving.server import _listener


@pytest.fixture(scope="module")
def server(digits_model):
    with serving(digits_model) as running:
        yield running
        assert running.process.poll() is None


@pytest.fixture(scope="module")
def pixels():
    return fastnn.load_mnist(normalize=False)[1]


def assert_refused(answer, status, *texts):
    code, content = answer
    assert (code, list(content)) == (status, ["error"])
    assert "\n" not in content["error"]
    assert len(content["error"]) <= 300
    for text in texts:
        assert text in content["error"]


# -- answers ---------------------------------------------------------------------------------------


def test_samples_get_what_the_predictor_says(server, digits_model, pixels):
    x = pixels[0][:20]
    expected = fastnn.Predictor.load(digits_model, backend="numpy")(x)
    status, found = ask(server, {"samples": x.tolist()})
    assert status == 200
    for i, prediction in enumerate(found["predictions"]):
        assert list(prediction) == ["label", "index", "probabilities"]
        assert prediction["label"] == expected.labels[i] == str(prediction["index"])
        np.testing.assert_allclose(prediction["probabilities"], expected.outputs[i], rtol=1e-6)
    status, one = ask(server, {"sample": x[0].tolist()})
    assert (status, len(one["predictions"])) == (200, 1)
    assert one["predictions"][0]["label"] == expected.labels[0]


def test_details_are_the_hidden_units_and_the_image(server, digits_model, pixels):
    network = fastnn.load(digits_model, backend="numpy")
    status, found = ask(server, png(photo_like(pixels[0][0])), "/predict?details=1")
    [prediction] = found["predictions"]
    assert status == 200
    x = np.array(prediction["image"], np.float32) / 255
    z = 1 / (1 + np.exp(-(x @ network.params["W1"] + network.params["b1"])))
    np.testing.assert_allclose(prediction["hidden"], z, rtol=1e-4)
    np.testing.assert_allclose(prediction["probabilities"], network.predict(x), rtol=1e-3)


def photo_like(sample):
    """An MNIST image as dark ink on white paper, four times as large."""
    return 255 - np.kron(np.pad(sample.reshape(28, 28), 4), np.ones((4, 4), np.uint8))


def test_images_are_read_alone_and_in_batches(server, pixels):
    x, t = pixels
    images = [png(photo_like(x[i])) for i in range(100)]
    status, found = ask(server, {"images": [base64_of(image) for image in images]})
    assert status == 200
    labels = [prediction["label"] for prediction in found["predictions"]]
    assert np.mean([label == str(t[i]) for i, label in enumerate(labels)]) >= 0.9
    for i in range(3):
        alone = ask(server, images[i], content_type="image/png")
        [prediction] = alone[1]["predictions"]
        expected = found["predictions"][i]["probabilities"]
        np.testing.assert_allclose(prediction["probabilities"], expected, rtol=1e-3, atol=1e-7)
        assert ask(server, {"image": base64_of(images[i])}) == alone


def test_a_photo_is_read(server):
    status, found = ask(server, photo_of_a_seven())
    assert (status, found["predictions"][0]["label"]) == (200, "7")


def test_unusual_samples_come_with_a_warning(server):
    status, found = ask(server, {"sample": [1e6] * 784})
    assert status == 200
    assert "far outside of what the network was trained on" in found["predictions"][0]["warning"]


def test_health_and_metadata(server, digits_model):
    assert ask(server, path="/health") == (200, {"status": "ok"})
    status, told = ask(server, path="/metadata")
    assert status == 200
    assert (told["name"], told["sizes"]) == (digits_model.name, [784, 50, 10])
    assert told["labels"] == [str(i) for i in range(10)]
    assert (told["image"], told["scaling"], told["assumed"]) == ([28, 28], "unit", False)
    assert told["limits"]["bytes"] == bodies.MOST_BYTES


def test_the_page_takes_nothing_from_elsewhere(server):
    status, page = ask(server, path="/")
    assert status == 200
    assert b"http://www.w3.org/2000/svg" in page
    assert page.count(b"http") == 1  # the name of SVG
    connection = server.connection()
    for path, kind in [("/", "text/html"), ("/page.css", "text/css"), ("/pad.js", "javascript")]:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200
        assert kind in response.headers["content-type"]
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        assert path == "/" or b"http" not in content
    connection.close()


# -- other models ----------------------------------------------------------------------------------


def saved(network, tmp_path):
    network.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_network_of_features(tmp_path):
    network = fastnn.TwoLayerNet(4, 3, 3, 1.0, activation="tanh", rng=0)
    network.label_names = ["setosa", "versicolor", "virginica"]
    x = np.random.default_rng(0).normal(size=(3, 4))
    with serving(saved(network, tmp_path)) as server:
        found = ask(server, {"samples": x.tolist()})[1]["predictions"]
        y = network.predict(x)
        np.testing.assert_allclose([p["probabilities"] for p in found], y, rtol=1e-12)
        assert [p["label"] for p in found] == [network.label_names[i] for i in y.argmax(axis=1)]
        assert_refused(ask(server, photo_of_a_seven()), 415, "trained on no images")
        assert ask(server, path="/metadata")[1]["image"] is None


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy"])
def test_a_network_of_values_and_one_of_yes_or_no(loss, tmp_path):
    network = fastnn.TwoLayerNet(4, 3, 2, 1.0, loss=loss, rng=0)
    x = np.random.default_rng(0).normal(size=(5, 4))
    with serving(saved(network, tmp_path)) as server:
        found = ask(server, {"samples": x.tolist()})[1]["predictions"]
    y = network.predict(x)
    if loss == "mean_squared_error":
        np.testing.assert_allclose([p["values"] for p in found], y, rtol=1e-12)
    else:
        np.testing.assert_allclose([p["probabilities"] for p in found], y, rtol=1e-12)
        assert [p["labels"] for p in found] == [
            [str(i) for i in np.flatnonzero(row > 0.5)] for row in y
        ]


def test_784_features_without_a_word_are_taken_for_mnist(digits_model, pixels, tmp_path):
    network = fastnn.load(digits_model, backend="numpy")
    del network.preprocessing
    x = pixels[0][0] / 255
    with serving(saved(network, tmp_path)) as server:
        told = ask(server, path="/metadata")[1]
        assert (told["assumed"], told["image"], told["scaling"]) == (True, [28, 28], None)
        assert ask(server, photo_of_a_seven())[1]["predictions"][0]["label"] == "7"
        [found] = ask(server, {"sample": x.tolist()})[1]["predictions"]  # as the network takes it
        np.testing.assert_allclose(found["probabilities"], network.predict(x), rtol=1e-5)


# -- what is refused -------------------------------------------------------------------------------

ONE = [0.5] * 784
REFUSED = {
    "nothing": (b"", 400, "the body is empty"),
    "no JSON": (b"seven", 400, "is no JSON"),
    "no text": (b"\xff\xfe\x00\x01", 415, "neither text in UTF-8 nor an image"),
    "a list": ([ONE], 400, "give an object with one of sample, samples, image, images"),
    "another name": ({"data": [ONE]}, 400, "an object with ['data']"),
    "two names": ({"sample": ONE, "image": ""}, 400, "give an object with one of"),
    "no samples": ({"samples": []}, 400, "give a list with something in it"),
    "a short sample": ({"samples": [ONE, ONE[1:]]}, 400, "samples[1] has 783 values"),
    "a text": ({"samples": [["1"] * 784]}, 400, "samples[0] holds '1'; give numbers"),
    "a bool": ({"samples": [[True] * 784]}, 400, "samples[0] holds True; give numbers"),
    "NaN": (b'{"sample": [NaN]}', 400, "NaN is no number"),
    "infinity": (
        b'{"sample": [' + b"0," * 783 + b"1e999]}",
        400,
        "remove or replace NaN and infinity",
    ),
    "a large integer": ({"samples": [[10**400, *ONE[1:]]]}, 400, "too large"),
    "nested": (b"[" * 100_000, 400, "nested too deep"),
    "no base64": ({"image": "?"}, 400, "is no base64"),
    "no image": ({"image": base64_of(b"seven")}, 415, "is of no known kind"),
    "half an image": (photo_of_a_seven()[:9000], 400, "the image"),
    "white paper": (png(np.full((50, 50), 255)), 400, "shows no ink"),
    "too many": ({"samples": [[0]] * 10_001}, 413, "give 10000 at most"),
    "too many images": ({"images": [""] * 101}, 413, "give 100 at most"),
    "too many pixels": (png(np.zeros((7200, 7200))), 413, "give 50000000 at most"),
    "too large": (b"0" * (2**23 + 1), 413, "give 8388608 bytes at most"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_told_in_one_line(what, server):
    body, status, text = REFUSED[what]
    assert_refused(ask(server, body), status, text)


def test_a_body_of_unknown_length_is_bounded_too(server):
    parts = (b"0" * 2**16 for _ in range(2**23 // 2**16 + 1))
    assert_refused(ask(server, parts, method="POST"), 413, "too large")


def test_other_addresses_and_methods(server):
    assert_refused(ask(server, path="/none"), 404, "Not Found: GET /none")
    assert_refused(ask(server, path="/../pyproject.toml"), 404)
    assert_refused(ask(server), 405, "Method Not Allowed: GET /predict")
    assert_refused(ask(server, b"", "/health"), 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "[::1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
    ids=str,
)
def test_pages_of_other_sites_do_not_get_in(headers, server):
    for path in ("/", "/metadata", "/predict"):
        assert_refused(ask(server, path=path, **headers), 403)
    assert_refused(ask(server, {"sample": ONE}, **headers), 403)


def test_ours_get_in(server):
    own = "{}:{}".format(*server.place)
    assert ask(server, path="/health", host=own, origin=f"http://{own}")[0] == 200
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(server, path="/", **link)[0] == 200
    assert_refused(ask(server, b"{}", **link), 403)
    for host in ("localhost", "127.0.0.1", "[::1]:8000"):
        assert ask(server, path="/health", host=host)[0] == 200


def guarded(host, asked):
    """The status code that a guard of a server on `host` gives."""
    codes = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        codes.append(message.get("status"))

    scope = {"type": "http", "method": "GET", "headers": [(b"host", asked.encode())]}
    asyncio.run(Guard(app, host)(scope, None, send))
    return codes[0]


def test_a_server_for_others_takes_addresses_and_its_own_names():
    for asked in ("192.168.1.7:8000", "[fe80::1]:8000", "localhost", socket.gethostname()):
        assert guarded("0.0.0.0", asked) == 200
    for asked in ("evil.example", "", "192.168.1.7.evil.example"):
        assert guarded("0.0.0.0", asked) == 403
    assert guarded("127.0.0.1", "192.168.1.7") == 403
    assert guarded("digits.example", "digits.example:8000") == 200


def test_nobody_else_reaches_it(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no other address")
        own = out.getsockname()[0]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((own, server.place[1]), timeout=5)


# -- many, and malformed ones ----------------------------------------------------------------------


def test_500_requests_from_16_connections(server, pixels):
    x = pixels[0]
    expected = ask(server, {"samples": x[:500].tolist()})[1]["predictions"]
    found, faults = [None] * 500, []

    def some(first):
        try:
            connection = server.connection()
            for i in range(first, 500, 16):
                body = {"sample": x[i].tolist()}
                found[i] = ask(server, body, connection=connection)
            connection.close()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=some, args=(first,)) for first in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    for i, (status, content) in enumerate(found):
        assert status == 200
        [prediction] = content["predictions"]
        assert prediction["index"] == expected[i]["index"]
        np.testing.assert_allclose(
            prediction["probabilities"], expected[i]["probabilities"], rtol=1e-4, atol=1e-7
        )


def test_answers_are_sent_without_delay():
    """asyncio does that for sockets that say they are TCP; else it takes 40 ms each."""
    with _listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def malformed(rng, whole_json, whole_image):
    """A body that no model could answer."""

    def value(depth=0):
        kind = rng.integers(9 if depth < 3 else 6)
        if kind < 6:
            return [None, True, "7", 1e300, -(2**70), "\ud800"][kind]
        if kind == 6:
            return {str(rng.integers(9)): value(depth + 1) for _ in range(rng.integers(4))}
        return [value(depth + 1) for _ in range(rng.integers(4))]

    def noise():
        return rng.integers(256, size=rng.integers(1, 2000), dtype=np.uint8).tobytes()

    kind = rng.integers(8)
    if kind == 0:
        return b"\xff" + noise()
    if kind == 1:
        return whole_json[: rng.integers(1, len(whole_json) - 1)]
    if kind == 2:
        name = ["sample", "samples", "image", "images", "x"][rng.integers(5)]
        return json.dumps({name: value()}).encode()
    if kind == 3:
        return whole_image[: rng.integers(9, len(whole_image) * 9 // 10)]
    if kind == 4:
        start = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"P5 ", b"RIFF"]
        return start[rng.integers(len(start))] + noise()
    if kind == 5:
        return json.dumps({"images": [base64_of(noise())]}).encode()
    if kind == 6:  # JSON with a character that it cannot have
        at = rng.integers(len(whole_json))
        return whole_json[:at] + b"\x00" + whole_json[at:]
    return json.dumps(value()).encode()


def test_1000_malformed_bodies_are_refused_and_the_server_lives(server, pixels):
    rng = np.random.default_rng(0)
    whole_json = json.dumps({"samples": pixels[0][:2].tolist()}).encode()
    whole_image = png(photo_like(pixels[0][0]))
    connection = server.connection()
    kinds = ["application/json", "image/png", "text/plain", "multipart/form-data", ""]
    for i in range(1000):
        body = malformed(rng, whole_json, whole_image)
        answer = ask(server, body, connection=connection, content_type=kinds[i % 5])
        assert 400 <= answer[0] < 500, body[:200]
        assert_refused(answer, answer[0])
    connection.close()
    assert ask(server, whole_json)[0] == ask(server, whole_image)[0] == 200


def test_malformed_heads_are_refused_and_the_server_lives(server):
    rng = np.random.default_rng(0)
    whole = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(60):
        head = bytearray(whole)
        for _ in range(rng.integers(1, 20)):
            head[rng.integers(len(whole) - 4)] = rng.integers(256)
        with socket.create_connection(server.place, timeout=10) as connection:
            connection.sendall(head)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(100)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (bytes(head), answer)
    assert ask(server, path="/health")[0] == 200


# -- time, and the end -----------------------------------------------------------------------------

IMPATIENT = """
import fastnn.serving.app as app, fastnn.serving.server as server
app.BODY_SECONDS = server.HEAD_SECONDS = 0.4
"""


def test_who_dawdles_is_sent_away(digits_model):
    with serving(digits_model, before=IMPATIENT) as server:
        for head in (b"", b"GET / HT"):  # without a head: closed without a word
            with socket.create_connection(server.place, timeout=10) as connection:
                connection.sendall(head)
                assert connection.recv(1000) == b""
        with socket.create_connection(server.place, timeout=10) as connection:
            head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head + b"{")
            assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        assert ask(server, path="/health")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_ends_it_in_order(number, digits_model):
    with serving(digits_model) as server:
        body = json.dumps({"sample": ONE}).encode()
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        with (
            socket.create_connection(server.place, timeout=10) as idle,
            socket.create_connection(server.place, timeout=10) as connection,
        ):
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            server.process.send_signal(number)
            assert idle.recv(10) == b""
            connection.sendall(body)  # what is under way is still answered
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        out, err = server.process.communicate(timeout=10)
        assert (server.process.returncode, out) == (128 + number, "")
        assert err == f"fastnn: error: ended by {number.name} after 1 request\n"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(server.place, timeout=5)


@pytest.fixture
def command(capfd):
    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main(["serve", *map(str, arguments)])
        return exited.value.code, *capfd.readouterr()

    return call


def test_a_taken_port_and_another_host_are_refused(command, digits_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = command(digits_model, "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"fastnn: error: port {port} is taken; give another one with --port")
    code, out, err = command(digits_model, "--host", "192.0.2.1", "--port", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "nothing can listen on '192.0.2.1', port 0" in err


def test_the_browser_is_opened_where_that_is_asked_for(digits_model):
    told = "import webbrowser; webbrowser.open = lambda address: print(address, flush=True)"
    with serving(digits_model, "--open", before=told) as server:
        assert server.process.stdout.readline() == f"{server.address}\n"


def test_what_is_no_model_is_refused(command, tmp_path):
    (tmp_path / "text").write_text("seven")
    for name in ("text", "none"):
        code, out, err = command(tmp_path / name, "--port", 0)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert name in err


def test_without_starlette_the_extra_is_named(command, digits_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    code, out, err = command(digits_model)
    assert (code, out) == (2, "")
    assert "pip install 'fastnn[serve]'" in err


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "curl --data-binary @seven.png" in out
