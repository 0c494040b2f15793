"""A simulated OpenAI-compatible provider: limits, latency, faults, batches and its own books, over real HTTP.

It is for the quickstart, the tests and the benchmarks alike, so that what a user tries without a key is what is tested.
It imports nothing from the rest of the package: a fake that shared code with the client would share its mistakes.
"""

from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.server import Simulator, serve

__all__ = ["Simulator", "SimulatorOptions", "serve"]
