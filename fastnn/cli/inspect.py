"""``fastnn inspect``: what is in a model's file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..console import write
from ..data.paths import checked_path
from ..files import container
from ..files.model import MODEL
from ..prediction import Predictor
from . import models, options, pictures
from .files import check_apart
from .help import command as described

#: How many label names are shown.
FEW = 12


@described("inspect", "fastnn inspect digits.safetensors --plot units.png")
@models.model
@options.picture("the weights of the hidden units")
@options.as_json("lines")
def command(model: str, picture: str | None, as_json: bool) -> None:
    """Show what is in MODEL.

    That is the network, what it takes, and where it comes from.
    """
    check_apart({"MODEL": model}, {"--plot": picture})
    if picture is not None:
        pictures.check_picture(picture)
    predictor = Predictor.load(model, "numpy")
    found = describe(model, predictor)
    if picture is not None:
        _draw(predictor, picture)
    write(json.dumps(found) if as_json else _report(found))


def describe(path: str, predictor: Predictor) -> dict[str, Any]:
    """What a model's file holds, as data."""
    network: Any = predictor.network
    with container.opened(checked_path(path, "model")) as file:
        header, kind = dict(file.description), file.description["kind"]
    state = header.get("state")
    at = {} if kind == MODEL else {"iteration": state["loop"]["iteration"] if state else None}
    stat = Path(path).stat()
    known = predictor.preprocessing
    parameters = {
        name: {
            "shape": list(values.shape),
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values)),
            "largest": float(np.abs(values).max()),
        }
        for name, values in network.params.items()
    }
    return {
        "file": {
            "path": str(path),
            "kind": kind,
            "bytes": stat.st_size,
            "written": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds"),
            "fastnn_version": header.get("fastnn_version"),
        }
        | at,
        "network": {
            "sizes": list(network.sizes),
            "activation": getattr(network, "activation", None),
            "loss": network.loss_name,
            "dtype": network.dtype.name,
            "parameters": network.size,
        },
        "parameters": parameters,
        "label_names": predictor.label_names,
        "samples": None
        if known is None
        else {
            "scaling": known.scaling.method,
            "range": [known.low, known.high],
            "features": known.features,
            "target": known.target,
            "image_shape": None if known.image_shape is None else list(known.image_shape),
            "images": known.image_way,
        },
        "provenance": vars(network).get("provenance"),
    }


def _report(found: dict[str, Any]) -> str:
    file, network, samples = found["file"], found["network"], found["samples"]
    layers = "-".join(map(str, network["sizes"]))
    formulas = ", ".join(filter(None, (network["activation"], network["loss"], network["dtype"])))
    at = f", after iteration {file['iteration']}" if "iteration" in file else ""
    rows = {
        "file": f"{file['path']}: a {file['kind']} of {file['bytes']:,} bytes{at}",
        "written": f"{file['written']} by fastnn {file['fastnn_version']}",
        "network": f"{layers}: {formulas}, {network['parameters']:,} parameters",
        "labels": _few(found["label_names"]),
        "samples": "as they are: the file says of no scaling",
    }
    if samples is not None:
        low, high = samples["range"]
        rows["samples"] = f"scaling {samples['scaling']}, then from {low:g} to {high:g}"
        if samples["image_shape"] is not None:
            height, width = samples["image_shape"]
            rows["images"] = f"{height} × {width} pixels, from files by {samples['images']}"
        if samples["features"] is not None:
            rows["features"] = _few(samples["features"])
        if samples["target"] is not None:
            rows["target"] = samples["target"]
    for name, value in (found["provenance"] or {}).items():
        if value is not None:
            rows[f"{name.replace('_', ' ')}"] = _plain(value)
    parameters = {
        f"{name}, {' × '.join(map(str, one['shape']))}": f"mean {one['mean']:+.4f}, "
        f"deviation {one['deviation']:.4f}, largest {one['largest']:.4f}"
        for name, one in found["parameters"].items()
    }
    width = max(map(len, (*rows, *parameters)))
    return "\n\n".join(
        "\n".join(f"{name:<{width}}  {value}" for name, value in part.items())
        for part in (rows, parameters)
    )


def _few(names: list[str]) -> str:
    text = ", ".join(names[:FEW])
    return text if len(names) <= FEW else f"{text}, … ({len(names)} in all)"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, dict) and value.keys() == {"class", "arguments"}:  # a schedule
        arguments = ", ".join(f"{k}={v}" for k, v in value["arguments"].items())
        return f"{value['class']}({arguments})"
    return str(value)


def _draw(predictor: Predictor, path: str) -> None:
    from ..plotting import plot_weights

    known, shape = predictor.preprocessing, predictor.image_shape
    features = None if known is None else known.features
    units = min(predictor.network.sizes[1], 100)
    size = (min(10, units) + 1, -(-units // 10) + 0.8) if shape else (8, 6)
    network = predictor.network
    pictures.save(path, lambda f: plot_weights(network, shape, features, figure=f), size)
