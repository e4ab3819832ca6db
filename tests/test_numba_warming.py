"""The kernels that several processes compile, and the processes."""

import json
import sys

import numpy as np
import pytest

import fastnn
from fastnn.backends.numba import compilers, locks, support, warming
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.kernels import jit

#: The part of this process is smaller than usual, so that it ends sooner, and those of others are
#: as they are.
COMPILES = """
import json, logging, subprocess, sys, numpy as np, fastnn
from numba.core import event
from fastnn.backends.numba import warming

logging.basicConfig(level="DEBUG", format="%(message)s")
logging.getLogger("numba").setLevel("ERROR")
processes, names = int(sys.argv[1]), json.loads(sys.argv[2])
warming.ORDERS = names, *warming.ORDERS[1:]
started, Popen = [], subprocess.Popen

class Watched(Popen):
    def __init__(self, command, **options):
        if warming.__name__ in command:  # and not of others, which ask what machine this is
            started.append(self)
            if sys.argv[3:]:
                raise OSError(sys.argv[3])
        super().__init__(command, **options)

subprocess.Popen = Watched
with event.install_recorder("numba:compile") as compiled:
    warming.compile_all(fastnn.get_backend("numba"), np.dtype("float32"), processes)
events = [e.data["dispatcher"].py_func for _, e in compiled.buffer if e.is_start]
print(json.dumps({
    "compiled": [f.__qualname__ for f in events if f.__module__.startswith("fastnn")],
    "started": len(started),
    "ended": all(sys.argv[3:] or process.returncode is not None for process in started),
}))
"""


@pytest.fixture
def compiled(python, tmp_path, monkeypatch):
    """What a new process does, with a cache of its own, to have all kernels of these calls."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def run(processes, names, *error):
        done = python("-c", COMPILES, processes, json.dumps(names), *error)
        assert done.code == 0, done.err
        return json.loads(done.out), done.err

    return run


def test_the_first_process_makes_all_calls():
    calls = {name for name in vars(warming.Calls) if not name.startswith("_")}
    assert sorted(calls) == sorted(warming.ORDERS[0])
    assert all(calls.issuperset(order) for order in warming.ORDERS[1:])


def test_sorted_steps_are_sorted(dtype, monkeypatch):
    found, values_to_sort = [], support.values_to_sort
    monkeypatch.setattr(support, "values_to_sort", lambda *a: found.append(values_to_sort(*a)) or 0)
    warming.Calls(NumbaBackend(threads=1), np.dtype(dtype)).sorted_steps()
    assert found == [1]


@pytest.mark.skipif(not locks.HAS_LOCKS, reason="there is one process where there are no locks")
def test_two_processes_compile(compiled):
    found, err = compiled(2, ["backprop_steps", "operations"])
    assert (found["started"], found["ended"]) == (1, True)
    assert "descent_steps" in found["compiled"]
    assert "probabilities" not in found["compiled"]  # by the other one, which began with it
    assert err.count("compiling kernels") == 1
    # All is on disk, and nobody is started.
    found, err = compiled(2, ["backprop_steps", "operations"])
    assert (found, err) == ({"compiled": [], "started": 0, "ended": True}, "")


def test_one_process_compiles_where_no_other_can_be_started(compiled):
    calls = ["operations"]
    found, err = compiled(4, calls, "Resource temporarily unavailable")
    assert found["started"] == (3 if locks.HAS_LOCKS else 0)
    assert {"sparse_descent", "probabilities"} <= {*found["compiled"]}
    if locks.HAS_LOCKS:
        assert "cannot be started: Resource temporarily unavailable" in err
    found, _ = compiled(1, calls)
    assert found["compiled"] == []


@pytest.mark.parametrize(
    ("executable", "frozen", "can"),
    [
        ("/usr/bin/python3.11", False, True),
        ("C:/Python/python.exe", False, True),
        ("/opt/app/python", True, False),
        ("/usr/bin/uwsgi", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_no_process_is_started_where_the_program_is_not_python(
    executable, frozen, can, monkeypatch
):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    assert compilers._can_run_python() == can


def test_no_process_is_started_for_kernels_that_cannot_be_kept(monkeypatch):
    from fastnn.backends.numba.kernels import layers

    def start(*_):
        raise AssertionError

    monkeypatch.setattr(compilers._Compilers, "_start", start)
    listener = compilers._Compilers("nothing", [("1",)], None)

    class Event:
        def __init__(self, dispatcher):
            self.data = {"dispatcher": dispatcher}

    listener.on_start(Event(fastnn.backends.numba.kernels.jit.inner(lambda x: x)))
    monkeypatch.setattr(compilers.os, "access", lambda *_: False)
    listener.on_start(Event(layers.add_bias_and_activate))


#: A new process has some kernels compiled, or trains, and says what it compiled and started itself.
COMPILES_TOGETHER = """
import json, subprocess, sys, numpy as np, fastnn
from numba.core import event
from fastnn.backends.numba import compilers

