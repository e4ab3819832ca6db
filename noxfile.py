"""Everything that is run over the project: ``nox -l`` lists it.

Each session sets up its own environment.
"""

import shutil

import nox

PROJECT = nox.project.load_toml("pyproject.toml")

#: The extras that install CuPy, each for one CUDA.
CUDA = [name for name in PROJECT["project"]["optional-dependencies"] if name.startswith("cuda")]

nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "docs"]
nox.options.reuse_existing_virtualenvs = True


def dependency_group(name: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, name)


#: A process for each processor, of up to four (each takes 3 GB); the tests of a file stay together,
#: as they share what they set up.
SIDE_BY_SIDE = "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite; arguments after -- go to pytest."""
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session(name="tests-lowest", python="3.11")
def tests_lowest(session: nox.Session) -> None:
    """Run the test suite with the oldest Python and dependencies that pyproject.toml promises."""
    lowest = [bound.replace(">=", "==") for bound in PROJECT["project"]["dependencies"]]
    session.install("-e", ".", *lowest, *dependency_group("test"))
    session.run("python", "-m", "pytest", *SIDE_BY_SIDE, *session.posargs)


def _tests_of_python(version: str) -> None:
    """Add a session; where there is no such Python, nox skips it and says so."""

    @nox.session(name=f"tests-{version}", python=version)
    def run(session: nox.Session) -> None:
        session.install("-e", ".", *dependency_group("test"))
        session.run("python", "-m", "pytest", *SIDE_BY_SIDE, *session.posargs)

    run.__doc__ = f"Run the test suite with Python {version}."


for later in ("3.12", "3.13"):
    _tests_of_python(later)


@nox.session
def notebooks(session: nox.Session) -> None:
    """Run the book's notebooks in Jupyter's kernel."""
    session.install("-e", ".", *dependency_group("test"), *dependency_group("notebook"))
    session.run("python", "-m", "pytest", "tests/test_book_notebooks.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try what nobody would, for 20 minutes or as many as are given: nox -s fuzz -- 60."""
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def races(session: nox.Session) -> None:
    """Look for races in the CUDA kernels over many shapes, and for each barrier that is missing."""
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "tests.cuda_on_cpu.races")


@nox.session
def nvrtc12(session: nox.Session) -> None:
    """Compile the CUDA kernels with the compiler of CUDA 12; `tests` does it with that of 13."""
    session.install("-e", ".", *dependency_group("test-beside-cupy"), "nvidia-cuda-nvrtc-cu12")
    variables = {"FASTNN_NVRTC": "nvidia-cuda-nvrtc-cu12"}
    session.run("python", "-m", "pytest", "tests/test_cupy_kernels.py", env=variables)


@nox.session
def ptxas(session: nox.Session) -> None:
    """Print registers, spills and shared memory of every CUDA kernel; nox -s ptxas -- 75 90."""
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "tests.nvrtc", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU; with CUDA 13: nox -s gpu -- cuda13.

    Other arguments go to pytest.
    """
    extras = _cuda(session) or ["cuda12"]
    session.install("-e", f".[{','.join(extras)}]", *dependency_group("test-beside-cupy"))
    session.run("python", "-m", "pytest", "-m", "gpu", *_others(session))


@nox.session
def torch(session: nox.Session) -> None:
    """Run the tests over PyTorch, and time the generic path on it and on array-api-strict."""
    session.install("-e", ".[plot,torch]", *dependency_group("test-beside-cupy"))
    session.run("python", "-m", "pytest", "-m", "torch", *session.posargs)
    session.run("python", "-m", "pytest", "-q", "benchmarks/test_generic.py", env=OWN_BLAS)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(".", *dependency_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Make the site in docs/_build/html, without a network, and check it; a warning is an error."""
    session.install("-e", ".", *dependency_group("docs"))
    shutil.rmtree("docs/_build", ignore_errors=True)  # pages that are no longer made
    session.run("python", "-m", "sphinx", "-E", "-q", "-W", "--keep-going", *PLACES)
    session.run("python", "docs/check_site.py", SITE)


SITE = "docs/_build/html"
PLACES = "-d", "docs/_build/doctrees", "docs", SITE


@nox.session
def bench(session: nox.Session) -> None:
    """Time every operation and path on every backend that runs here; see _benchmarks."""
    _benchmarks(session, "fastnn", "benchmarks", "--ignore=benchmarks/peers")


@nox.session(name="bench-peers")
def bench_peers(session: nox.Session) -> None:
    """Time fastnn beside other libraries, installed into an environment of this session."""
    session.install(*dependency_group("peers"), *(f"jax[{cuda}]" for cuda in _cuda(session)))
    _benchmarks(session, "peers", "benchmarks/peers")


@nox.session(name="bench-check")
def bench_check(session: nox.Session) -> None:
    """Compare the ratios to plain NumPy with the committed ones.

    Fail where one has become more than twice as large.
    """
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "benchmarks.check", env=OWN_BLAS)


#: OpenBLAS shall choose its kernels by the processor: an override would make NumPy slower or faster
#: than users see it.
OWN_BLAS = {"OPENBLAS_CORETYPE": None}


def _cuda(session: nox.Session) -> list[str]:
    """The extras among the arguments that are for a GPU."""
    return [argument for argument in session.posargs if argument in CUDA]


def _others(session: nox.Session) -> list[str]:
    """The arguments that are for pytest."""
    return [argument for argument in session.posargs if argument not in CUDA]


def _benchmarks(session: nox.Session, name: str, *arguments: str) -> None:
    """Run benchmarks; of the arguments, cuda12 and cuda13 install CuPy, the others go to pytest.

    --record writes what was measured to benchmarks/results, draws the pictures and writes the
    tables there anew, and the three rows of the README.
    """
    extras = ["plot", *_cuda(session)]
    session.install("-e", f".[{','.join(extras)}]", *dependency_group("test-beside-cupy"))
    options = [f"--record={name}" if a == "--record" else a for a in _others(session)]
    session.run("python", "-m", "pytest", *arguments, *options, env=OWN_BLAS)
    if "--record" in session.posargs:
        session.run("python", "-m", "benchmarks.report")
