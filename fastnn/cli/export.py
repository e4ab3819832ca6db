"""``fastnn export``: a model in a format that others read."""

from __future__ import annotations

import json
from typing import Any

import click

from ..console import write
from ..data.paths import checked_path
from ..errors import CheckpointError
from ..files import load
from . import models, options
from .files import check_apart
from .help import command as described
from .help import option


@described("export", "fastnn export digits.safetensors digits.onnx")
@models.model
@click.argument("file", metavar="FILE", type=options.AnyPath())
@option("--force", is_flag=True, group=options.OUTPUT, help="Replace FILE if it is there.")
@options.as_json("a summary")
def command(model: str, file: str, force: bool, as_json: bool) -> None:
    """Write MODEL to FILE, in the format that FILE's suffix says.

    .onnx is an ONNX model: it takes samples as they come, any number at a time, and gives what the
    network predicts. .npz holds the parameters as arrays, and texts that say what they are of. .pt
    holds the state_dict of PyTorch's Sequential(Linear, activation, Linear).
    """
    from ..export import check_suffix, to_file

    target = checked_path(file, "FILE")
    check_suffix(target)
    check_apart({"MODEL": model}, {"FILE": file})
    network = load(model, backend="numpy")
    try:
        exported = to_file(network, target, overwrite=force)
    except CheckpointError as error:
        if not force and "is there already" in str(error):
            raise click.UsageError(f"{file} is there already; replace it with --force.") from error
        raise
    result = {
        "file": str(exported.path),
        "format": exported.format,
        "bytes": exported.bytes,
        **exported.contents,
    }
    write(json.dumps(result) if as_json else _summary(result))


def _summary(result: dict[str, Any]) -> str:
    lines = [("file", result["file"]), ("format", f"{result['format']}, {result['bytes']} bytes")]
    if "opset" in result:
        lines[1] = ("format", f"ONNX, opset {result['opset']}, {result['bytes']} bytes")
    for what in ("inputs", "outputs"):
        for name, tensor in result.get(what, {}).items():
            shape = ", ".join(map(str, tensor["shape"]))
            lines.append((what[:-1], f"{name}: {tensor['dtype']} ({shape})"))
    for name, shape in (result.get("arrays") or result.get("tensors") or {}).items():
        lines.append(("array", f"{name} ({', '.join(map(str, shape))})"))
    if "module" in result:
        lines.append(("module", result["module"]))
        if result["output"]:
            lines.append(("output", f"{result['output']} of what the module gives"))
        if result["not_in_it"]:
            lost = " and ".join(result["not_in_it"])
            lines.append(("without", f"{lost}: tensors are all that a state_dict holds"))
    return "\n".join(f"{what:<8}{text}" for what, text in lines)