processes, what, instead = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
started, Popen = [], subprocess.Popen

class Watched(Popen):
    def __init__(self, command, **options):
        if compilers.__name__ in command:
            started.append(self)
            command = [sys.executable, "-c", *instead] if instead else command
        super().__init__(command, **options)

subprocess.Popen = Watched
backend = fastnn.get_backend("numba", threads=processes)
kernels = backend.kernels

def train():
    net = fastnn.TwoLayerNet(5, 4, 3, backend=backend)
    options = {"iterations": 2, "batch_size": 2, "evaluate_every": 0, "progress": False}
    fastnn.train(net, np.eye(5), np.arange(5) % 3, **options)
    return net

def evaluate():
    net = train()
    compiled.buffer.clear()
    samples, labels = next(net.dataset(np.eye(5), np.arange(5) % 3).chunks(5))
    net.count_correct(samples, labels)

def some():
    a = np.ones((2, 3))
    few = [
        (kernels.magnitude.largest, (a[0],)),
        (kernels.layers.bias_descent, (a, 1.0, a[0])),
        (kernels.compression.count_nonzero, (a, 1)),
    ]
    compilers.compile_together(few, processes)
    assert all(function.overloads for function, _ in few)

with event.install_recorder("numba:compile") as compiled:
    {"train": train, "evaluate": evaluate, "some": some}[what]()
events = [e.data["dispatcher"].py_func for _, e in compiled.buffer if e.is_start]
print(json.dumps({
    "compiled": [f.__qualname__ for f in events if f.__module__.startswith("fastnn")],
    "started": len(started),
    "ended": all(process.returncode is not None for process in started),
}))
"""


@pytest.fixture
def together(python, tmp_path, monkeypatch):
    """What a new process does, with a cache of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def run(processes, what, *instead):
        done = python("-c", COMPILES_TOGETHER, processes, what, *instead)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


STAGES = {
    *("descent_steps", "hidden_layer", "hidden_delta", "move_rest_of_panel"),
    *("output_layer", "move_weights"),
}
SOME = {"largest", "bias_descent", "count_nonzero"}


def test_another_process_finds_each_kernel_by_its_module_and_name():
    """Also those that are made by a function of another module, of which several have one name."""
    kernels = vars(fastnn.get_backend("numba").kernels)
    found = [
        each
        for module in kernels.values()
        for each in vars(module).values()
        if isinstance(getattr(each, "_cache", None), jit.KernelCache)
    ]
    assert len({id(function) for function in found}) > 20
    for function in found:
        module, name = function.py_func.__module__, function.py_func.__qualname__
        assert jit.KEPT[module, name] is function
        assert any(each is function for each in vars(sys.modules[module]).values())


def test_the_stages_of_a_first_step_are_compiled_by_two_processes(together):
    """And what evaluates a network is, by the one that would have nothing to do."""
    found = together(2, "train")
    assert (found["started"], found["ended"]) == (int(locks.HAS_LOCKS), True)
    if locks.HAS_LOCKS:
        assert {*found["compiled"]} & STAGES < STAGES  # some by the other one
    for what in ("train", "evaluate"):
        assert together(2, what) == {"compiled": [], "started": 0, "ended": True}


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_as_many_processes_as_there_are_kernels_at_most(together, processes):
    found = together(processes, "some")
    helpers = min(processes, len(SOME)) - 1 if locks.HAS_LOCKS else 0
    assert (found["started"], found["ended"]) == (helpers, True)
    if helpers == 0:
        assert {*found["compiled"]} == SOME


def test_where_the_other_process_fails_this_one_compiles_all(together):
    found = together(2, "some", "raise SystemExit('no')")
    assert found["ended"]
    assert {*found["compiled"]} == SOME


def test_others_that_help_already_are_enough(monkeypatch):
    monkeypatch.setattr(compilers, "HAS_LOCKS", True)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    seen = []

    class Listener(compilers._Compilers):
        def __init__(self, module, helpers, given):
            seen.append(list(helpers))
            super().__init__(module, (), given)

    monkeypatch.setattr(compilers, "_Compilers", Listener)
    with compilers.helping("module", [("1",), ("2",)]), compilers.helping("other", [("3",)]):
        pass
    with compilers.helping("module", [("4",)]):
        pass
    assert seen == [[("1",), ("2",)], [], [("4",)]]
