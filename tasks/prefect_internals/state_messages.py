"""The state messages by which the server's automations recognize runs. For prefect 3.8.8.

If a run is suspended for an approval and gets no answer in time, the server sets it to Failed. Only the message says why.
The server compares the texts, so we can't notice at run time if Prefect changes them.
"""

NEVER_RESUMED = (
    "The flow was paused and never resumed.",  # the server noticed it (server/services/pause_expirations.py)
    "The flow was resuming and never resumed.",  # somebody answered too late (server/orchestration/core_policy.py)
)
