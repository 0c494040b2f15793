"""Orders to a run that is under way: pause, resume, set a limit or the budget, stop.

An order is a small object beside the checkpoints. Each process of the run looks there every few seconds, so orders reach a
run wherever it works, with or without Prefect. What the orders add up to is a pure function (orders.py).
"""
