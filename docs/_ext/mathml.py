"""Formulas as MathML, which browsers show by themselves: no script, no fonts, no network."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def _converted(node: nodes.Element, display: str) -> str:
    try:
        return convert(node.astext(), display=display)
    except Exception as error:
        raise ExtensionError(f"{node.astext()!r} is no formula: {error!r}") from error


def _visit_inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def _visit_block(writer: Any, node: nodes.Element) -> None:
    formula = _converted(node, "block")
    writer.body.append(f'<div class="formula" tabindex="0">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx, which knows the two kinds of nodes, and no way to show them."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
