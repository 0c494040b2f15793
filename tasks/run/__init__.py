"""One flow run: its plan, its chunks, its end."""
