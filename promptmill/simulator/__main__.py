"""`python -m promptmill.simulator --port 8080 --rpm 500 --option error_500=0.05`."""

import argparse
from dataclasses import asdict

from promptmill.simulator.options import SimulatorOptions, with_changes
from promptmill.simulator.server import serve
from promptmill.simulator.wire import JsonValue, decode, encode

_DESCRIPTION = (
    "Serve an OpenAI-compatible API on this machine: deterministic answers, limits, faults, files and batches."
)
_SHORT_NAMES = {"rpm": "requests_per_minute", "tpm": "tokens_per_minute"}


def parse_option(text: str) -> tuple[str, JsonValue]:
    """The name and value of `name=value`; the value is JSON, or text where it isn't.

    Raises: ValueError without an equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not name=value.")
    try:
        return name, decode(value.encode())
    except ValueError:
        return name, value


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command line of a program of that name."""
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0: a free one (default: %(default)s)")
    parser.add_argument("--rpm", type=int, help="requests per minute of one model (default: no limit)")
    parser.add_argument("--tpm", type=int, help="tokens per minute of one model (default: no limit)")
    parser.add_argument("--api-key", help='the only key accepted (default: any but "invalid")')
    names = ", ".join(f"{name}={encode(value).decode()}" for name, value in asdict(SimulatorOptions()).items())
    note = f"may be given several times; the value is JSON, or text where it isn't. All, with their defaults: {names}"
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help=note)
    return parser


def changes_of(arguments: argparse.Namespace) -> dict[str, JsonValue]:
    """The options that a command line gives. Raises: ValueError for an option without an equals sign."""
    given = {_SHORT_NAMES.get(name, name): getattr(arguments, name) for name in ("rpm", "tpm", "api_key")}
    changes: dict[str, JsonValue] = {name: value for name, value in given.items() if value is not None}
    return changes | dict(parse_option(text) for text in arguments.option)


def main(prog: str = "python -m promptmill.simulator") -> None:
    """Serve until stopped."""
    parser = make_parser(prog)
    arguments = parser.parse_args()
    try:
        options = with_changes(SimulatorOptions(), changes_of(arguments))
    except ValueError as error:
        parser.error(str(error))
    try:
        serve(options, arguments.host, arguments.port)
    except OSError as error:
        parser.error(f"it can't listen at {arguments.host}:{arguments.port}: {error.strerror}. Give another --port")


if __name__ == "__main__":
    main()
