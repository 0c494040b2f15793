"""Packages that only some inputs need: what is said where such a package isn't installed."""

from promptmill.errors import DatasetError


def missing_extra(what: str, extra: str, error: ImportError) -> DatasetError:
    """The error of an input that needs a package which isn't installed."""
    return DatasetError(
        f"{what} needs a package that isn't installed here ({error}). It comes with the extra {extra!r} (input.url). Run: "
        f"pip install 'promptmill[{extra}]'."
    )
