"""What the command lines write, and how they end: in any encoding, also with nothing to write to.

An error is one line on standard error and exit code 2; after Ctrl-C, 130, and after SIGTERM, where
that ends the work in good order, 143.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

import click

from .errors import FastnnError

#: The most characters of an error message that are shown.
LONGEST = 300

#: What stands for the symbols that an encoding lacks; anything else is shown by its number.
_PLAIN = {"µ": "u", "×": "x", "−": "-", "·": "*", "→": "->", "…": "..."}

#: What is wrong with an output: it is closed, full, too large, or broken.
_UNWRITABLE = {errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EFBIG, errno.EIO}


class SignalError(Exception):
    """A signal ended the work in good order; the message says what was reached.

    Attributes
    ----------
    code : int
        The exit code of the program: 128 and the number of the signal, as shells have it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.code = 128 + signal


class OutputError(Exception):
    """Standard output or standard error cannot be written; the cause is chained."""


def write(text: str, *, error: bool = False) -> None:
    """Write a text and a line feed to standard output, or standard error, if there is one."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # of a program without a console
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write("".join(_writable(c, stream.encoding) for c in text))
        stream.write("\n")  # by itself: Python without buffers says nothing of what was cut off
        stream.flush()
    except OSError as reason:
        _silence(stream)
        raise OutputError(f"the output cannot be written: {reason.strerror or reason}") from reason


def _writable(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()
    return character


def _silence(stream: TextIO) -> None:
    """Send to nowhere what is left to write: Python would try again when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> Any:
    """What a command returns for these arguments, or those of the process; else it is the end."""
    completion = f"_{name.upper()}_COMPLETE"
    try:
        if instruction := os.environ.get(completion):
            from click.shell_completion import shell_complete

            sys.exit(shell_complete(command, {}, name, completion, instruction))
        # Not command.main: it takes an EOFError for Ctrl-C, and ends with 1 where a pipe is closed.
        given = list(sys.argv[1:] if arguments is None else arguments)
        with _warnings_in_one_line(name), command.make_context(name, given) as context:
            try:
                result = command.invoke(context)
            except FastnnError as error:
                fail(name, in_options(str(error), _invoked(command, context)))
        if sys.stdout is not None:
            sys.stdout.flush()
        return result
    except click.exceptions.Exit as done:  # the help was shown
        sys.exit(done.exit_code)
    except click.ClickException as error:
        fail(name, error.format_message())
    except KeyboardInterrupt:
        fail(name, "interrupted", 130)
    except SignalError as ended:
        fail(name, str(ended), ended.code)
    except MemoryError as error:
        fail(name, f"not enough memory: {error}" if str(error) else "not enough memory")
    except (FastnnError, OutputError) as error:
        fail(name, str(error))
    except ImportError as error:  # of a library that is loaded when it is needed
        fail(name, f"{error.name or 'a library'} cannot be loaded: {error}")
    except OSError as error:
        fail(name, _explained(error))


def fail(name: str, message: str, code: int = 2) -> NoReturn:
    """Say why the program ends, and end it."""
    with suppress(OutputError):  # then nobody can be told
        write(f"{name}: error: {one_line(message)}", error=True)
    sys.exit(code)


def one_line(text: str) -> str:
    """A text as one line that any terminal can show: without control characters, not too long."""
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    half = (LONGEST - 5) // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def _invoked(command: click.Command, context: click.Context) -> click.Command:
    """The command itself, or that of a group that was asked for."""
    return getattr(command, "commands", {}).get(context.invoked_subcommand, command)


def in_options(message: str, command: click.Command) -> str:
    """What a message says of arguments in Python, said of the options of a command.

    Examples
    --------
    >>> command = click.Command("f", params=[click.Option(["--learning-rate"])])
    >>> in_options("learning_rate=2 is large; try a learning_rate below 1", command)
    '--learning-rate 2 is large; try a --learning-rate below 1'
    """
    options = {
        flag[2:].replace("-", "_"): (
            flag,
            getattr(parameter, "is_flag", False),
            next(iter(parameter.secondary_opts), f"no {flag}"),
        )
        for parameter in command.params
        for flag in parameter.opts
        if flag.startswith("--")
    }

    def option(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        flag, is_flag, off = options[name]
        if value is None:
            return flag if "_" in name else name  # "target" may be the word
        if value == "None":
            return f"no {flag}"
        if is_flag:
            return {"True": flag, "False": off}.get(value, f"{flag} {value}")
        return f"{flag} {shlex.quote(found['text'] or value)}"

    names = "|".join(sorted(options, key=len, reverse=True))
    if not names:
        return message
    value = r"(?P<value>(?P<quote>['\"])(?P<text>.*?)(?P=quote)|[^\s,;)]+)"
    # Neither a part of a path or of another word, nor what a quoted object was made with.
    alone = rf"(?<![\w/.('\"-])(?P<name>{names})(?:={value}|(?![\w/.'\"=-]))"
    return re.sub(alone, option, message)


def _explained(error: OSError) -> str:
    """Of Click's own output, such as the help, or of a file."""
    reason = error.strerror or str(error)
    if error.filename:
        return f"{error.filename}: {reason}"
    if error.errno not in _UNWRITABLE or sys.stdout is None:
        return reason
    _silence(sys.stdout)
    return f"the output cannot be written: {reason}"


@contextmanager
def _warnings_in_one_line(name: str) -> Iterator[None]:
    """Without the line of the source, which says nothing to who uses a program."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        with suppress(OutputError):
            write(f"{name}: warning: {one_line(str(message))}", error=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
