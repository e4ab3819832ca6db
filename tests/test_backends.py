"""The registry: names, errors, the choice of "auto", and plug-ins from other packages."""

import ast
import json
import logging
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import fastnn
from fastnn.backends import availability
from fastnn.backends.base import Backend

TESTS = Path(__file__).parent

#: What a fake `cupy` package holds, by what is the matter with it.
FAKE_CUPY = {
    "broken": "raise ImportError('libcublas.so.12: cannot open shared object file')",
    "half installed": "import cupy._core",
    "no driver": """
        class ndarray: pass
        class cuda:
            class runtime:
                class CUDARuntimeError(RuntimeError): pass
                @staticmethod
                def getDeviceCount():
                    raise cuda.runtime.CUDARuntimeError("cudaErrorInsufficientDriver")
    """,
    "no device": """
        class ndarray: pass
        class cuda:
            class runtime:
                class CUDARuntimeError(RuntimeError): pass
                @staticmethod
                def getDeviceCount():
                    return 0
    """,
    "one device": """
        class ndarray: pass
        class cuda:
            class runtime:
                class CUDARuntimeError(RuntimeError): pass
                @staticmethod
                def getDeviceCount():
                    return 1
                @staticmethod
                def getDeviceProperties(number):
                    return {"name": b"Fake GPU", "totalGlobalMem": 1 << 30, "major": 9, "minor": 0}
    """,
}


@pytest.fixture
def fake_cupy(tmp_path):
    def write(kind):
        package = tmp_path / "fake" / "cupy"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(dedent(FAKE_CUPY[kind]))
        return package.parent

    return write


def script(body):
    return "import json, sys\nimport fastnn\n" + dedent(body)


# -- names -----------------------------------------------------------------------------------------


def test_the_three_backends_are_registered():
    assert list(fastnn.available_backends())[:3] == ["numpy", "numba", "cupy"]


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_what_can_run_everywhere_names_its_device(name):
    found = fastnn.available_backends()[name]
    assert found.available
    assert found.device
    assert not found.reason
    assert not found.remedy


def test_every_backend_can_run_or_says_why_not_and_what_to_do():
    for found in fastnn.available_backends().values():
        assert found.available == bool(found.device)
        assert found.available == (not found.reason)
        assert found.available == (not found.remedy)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_name_gives_the_same_instance_each_time(name):
    backend = fastnn.get_backend(name)
    assert backend.name == name
    assert fastnn.get_backend(name) is backend
    assert fastnn.get_backend(backend) is backend
    assert repr(backend) == f"<fastnn backend {name!r} on {backend.device}>"


def test_an_instance_is_returned_as_it_is(backend):
    assert fastnn.get_backend(backend) is backend


def test_a_subclass_that_sets_name_and_xp_is_a_working_backend():
    class Minimal(Backend):
        name = "minimal"
        xp = np

    backend = Minimal()
    assert "minimal" in repr(backend)
    assert backend.device
    assert fastnn.TwoLayerNet(2, 3, 4, backend=backend).predict([0.0, 1.0]).shape == (4,)


# -- refused by name -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_and_buffers_begin_at_a_cache_line(name, dtype):
    net = fastnn.TwoLayerNet(3, 5, 2, backend=name, dtype=dtype)
    for network in (net, net.to("numpy")):
        for a in (
            *network.params.values(),
            *network.buffers(7).values(),
            network.backend.empty((), dtype),
        ):
            assert a.ctypes.data % 64 == 0
            assert a.flags.c_contiguous
            assert a.flags.writeable
            assert a.dtype == dtype
    assert net.backend.empty(0, dtype).shape == (0,)


@pytest.mark.parametrize("name", ["jax", "NumPy", "", "numpy ", "auto:0"])
def test_an_unknown_name_lists_the_names(name):
    with pytest.raises(fastnn.UnknownBackendError, match="auto, numpy, numba, cupy") as caught:
        fastnn.get_backend(name)
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("backend", [None, 1, np, Backend, b"numpy", ["numpy"]], ids=repr)
def test_what_is_no_name_is_refused(backend):
    with pytest.raises(fastnn.DtypeError, match="neither a name nor an instance"):
        fastnn.get_backend(backend)


@pytest.mark.parametrize("name", ["numpy:0", "numba:1"])
def test_the_host_has_no_numbered_devices(name):
    with pytest.raises(fastnn.DeviceError, match="no numbered devices"):
        fastnn.get_backend(name)


@pytest.mark.parametrize("device", ["", "x", "-1", "1.5", "²"])
def test_a_device_is_a_number(device):
    with pytest.raises(fastnn.InputError, match="not a number"):
        fastnn.get_backend(f"numpy:{device}")


