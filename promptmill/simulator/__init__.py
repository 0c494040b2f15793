"""Simulates an OpenAI-compatible provider over real HTTP: limits, latency, faults, files, batches and its own ledger.

The quickstart, the tests and the benchmarks all use it, so a user without a key tries the same provider as the tests.
It imports nothing from the rest of the package: if it shared code with the client, it would share the client's mistakes.
Callers need only `Simulator`, `SimulatorOptions` and `serve`.

Lower rooms come first: answers and limits, state, http, batches and online; `app` puts them together, `server` runs it.
Every room may use the files beside them (options, errors, usage, wire).
"""

from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.server import Simulator, serve

__all__ = ["Simulator", "SimulatorOptions", "serve"]
