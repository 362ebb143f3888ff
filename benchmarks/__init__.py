"""Benchmarks: one a file. Each module has `run(*, quick, say, ...) -> Report` and is named in `jaxreco.registry`."""
