"""What goes wrong by the hand of the user: one sentence that names the thing and the remedy."""

from __future__ import annotations


class JaxrecoError(ValueError):
    """An input that cannot be; the command line shows the sentence and no traceback."""


class DataError(JaxrecoError):
    """A folder or file of data that is missing, empty, of the wrong kind or broken."""
