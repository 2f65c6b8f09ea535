"""Pytest's settings for the whole tree: how notebooks are compared, what is no test."""

pytest_plugins = ["tools.nbval_tolerance"]
collect_ignore_glob = ["book/artifacts/*", "_build/*"]

collect_ignore = ["tools/mutate_core_run.py"]  # mutmut, which it needs, is no requirement
