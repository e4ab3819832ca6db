"""A module that cannot be imported."""

raise ImportError("libmirror.so.3 is missing")
