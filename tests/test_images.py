"""Images as samples: grey, the ink found, cropped, centred and scaled as MNIST was."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("PIL")

from digit_pictures import drawn, photo
from PIL import Image

import fastnn
from fastnn import DataFileError, InputError
from fastnn.data.images import as_sample, is_image, read_image, sample_of
from fastnn.data.ink import connected, ink_of, threshold


@pytest.fixture(scope="module")
def pixels():
    """Images and labels of MNIST's test set."""
    _, (x, t) = fastnn.load_mnist(normalize=False)
    return x.reshape(-1, 28, 28), t


@pytest.fixture(scope="module")
def network():
    """One that reads digits: 784-50-10, some thousand steps."""
    (x, t), _ = fastnn.load_mnist()
    network = fastnn.TwoLayerNet(784, 50, 10, backend="numpy", dtype="float32", rng=0)
    fastnn.train(network, x, t, iterations=5000, optimizer="momentum", evaluate_every=0, rng=0)
    return network


def read_by(network, samples):
    return network.predict(np.array(samples).reshape(len(samples), 784) / 255).argmax(axis=1)


# -- digits ----------------------------------------------------------------------------------------


def test_mnist_stays_what_it_is(pixels):
    x, _ = pixels
    for image in x[:200]:
        np.testing.assert_array_equal(as_sample(image), image)


def test_100_test_digits_through_files_lose_no_accuracy(pixels, network, tmp_path):
    x, t = pixels
    samples = []
    for i, image in enumerate(x[:100]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        samples.append(sample_of(tmp_path / f"{i}.png"))
    straight, through = ((read_by(network, some) == t[:100]).mean() for some in (x[:100], samples))
    assert straight > 0.95
    assert through >= straight - 0.01


@pytest.mark.parametrize("inverted", [False, True], ids=["dark on light", "light on dark"])
@pytest.mark.parametrize("noise", [0, 4, 10])
def test_photos_are_read(pixels, network, inverted, noise):
    x, t = pixels
    rng = np.random.default_rng(0)
    pictures = [photo(image, rng, noise=noise, specks=10 * (noise > 0)) for image in x[:100]]
    samples = [as_sample(255 - p if inverted else p) for p in pictures]
    straight = (read_by(network, x[:100]) == t[:100]).mean()
    assert (read_by(network, samples) == t[:100]).mean() >= straight - 0.04


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("pen", [16, 30, 40])
def test_a_thick_pen_on_grey_paper_off_the_middle(network, number, pen):
    sample = as_sample(drawn(number, pen=pen))
    assert read_by(network, [sample])[0] == number
    rows, columns = np.nonzero(sample)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert abs((sample.sum(1) @ np.arange(28)) / sample.sum() - 14) < 0.6
    assert sample.max() > 230


@pytest.mark.parametrize("place", [(0, 0), (110, 10), (5, 190)])
def test_where_the_digit_is_does_not_matter(pixels, place):
    x, _ = pixels
    options = {"noise": 0, "shade": 0, "specks": 0}
    middle = as_sample(photo(x[0], np.random.default_rng(0), at=(60, 100), **options))
    there = as_sample(photo(x[0], np.random.default_rng(0), at=place, **options))
    np.testing.assert_array_equal(there, middle)


def test_dark_on_light_is_light_on_dark(pixels):
    x, _ = pixels
    for image in x[:20]:
        picture = photo(image, np.random.default_rng(0), shade=0)
        one, other = as_sample(picture).astype(int), as_sample(255 - picture).astype(int)
        assert np.abs(one - other).max() <= 1


def test_specks_are_no_ink(pixels):
    x, _ = pixels
    rng = np.random.default_rng(3)
    clean = photo(x[2], rng, noise=0, shade=0, specks=0, at=(60, 100))
    dirty = clean.copy()
    for y, c in ((5, 5), (200, 300), (30, 200)):
        dirty[y : y + 3, c : c + 3] = 40
    np.testing.assert_array_equal(as_sample(dirty), as_sample(clean))


@pytest.mark.parametrize("shade", [0, 120, 255])
@pytest.mark.parametrize("noise", [0, 3])
def test_without_ink_there_is_no_digit(shade, noise):
    rng = np.random.default_rng(0)
    picture = (shade + rng.normal(0, noise, (60, 80))).clip(0, 255).astype(np.uint8)
    with pytest.raises(InputError, match="no ink"):
        as_sample(picture)
    gradient = np.tile(np.linspace(80, 200, 80), (60, 1)).astype(np.uint8)
    assert ink_of(gradient.astype(float)) is None


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (14, 20), (1, 1), (64, 64)])
def test_samples_of_any_shape(shape):
    for way in ("digits", "resize"):
        sample = as_sample(drawn(7), shape, way)
        assert sample.shape == shape
        assert sample.dtype == np.uint8
    assert as_sample(drawn(7), shape, "digits").any()


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
        lambda shape: st.lists(
            st.integers(0, 255), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
        ).map(lambda values: np.array(values, np.uint8).reshape(shape))
    )
)
def test_any_image_is_a_sample_or_refused(image):
    try:
        sample = as_sample(image)
    except InputError:
        return
    assert sample.shape == (28, 28)
    assert sample.any()


