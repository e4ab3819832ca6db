"""The page of ``fastnn serve`` in a browser: Debian's Chromium, driven by Playwright."""

import base64
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("playwright")

from playwright.sync_api import expect, sync_playwright
from serving import photo_of_a_seven, serving

import fastnn

#: A seven on the pad, of 280 units a side: where the pen goes.
SEVEN = [(80, 70), (200, 70), (130, 220)]


def chromium(playwright):
    """A Chromium that is here: the system's, or Playwright's own; None without one."""
    named = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    own = playwright.chromium.executable_path
    return next(filter(None, named), own if Path(own).exists() else None)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = chromium(playwright)
        if found is None:
            pytest.skip("there is no Chromium; apt-get install chromium")
        options = ["--no-sandbox"] if getattr(os, "geteuid", int)() == 0 else []
        opened = playwright.chromium.launch(executable_path=found, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(digits_model):
    with serving(digits_model) as running:
        yield running


@pytest.fixture
def visit(browser, server):
    """Open the page; afterwards nothing may have gone wrong in it, or have come from elsewhere."""
    contexts, faults, requests = [], [], []

    def opened(address=server.address, **options):
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda request: requests.append((request.url, address)))
        page.goto(address)
        expect(page.locator("#bars tbody tr").first).to_be_visible()
        return page

    opened.expected = None  # what a test may make go wrong
    yield opened
    for context in contexts:
        context.close()
    assert all(opened.expected and opened.expected in fault for fault in faults), faults
    for url, address in requests:
        assert url.startswith((address, "blob:", "data:"))


def corner(page):
    """Where the pad begins, and pixels for each of its units."""
    box = page.locator("#pad").bounding_box()
    return box["x"], box["y"], box["width"] / 280


