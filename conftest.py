"""Pytest's settings for the whole tree: how notebooks are compared, what is no test."""

pytest_plugins = ["tools.nbval_tolerance"]
collect_ignore_glob = ["book/artifacts/*", "_build/*"]
