"""The examples here need Dask: where it is not installed, pytest passes over them."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("distributed") and find_spec("dask") else ["training.py"]
