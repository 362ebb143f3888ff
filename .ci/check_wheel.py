"""What an installed jaxreco must have. Run outside the checkout, with the Python it is installed into."""

from __future__ import annotations

import importlib
import importlib.metadata
import pathlib

import jaxreco
from jaxreco import registry

assert "site-packages" in str(jaxreco.__file__), f"{jaxreco.__file__} is no installed copy"
for part in ("envs", "agents", "benchmarks", "users", "nn", "learning", "data"):
    importlib.import_module(f"jaxreco.{part}")
assert pathlib.Path(jaxreco.__file__).with_name("py.typed").exists(), "py.typed is missing"
installed = importlib.metadata.files("jaxreco") or []
assert any(file.name == "LICENSE" for file in installed), "LICENSE is missing"
assert importlib.metadata.version("jaxreco") == jaxreco.__version__
for kind in ("env", "agent", "benchmark"):
    for name, line in registry.about(kind).items():
        assert line, f"{kind} {name} is registered, but its module is missing or says nothing"
print(f"jaxreco {jaxreco.__version__} at {jaxreco.__file__}")
