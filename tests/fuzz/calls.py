"""A call, and whether what came out of it is what the package promises."""

import contextlib
import json
import os
import re
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings

import fastnn

#: The longest message of an error.
LONGEST = 300

#: Where the long run wants counts and faults of this process; then no fault ends a test.
RECORD = os.environ.get("FASTNN_FUZZ_RECORD")

#: How many times more examples the long run takes than a run of the suite.
FACTOR = int(os.environ.get("FASTNN_FUZZ_FACTOR", "1"))

#: The only warnings that are documented: what rounding does to a numerical derivative, what is
#: beyond the range of a network's dtype, and NumPy's own of numbers that are no numbers.
ROUNDING = re.compile(r"the derivative is noisy|h=\S+ is lost in x")
RANGE = re.compile(r"(overflow|invalid value|divide by zero) encountered in")
OF_NETWORKS = re.compile(
    f"{ROUNDING.pattern}|{RANGE.pattern}|the numerical gradient of .* is not finite"
)

started = time.perf_counter()
inputs = 0
faults: dict[str, str] = {}


class OwnError(Exception):
    """Raised by a function of the user's own: it has to come through as it is."""


def examples(count):
    """The settings of a test that draws so many examples in a run of the suite."""
    return settings(
        max_examples=count * FACTOR,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None if RECORD else settings.default.database,
    )


def shown(value):
    """A value in the text of a call, short whatever it is."""
    if isinstance(value, np.ndarray):
        flags = "" if value.flags.writeable else ", read-only"
        kind = type(value).__name__
        text = f"{kind}({value.tolist()!r:.120}, {value.dtype}, {value.strides}{flags})"
    else:
        text = repr(value)
    return " ".join(text[:200].split())


def call_text(name, arguments, keywords):
    parts = [shown(a) for a in arguments] + [f"{k}={shown(v)}" for k, v in keywords.items()]
    return f"{name}({', '.join(parts)})"


def state_of(value):
    """What must be the same after a call: the bytes of an array, the entries of a container."""
    if isinstance(value, np.ndarray):
        # All of the memory that it shows a part of.
        whole = value.base if isinstance(value.base, np.ndarray) else value
        return value.dtype, value.shape, value.strides, value.flags.writeable, whole.tobytes()
    if isinstance(value, list | tuple):
        return [state_of(entry) for entry in value]
    if isinstance(value, dict):
        return {key: state_of(entry) for key, entry in value.items()}
    if isinstance(value, fastnn.TwoLayerNet | fastnn.SimpleNet):
        return {name: state_of(value.backend.to_numpy(p)) for name, p in value.params.items()}
    return None


def fault(kind, text, detail):
    """A promise that was not kept."""
    line = f"{text} -> {detail}"
    if RECORD is None:
        raise AssertionError(line)
    if kind not in faults or len(line) < len(faults[kind]):
        faults[kind] = line


def check(name, function, *arguments, result=None, documented=None, network=None, **keywords):
    """Call a function, and check what is promised; what it returned, or the error, or None.

    `result` checks what it returns and says what is wrong with it; `documented` is a pattern of the
    warnings that it may give; the parameters of `network`, if an argument, may be changed by a call
    that succeeds or diverges.
    """
    global inputs
    inputs += 1
    text = call_text(name, arguments, keywords)
    handed_in = [*arguments, *keywords.values()]  # an `out` is the last
    if network is not None:
        text = f"{network_text(network)}.{text}"
    before = state_of(handed_in)
    parameters = state_of(network)
    outcome, where = None, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = function(*arguments, **keywords)
        except (fastnn.FastnnError, OwnError) as error:
            outcome = error
        except Exception as error:
            outcome, where = error, innermost(error)
    failed = isinstance(outcome, Exception)
    if where:
        kind = f"{name}: {type(outcome).__name__} at {where}"
        fault(kind, text, f"{type(outcome).__name__}: {outcome!s:.200} ({where})")
    elif failed and not isinstance(outcome, OwnError):
        check_message(name, text, str(outcome))
    for warning in caught:
        message = str(warning.message)
        if documented is None or not re.match(documented, message):
            place = f"{Path(warning.filename).name}:{warning.lineno}"
            kind = f"{name}: warning {message[:40]} at {place}"
            fault(kind, text, f"{warning.category.__name__}: {message:.200} ({place})")
    after = state_of(handed_in)
    if not failed and "out" in keywords:
        after[-1] = before[-1]
    if after != before:
        fault(f"{name}: an input changed", text, "an input changed")
    trained = name == "train" and (not failed or isinstance(outcome, fastnn.DivergenceError))
    if not trained and state_of(network) != parameters:
        fault(f"{name}: parameters changed", text, f"parameters changed; {outcome!r:.200}")
    if not failed and result is not None and (wrong := result(outcome)):
        fault(f"{name}: result {wrong[:20]}", text, f"{wrong}: {shown(outcome)}")
    return outcome


def check_message(name, text, message):
    """One line of at most 300 characters."""
    if len(message.splitlines()) != 1 or len(message) > LONGEST:
        lines = len(message.splitlines())
        detail = f"a message of {lines} lines and {len(message)} characters: {message!r:.150}"
        fault(f"{name}: message {re.sub(r'[^a-z ]', '', message[:60])}", text, detail)


def network_text(network):
    kind, sizes = type(network).__name__, [p.shape for p in network.params.values()]
    return f"{kind}{sizes}[{network.backend.name}, {network.dtype}, {network.loss_name}]"


def innermost(error):
    """The place in the package where an exception comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}fastnn{os.sep}" in f.filename]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere in fastnn"


def array_like(shape=None, dtype=None):
    """A check of a result: an array or NumPy scalar, of this shape and dtype if they are given."""

    def wrong(value):
        if not isinstance(value, np.ndarray | np.generic):
            return f"is a {type(value).__name__}"
        if shape is not None and value.shape != shape:
            return f"has shape {value.shape}, not {shape}"
        if dtype is not None and value.dtype != dtype:
            return f"is of {value.dtype}, not {dtype}"
        return None

    return wrong


def record():
    """Leave the counts and the faults of this process where the long run looks for them."""
    found = {"inputs": inputs, "seconds": time.perf_counter() - started, "faults": faults}
    with contextlib.suppress(OSError):
        Path(RECORD).write_text(json.dumps(found))
