"""Pictures of digits as a camera would make them: grey paper with a shade, a thick pen, specks."""

import numpy as np
from PIL import Image


def photo(
    digit,
    rng,
    *,
    size=(240, 320),
    side=120,
    at=None,
    paper=170,
    ink=40,
    noise=4,
    shade=50,
    specks=10,
):
    """A digit of MNIST, uint8, shape (28, 28), as uint8 of another size, dark on light."""
    height, width = size
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    covered = np.zeros(size)
    row, column = (rng.integers(6, n - side - 6) for n in size) if at is None else at
    covered[row : row + side, column : column + side] = np.asarray(large, float) / 255
    slope = rng.uniform(-1, 1, 2)
    background = (
        paper
        + shade * slope[0] * (np.arange(width) / width - 0.5)
        + shade * slope[1] * (np.arange(height)[:, None] / height - 0.5)
    )
    picture = background * (1 - covered) + covered * ink
    for _ in range(specks):
        y, x = rng.integers(height - 2), rng.integers(width - 2)
        picture[y : y + 2, x : x + 2] = 70
    picture += rng.normal(0, noise, size) if noise else 0
    return picture.clip(0, 255).astype(np.uint8)


#: The strokes of a seven and a one, as fractions of a square: lines from point to point.
STROKES = {7: [(0.2, 0.2), (0.8, 0.2), (0.45, 0.85)], 1: [(0.5, 0.15), (0.5, 0.85)]}


def drawn(number, *, size=280, pen=26, paper=190, ink=50):
    """A digit drawn with a thick round pen in the upper left of a picture: uint8."""
    from PIL import ImageDraw

    image = Image.new("L", (size * 2, size + size // 2), paper)
    brush = ImageDraw.Draw(image)
    points = [(x * size + 10, y * size + 5) for x, y in STROKES[number]]
    brush.line(points, fill=ink, width=pen, joint="curve")
    for x, y in points:
        brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=ink)
    return np.asarray(image)