def draw(page, points=SEVEN):
    x, y, scale = corner(page)
    places = [(x + a * scale, y + b * scale) for a, b in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def says(page, text):
    expect(page.locator("#verdict")).to_contain_text(text)


def lit(page):
    """How many hidden units are lit."""
    shares = page.locator("#cells i").evaluate_all(
        "cells => cells.map(c => Number(c.style.getPropertyValue('--share')))"
    )
    return sum(share > 0.5 for share in shares)


def bright(page):
    """How many pixels of the image are bright, as the network gets it."""
    return page.locator("#sample").evaluate(
        """c => {
          const copy = new OffscreenCanvas(c.width, c.height).getContext('2d');
          copy.drawImage(c, 0, 0);
          const { data } = copy.getImageData(0, 0, c.width, c.height);
          return data.filter((v, i) => i % 4 === 0 && v > 127).length;
        }"""
    )


# -- ways to draw ----------------------------------------------------------------------------------


def test_a_seven_drawn_with_the_mouse_is_read(visit):
    page = visit()
    says(page, "Nothing yet.")
    assert (lit(page), bright(page)) == (0, 0)
    draw(page)
    says(page, "7: ")
    expect(page.locator("#bars .best th")).to_have_text("7")
    # The answer to the last of the strokes, which "7" may have been the answer to before.
    page.wait_for_function(
        "() => document.querySelector('#bars .best .fill').style.getPropertyValue('--share') > 0.8"
    )
    assert page.locator("#cells i").count() == 50
    assert 3 <= lit(page) <= 47
    assert 30 < bright(page) < 200
    page.get_by_role("button", name="Clear").click()
    says(page, "Nothing yet.")
    assert (lit(page), bright(page)) == (0, 0)


def test_the_bars_move_while_it_is_drawn(visit):
    page = visit()
    x, y, scale = corner(page)
    page.mouse.move(x + 140 * scale, y + 60 * scale)
    page.mouse.down()
    page.mouse.move(x + 140 * scale, y + 220 * scale, steps=8)  # and the pen is still down
    says(page, "1: ")
    page.mouse.up()
    draw(page, [(70, 60), (140, 60)])
    expect(page.locator("#verdict")).not_to_contain_text("1: ")
    page.get_by_role("button", name="Undo").click()
    says(page, "1: ")


def test_a_finger_draws_and_does_not_scroll(visit):
    page = visit(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    x, y, scale = corner(page)
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        at = [{"x": x + a * scale, "y": y + b * scale} for a, b in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", SEVEN[0])
    for begin, end in pairwise(SEVEN):
        for part in np.linspace(0, 1, 7)[1:]:
            a, b = (1 - part) * np.array(begin) + part * np.array(end)
            touch("touchMove", (float(a), float(b)))
    touch("touchEnd")
    says(page, "7: ")
    assert page.evaluate("scrollY") == 0


def test_with_the_keyboard_alone(visit):
    page = visit()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "pad":
            break
    assert page.evaluate("document.activeElement.id") == "pad"

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    press(*["ArrowLeft"] * 8, *["ArrowUp"] * 9, "Space")
    expect(page.locator("#status")).to_have_text("Pen down.")
    press(*["ArrowRight"] * 15, *["ArrowDown", "ArrowLeft", "ArrowDown"] * 9, "Space")
    says(page, "7: ")
    expect(page.locator("#status")).to_contain_text("The network says 7: ")
    press("Shift+ArrowUp", "ArrowRight", "Space", "Space")  # a dot
    assert page.evaluate("scrollY") == 0
    press("z")
    expect(page.locator("#status")).to_have_text("One stroke taken back.")
    says(page, "7: ")
    press("Delete")
    says(page, "Nothing yet.")
    press("Tab")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


PASTE = """([kind, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], 'seven.png', { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent('drop', { ...options, dataTransfer: data }));
}"""


@pytest.mark.parametrize("way", ["open", "paste", "drop"])
def test_a_photo_is_read(way, visit):
    page = visit()
    photo = photo_of_a_seven()
    if way == "open":
        file = {"name": "seven.png", "mimeType": "image/png", "buffer": photo}
        page.get_by_label("Open a photo").set_input_files(file)
    else:
        page.evaluate(PASTE, [way, base64.b64encode(photo).decode()])
    says(page, "7: ")
    draw(page, [(140, 60), (140, 220)])  # takes the place of the photo
    says(page, "1: ")


def test_what_is_no_photo_is_told(visit):
    page = visit()
    file = {"name": "seven.png", "mimeType": "image/png", "buffer": b"seven"}
    page.get_by_label("Open a photo").set_input_files(file)
    expect(page.get_by_role("alert")).to_have_text("This image cannot be read.")


# -- who looks at it, and with what ----------------------------------------------------------------


def test_screen_readers_have_names_for_all_of_it(visit):
    page = visit()
    pad = page.get_by_role("application", name="Drawing pad")
    described = pad.evaluate(
        "p => document.getElementById(p.getAttribute('aria-describedby')).textContent"
    )
    assert "the arrow keys move the pen" in " ".join(described.split())
    for name in ("Undo", "Clear"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    expect(page.get_by_label("Open a photo")).to_have_attribute("type", "file")
    for name in ("Draw", "What the network says", "As the network gets it", "Hidden units"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "digits.safetensors – fastnn"
    draw(page)
    table = page.get_by_role("table", name="Probability of each class")
    row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="7", exact=True))
    expect(row.get_by_role("cell")).to_contain_text(" %")
    image = page.get_by_role("img", name="Image of 28 by 28 pixels")
    expect(image).to_be_visible()
    expect(page.get_by_role("img", name="Most active of 50: ")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("The network says 7: ")


def test_a_narrow_screen_needs_no_scrolling_sideways(visit):
    page = visit(viewport={"width": 320, "height": 640})
    draw(page)
    says(page, "7: ")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    tops = page.locator("main > section:visible").evaluate_all(
        "all => all.map(s => [s.getBoundingClientRect().left, s.getBoundingClientRect().top])"
    )
    assert len({left for left, _ in tops}) == 1
    assert tops == sorted(tops, key=lambda place: place[1])
    for button in page.locator("#drawing .buttons > :is(button, label)").all():
        box = button.bounding_box()
        assert box["height"] >= 44
        assert box["width"] >= 44
        assert box["x"] + box["width"] <= 320


CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const found = {};
  for (const back of ['--paper', '--back']) {
    for (const front of ['--text', '--quiet', '--ink', '--bar', '--other', '--focus']) {
      const two = [front, back].map((name) => light(style.getPropertyValue(name)));
      found[front + back] = (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
    }
  }
  return found;
}"""


def test_light_and_dark_have_contrast(visit):
    backs = []
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        backs.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for pair, contrast in page.evaluate(CONTRASTS).items():
            assert contrast >= 4.5, (scheme, pair)
        draw(page)
        says(page, "7: ")
    assert backs[0] != backs[1]


def test_a_server_that_is_gone_is_told(visit, digits_model):
    visit.expected = "ERR_CONNECTION_REFUSED"
    with serving(digits_model) as another:
        page = visit(another.address)
        another.process.terminate()
        another.process.wait()
        draw(page)
        says(page, "No answer.")
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")


# -- other models ----------------------------------------------------------------------------------


def test_a_network_of_features_has_a_form(visit, tmp_path):
    network = fastnn.TwoLayerNet(4, 3, 3, 1.0, activation="tanh", rng=0)
    network.label_names = ["setosa", "versicolor", "<b>virginica</b>"]
    network.preprocessing = {
        "scaling": {"method": "none", "offset": 0.0, "divisor": 1.0, "dtype": "float64"},
        "range": [0.0, 8.0],
        "features": ["sepal length", "sepal width", "petal length", "petal width"],
    }
    network.save(tmp_path / "iris")
    x = [5.1, 3.5, 1.4, 0.2]
    y = network.predict(np.array(x))
    with serving(tmp_path / "iris") as another:
        page = visit(another.address)
        expect(page.get_by_text("there is nothing to draw")).to_be_visible()
        expect(page.locator("#pad")).to_be_hidden()
        for name, value in zip(network.preprocessing["features"], x, strict=True):
            page.get_by_label(name).fill(str(value))
        page.get_by_label("petal width").press("Enter")
        best = int(y.argmax())
        says(page, f"{network.label_names[best]}: {100 * y[best]:.1f} %")
        assert page.locator("#bars th[scope=row]").all_text_contents() == network.label_names
        page.get_by_label("sepal width").fill("wide")
        page.get_by_role("button", name="Predict").click()
        expect(page.get_by_role("alert")).to_have_text("Value 2 is no number.")


def test_many_features_have_a_field_for_all(visit, tmp_path):
    network = fastnn.TwoLayerNet(100, 3, 1, 1.0, loss="mean_squared_error", rng=0)
    network.save(tmp_path / "values")
    x = np.random.default_rng(0).normal(size=100).round(3)
    with serving(tmp_path / "values") as another:
        page = visit(another.address)
        field = page.get_by_label("100 numbers, with commas or spaces between them")
        field.fill(", ".join(map(str, x)))
        page.get_by_role("button", name="Predict").click()
        says(page, f"{network.predict(x)[0]:.4g}"[:5])
        field.fill("1 2 3")
        page.get_by_role("button", name="Predict").click()
        expect(page.get_by_role("alert")).to_have_text("Give 100 numbers.")
