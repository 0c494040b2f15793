"""Gives orders to a run under way: pause, resume, set a limit or the budget, stop.

An order is a small object beside the checkpoints. Each process of the run looks there every few seconds, so an order
reaches a run on any machine, with or without Prefect. A pure function adds up all orders to a run (orders.py).
"""