def test_noise_of_any_kind_is_a_sample_or_refused():
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(1500):
        shape, spread = rng.integers(2, 15, 2), rng.choice([1, 20, 80])
        image = rng.normal(128, spread, shape).clip(0, 255).astype(np.uint8)
        ink = ink_of(image.astype(float))
        outcomes.add(ink is None)
        assert ink is None or ink.max() > 0
    assert outcomes == {True, False}


@given(st.integers(0, 2**20 - 1))
def test_connected_parts_are_those_of_scipy(bits):
    ndimage = pytest.importorskip("scipy.ndimage")
    marked = np.array([bits >> i & 1 for i in range(20)], bool).reshape(4, 5)
    theirs, count = ndimage.label(marked, structure=np.ones((3, 3)))
    ours = connected(marked)
    assert ours.max() == count
    for number in range(1, count + 1):  # the same parts, whatever their numbers
        assert len(np.unique(ours[theirs == number])) == 1


def test_otsus_threshold_parts_two_groups():
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.normal(20, 3, 900), rng.normal(200, 5, 100)))
    assert 25 < threshold(values) < 185


# -- files -----------------------------------------------------------------------------------------


def content(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_files_of_any_format(format, tmp_path):
    shades = drawn(7)
    raw = content(Image.fromarray(shades), format)
    assert is_image(raw[:16])
    (tmp_path / "image").write_bytes(raw)
    for source in (raw, tmp_path / "image", str(tmp_path / "image")):
        found = read_image(source)
        assert found.shape == shades.shape
        assert np.abs(found.astype(int) - shades).mean() < 3


def test_colour_transparency_palettes_and_16_bits():
    shades = drawn(7)
    assert (read_image(content(Image.fromarray(shades).convert("RGB"))) == shades).all()
    clear = np.zeros((*shades.shape, 4), np.uint8)
    clear[..., 3] = np.where(shades < 100, 255, 0)  # black ink on nothing
    found = read_image(content(Image.fromarray(clear, "RGBA")))
    np.testing.assert_array_equal(found, np.where(shades < 100, 0, 255))
    grey = content(Image.fromarray(shades).convert("P"))
    np.testing.assert_array_equal(read_image(grey), shades)
    deep = content(Image.fromarray(shades.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_image(deep), shades)
    assert set(np.unique(read_image(content(Image.fromarray(shades > 100))))) == {0, 255}


def test_a_picture_is_turned_as_the_camera_was_held():
    image = Image.fromarray(drawn(7)).convert("RGB")
    turned = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is to the right of what is stored
    raw = content(turned, "PNG", exif=exif)
    np.testing.assert_array_equal(read_image(raw), np.asarray(image.convert("L")))


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"", "no image"),
        (b"hello", "no image"),
        (content(Image.fromarray(drawn(7)))[:300], "damaged|no image|cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "damaged|no image|cannot be read"),
    ],
    ids=["nothing", "text", "cut", "zeros"],
)
def test_files_that_are_no_images(raw, named, tmp_path):
    (tmp_path / "x.png").write_bytes(raw)
    for source in (raw, tmp_path / "x.png"):
        with pytest.raises(DataFileError, match=named) as caught:
            read_image(source)
        assert str(caught.value).isprintable()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataFileError, match="No such file"):
        read_image(tmp_path / "none.png")


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("fastnn.data.images.MOST_PIXELS", 1000)
    with pytest.raises(DataFileError, match="make it smaller"):
        read_image(content(Image.new("L", (40, 40))))
    monkeypatch.undo()
    raw = content(Image.new("1", (20_000, 20_000)))
    with pytest.raises(DataFileError, match="make it smaller"):
        read_image(raw)
