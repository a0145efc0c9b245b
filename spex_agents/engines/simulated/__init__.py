"""Engines and worlds on a virtual clock: deterministic, free of noise."""

from spex_agents.engines.simulated.api import API, SimulatedApi
from spex_agents.engines.simulated.clock import run_virtual, spend
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.fleet import SimulatedFleet
from spex_agents.engines.simulated.hardware import HARDWARE, Hardware, roofline
from spex_agents.engines.simulated.trace import TraceWorld
from spex_agents.engines.simulated.world import SyntheticWorld, World

__all__ = [
    "API",
    "HARDWARE",
    "Hardware",
    "SimulatedApi",
    "SimulatedEngine",
    "SimulatedFleet",
    "SyntheticWorld",
    "TraceWorld",
    "World",
    "roofline",
    "run_virtual",
    "spend",
]
