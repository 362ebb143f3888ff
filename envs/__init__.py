"""Worlds: one a file. Each module has `make(**static) -> (env, params)` and is named in `jaxreco.registry`."""