REFUSED = """
    try:
        fastnn.get_backend(sys.argv[1])
    except fastnn.BackendError as error:
        found = fastnn.available_backends()[sys.argv[1]]
        print(json.dumps({
            "kind": type(error).__name__, "message": str(error), "cause": repr(error.__cause__),
            "available": found.available, "reason": found.reason, "remedy": found.remedy,
            "auto": fastnn.get_backend("auto").name,
            "softmax": fastnn.functions.softmax([0.0]).tolist(),
        }))
"""


@pytest.mark.parametrize(
    ("kind", "error", "message", "cause"),
    [
        ("broken", "BackendImportError", "libcublas.so.12", "ImportError("),
        ("half installed", "BackendImportError", "_core", "Error("),
        ("no driver", "DeviceError", "cudaErrorInsufficientDriver", None),
        ("no device", "DeviceError", "no CUDA device", "None"),
    ],
)
def test_a_cupy_that_cannot_run_is_refused(python, fake_cupy, kind, error, message, cause):
    done = python("-c", script(REFUSED), "cupy", path=[fake_cupy(kind)])
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    assert seen["kind"] == error
    assert message in seen["message"]
    assert cause is None or cause in seen["cause"]
    assert not seen["available"]
    assert seen["reason"] in seen["message"]
    assert seen["remedy"] in seen["message"]
    assert seen["auto"] == "numba"


def test_a_missing_cupy_names_the_extra(python):
    done = python("-c", "import sys; sys.modules['cupy'] = None\n" + script(REFUSED), "cupy")
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    assert seen["kind"] == "BackendNotInstalledError"
    assert "fastnn[cuda12]" in seen["message"]
    assert "fastnn[cuda13]" in seen["message"]
    assert not seen["available"]
    assert seen["auto"] == "numba"


def test_a_missing_numba_is_refused_and_passed_over(python):
    done = python(
        "-c",
        "import sys; sys.modules['numba'] = sys.modules['cupy'] = None\n" + script(REFUSED),
        "numba",
    )
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    assert seen["kind"] == "BackendNotInstalledError"
    assert "pip install" in seen["message"]
    assert seen["auto"] == "numpy"


def test_a_folder_called_cupy_is_not_cupy(python, tmp_path):
    (tmp_path / "cupy").mkdir()  # an empty folder imports, as a namespace package
    done = python("-c", script(REFUSED), "cupy", path=[tmp_path])
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    assert seen["kind"] in {"BackendNotInstalledError", "BackendImportError"}
    assert seen["auto"] == "numba"
    assert seen["softmax"] == [1.0]


def test_an_error_is_the_same_the_second_time(python, fake_cupy):
    body = """
        import traceback
        texts = []
        for _ in range(3):
            try:
                fastnn.get_backend("cupy")
            except fastnn.BackendImportError:
                texts.append(traceback.format_exc())
        assert len(set(texts)) == 1, texts
    """
    done = python("-c", script(body), path=[fake_cupy("broken")])
    assert done.code == 0, done.err


# -- auto ------------------------------------------------------------------------------------------


def test_auto_chooses_what_can_run_and_logs_it(caplog):
    with caplog.at_level(logging.INFO, logger="fastnn"):
        backend = fastnn.get_backend("auto")
    assert backend is fastnn.get_backend(backend.name)
    assert f"'auto' is {backend.name!r}" in caplog.text
    assert backend.device in caplog.text
    if not availability("cupy").available:
        assert backend.name == "numba"
        assert f"passes over 'cupy': {availability('cupy').reason}" in caplog.text


def test_auto_prefers_a_gpu(python, fake_cupy):
    body = """
        found = fastnn.available_backends()["cupy"]
        assert found.available and "Fake GPU" in found.device, found
        assert fastnn.get_backend("auto").name == "cupy"
    """
    done = python("-c", script(body), path=[fake_cupy("one device")])
    assert done.code == 0, done.err


def test_auto_takes_a_gpu_for_work_that_is_worth_it(python, fake_cupy):
    body = """
        import logging, sys
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
        least = fastnn.backends._backend_class("cupy").least_work
        assert fastnn.get_backend("auto", multiplications=least).name == "cupy"
        assert fastnn.get_backend("auto", multiplications=least - 1).name == "numba"
        assert fastnn.get_backend("cupy", multiplications=1).name == "cupy"
        assert fastnn.SimpleNet(backend="auto", rng=0).backend.name == "numba"
        assert fastnn.SimpleNet(rng=0).to("auto").backend.name == "numba"
    """
    done = python("-c", script(body), path=[fake_cupy("one device")])
    assert done.code == 0, done.err
    assert (
        "passes over 'cupy': it pays from 5,000 multiplications a step on, and here are 4,999"
        in done.err
    )


