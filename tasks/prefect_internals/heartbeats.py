"""How often a run sends heartbeats at the most. For prefect 3.8.8, `prefect.flow_engine.MINIMUM_HEARTBEAT_INTERVAL`.

Prefect silently uses this value where PREFECT_FLOWS_HEARTBEAT_FREQUENCY is lower. A copy and no import: doctor and
bootstrap would have to import Prefect's engine for a number.
"""

SHORTEST_SECONDS = 30
