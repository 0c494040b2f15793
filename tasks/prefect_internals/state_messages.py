"""Messages of states by which the server's automations tell runs apart. For prefect 3.8.8.

The server gives a run that was suspended for an approval, and got no answer in time, the state Failed. Only the message
says why. The server compares the texts, so that nothing here can notice at run time if Prefect changes them.
"""

NEVER_RESUMED = (
    "The flow was paused and never resumed.",  # the server noticed it (server/services/pause_expirations.py)
    "The flow was resuming and never resumed.",  # somebody answered too late (server/orchestration/core_policy.py)
)