def test_auto_is_the_default_of_get_backend():
    assert fastnn.get_backend() is fastnn.get_backend("auto")


# -- imports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    ["", "fastnn.TwoLayerNet(2, 3, 4, rng=0).gradient([1.0, 2.0], 3)"],
    ids=["import", "numpy net"],
)
def test_import_loads_nothing_heavy(python, fake_cupy, extra):
    heavy = [
        "numba",
        "llvmlite",
        "cupy",
        "scipy",
        "tqdm",
        "click",
        "typer",
        "matplotlib",
        "sklearn",
        "pandas",
    ]
    body = f"{extra}\nprint(json.dumps([name for name in {heavy} if name in sys.modules]))"
    done = python("-c", script(body), path=[fake_cupy("one device")])
    assert done.code == 0, done.err
    assert json.loads(done.out) == []


def test_the_modules_that_the_readme_names_are_there(python):
    done = python(
        "-c",
        "import fastnn; print(fastnn.plotting.plot_gradient_field.__name__); "
        "print('matplotlib' in dir())",
    )
    assert done.out == "plot_gradient_field\nFalse\n", done.err


def test_the_public_names_are_there():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    constants_first = sorted(fastnn.__all__, key=lambda name: (not name.isupper(), name))
    assert constants_first == fastnn.__all__


# -- plug-ins --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The folder in which a package is installed, and one of backends that cannot be used."""
    target = tmp_path_factory.mktemp("plugin")
    for package in ("mirror", "faults"):
        install(TESTS / package, target)
    return target


