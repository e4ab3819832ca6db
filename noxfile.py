"""Everything that is run over the project: ``nox -l`` lists it. Each session sets up its own environment."""

import nox

PROJECT = nox.project.load_toml("pyproject.toml")

nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint"]
nox.options.reuse_existing_virtualenvs = True


def dependency_group(name: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite; arguments after -- go to pytest."""
    session.install("-e", ".", *dependency_group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU; with CUDA 13: nox -s gpu -- cuda13."""
    cuda = session.posargs[0] if session.posargs else "cuda12"
    session.install("-e", f".[{cuda}]", *dependency_group("test"))
    session.run("python", "-m", "pytest", "-m", "gpu", *session.posargs[1:])


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(".", *dependency_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
