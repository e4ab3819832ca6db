"""The tests that ship with the package, over the backends of tests/conftest.py."""

import importlib
import pkgutil

import pytest

from fastnn.backends import conformance

names = [module.name for module in pkgutil.iter_modules(conformance.__path__)]
modules = [f"{conformance.__name__}.{name}" for name in names if name.startswith("test_")]
pytest.register_assert_rewrite(f"{conformance.__name__}.drawn", *modules)

for module in modules:
    tests = vars(importlib.import_module(module)).items()
    tests = {name: test for name, test in tests if name.startswith("test_")}
    assert not tests.keys() & globals().keys(), "two tests of one name"
    globals().update(tests)
