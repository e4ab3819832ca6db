"""Help pages: options in groups, and an example at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

#: The group of what is in none.
OTHERS = "Options"


class Option(click.Option):
    """An option that stands in a group of its help page."""

    def __init__(self, *arguments: Any, group: str = OTHERS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group


class Command(click.Command):
    """A command whose options are shown in their groups, in the order of these.

    Parameters
    ----------
    examples : sequence of str
        Command lines that work, each with what it does: "fastnn ...  # what".
    """

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            is_option = isinstance(parameter, click.Option)  # newer Clicks list arguments, too
            if is_option and (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", OTHERS), []).append(record)
        for name in sorted(groups, key=lambda name: name == OTHERS):  # the others at the end
            with formatter.section(name):
                formatter.write_dl(groups[name])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], Command]:
    """The decorator of a command of this name, with these examples."""
    return click.command(name, cls=Command, examples=examples)


def option(*names: str, group: str = OTHERS, **options: Any) -> Callable[[Any], Any]:
    """The decorator of an option in a group."""
    return click.option(*names, cls=Option, group=group, **options)


def together(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several decorators as one, in the order in which they would be written."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