def install(project, target):
    options = [
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(target),
        str(project),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def test_a_plug_in_trains_and_is_pickled(python, plugin):
    body = """
        import pickle
        import numpy as np
        assert "mirror" in fastnn.available_backends()
        x, t = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
        options = {"activation": "relu", "rng": 1}
        names = "mirror", "numpy"
        nets = [fastnn.TwoLayerNet(2, 8, 2, 1.0, backend=name, **options) for name in names]
        losses = [fastnn.train(net, x, t, iterations=50, batch_size=4, rng=1).loss for net in nets]
        assert nets[0].backend.name == "mirror" and nets[0].backend is fastnn.get_backend("mirror")
        assert np.allclose(losses[0], losses[1], rtol=1e-12, atol=0)
        again = pickle.loads(pickle.dumps(nets[0]))
        assert again.backend is nets[0].backend and again.accuracy(x, t) == nets[1].accuracy(x, t)
        print(fastnn.available_backends()["mirror"].device)
    """
    done = python("-c", script(body), path=[plugin])
    assert done.code == 0, done.err
    assert done.out == "a mirror\n"


def test_a_plug_in_is_one_short_file():
    assert len((TESTS / "mirror" / "fastnn_mirror" / "backend.py").read_text().splitlines()) <= 40


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder in which fastnn itself is installed from a wheel."""
    return install(TESTS.parent, tmp_path_factory.mktemp("wheel"))


def conformance(python, *arguments, path):
    quiet = ["-q", "-p", "no:cacheprovider", "--examples", "3"]
    return python(
        "-m", "pytest", *quiet, "--pyargs", "fastnn.backends.conformance", *arguments, path=path
    )


def test_a_plug_in_passes_the_tests_of_the_contract(python, plugin, wheel):
    done = conformance(
        python, "--backend", "mirror", "-k", "not float32 and not numerical-", path=[wheel, plugin]
    )
    assert done.code == 0, done.out + done.err
    assert " passed" in done.out
    assert "failed" not in done.out


def test_the_tests_of_the_contract_find_what_is_wrong(python, wheel, tmp_path):
    (tmp_path / "wrong.py").write_text(
        dedent(
            """
            import numpy as np
            from fastnn.backends.base import Backend

            class Wrong(Backend):
                name = "wrong"
                xp = np

                def dense_gradient(self, x, delta):
                    return self.xp.matmul(x.T, delta), self.xp.mean(delta, axis=0)

                def dense_backwards(self, delta, W, z, activation, *, out=None):
                    return delta
            """
        )
    )
    info = tmp_path / "wrong-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fastnn.backends]\nwrong = wrong:Wrong\n")
    done = conformance(
        python, "--backend", "wrong", "-k", "dense or misspelt", path=[wheel, tmp_path]
    )
    assert done.code == 1, done.out + done.err
    assert "FAILED" in done.out
    assert "test_dense_gradient[" in done.out
    assert "test_no_method_is_misspelt[" in done.out
    assert "test_dense[" not in done.out


def test_a_backend_that_cannot_be_tested_says_why(python, wheel):
    done = conformance(python, "--backend", "abacus", path=[wheel])
    assert done.code != 0
    assert "there is no backend 'abacus'; choose one of" in done.out + done.err


def test_the_options_of_the_contract_are_in_nobodys_way(python, wheel, tmp_path):
    (tmp_path / "conftest.py").write_text(
        'def pytest_addoption(parser):\n    parser.addoption("--backend")\n'
        '    parser.addoption("--examples")\n'
    )
    (tmp_path / "test_own.py").write_text(
        "import sys\n\n\ndef test(pytestconfig):\n"
        '    assert pytestconfig.getoption("--backend") == "agg"\n'
    )
    done = python("-m", "pytest", "-q", "--backend", "agg", path=[wheel])
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("broken", ["libmirror.so.3 is missing"]),
        ("misspelt", ["MirorBackend"]),
        ("odd", ["not a subclass"]),
        ("nervous", ["the driver hung up"]),
        ("nameless", ["it has no name; set the class attribute name = 'nameless'"]),
        ("renamed", ["it has the name 'bare'; set the class attribute name = 'renamed'"]),
        ("bare", ["it has no xp; set the namespace of its arrays, such as xp = numpy"]),
        (
            "own_way",
            [
                "dense takes (self, x, weights, bias, activation='identity', out=None); "
                "let it take (self, x, W, b, activation='identity', *, out=None); and 2 more",
            ],
        ),
    ],
)
def test_a_plug_in_that_cannot_be_used_shows_up_with_its_reason(python, plugin, name, messages):
    done = python("-c", script(REFUSED), name, path=[plugin])
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    for message in messages:
        assert message in seen["message"]
        assert message in seen["reason"]
    assert "\n" not in seen["message"]
    assert seen["remedy"]
    assert not seen["available"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("forgetful", "it has no xp; set the namespace of its arrays"),
        ("empty_handed", "create() gives a NoneType; return an instance"),
    ],
)
def test_what_only_an_instance_shows_is_refused_when_it_is_asked_for(python, plugin, name, message):
    done = python("-c", script(REFUSED), name, path=[plugin])
    assert done.code == 0, done.err
    seen = json.loads(done.out)
    assert seen["kind"] == "BackendImportError"
    assert message in seen["message"]


def test_a_plug_in_cannot_replace_a_backend_of_fastnn(python, plugin):
    body = """
        import logging
        logging.basicConfig()
        print(type(fastnn.get_backend("numpy")).__module__)
    """
    done = python("-c", script(body), path=[plugin])
    assert done.code == 0, done.err
    assert done.out == "fastnn.backends.numpy\n"
    assert "'numpy'" in done.err
    assert "fastnn_mirror" in done.err


def test_an_unknown_name_lists_plug_ins(python, plugin):
    body = """
        try:
            fastnn.get_backend("nope")
        except fastnn.UnknownBackendError as error:
            print(error)
    """
    done = python("-c", script(body), path=[plugin])
    assert done.code == 0, done.err
    assert "mirror" in done.out


# -- what the house is built on --------------------------------------------------------------------


PACKAGE = Path(fastnn.__file__).parent

#: The modules, but for the tests that ship with the package.
MODULES = [path for path in PACKAGE.rglob("*.py") if "conformance" not in path.parts]


def test_no_library_is_known_by_name_outside_its_own_backend():
    for path in MODULES:
        tree, name = ast.parse(path.read_text("utf-8")), path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree):  # without documentation strings
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                node.value.value = ""
        if not name.startswith("backends/cupy/") and name != "backends/__init__.py":
            assert "cupy" not in ast.unparse(tree).lower(), name
        if name not in ("backends/array_api.py", "export/torch_modules.py"):
            assert "import torch" not in ast.unparse(tree), name


def test_imports_run_downward_only():
    """A room imports those below it when imported; what it needs of others, where it uses it."""
    floors = """
        errors validation streams interrupts progress notebooks functions optimizers backends doors
        numerical_network base_network networks stepping data history schedules sampling
        evaluations callbacks early_stopping training_state pace loop preparation training files
        checkpoints checkpointing saved_training resumption
    """.split()  # noqa: SIM905
    for path in MODULES:
        parts = path.relative_to(PACKAGE).parts
        room = parts[0].removesuffix(".py")
        for node in ast.parse(path.read_text("utf-8")).body if room in floors else ():
            if isinstance(node, ast.ImportFrom) and node.level == len(parts) and node.module:
                below = node.module.split(".")[0]
                assert floors.index(below) <= floors.index(room), f"{path} imports {below}"
