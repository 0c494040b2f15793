"""Faults at random moments, again and again, and the books compared afterwards: `python -m benchmarks campaign`.

A round draws a small job and its faults from a seed (`draw`), lets them happen (`plain`, `served`), runs the same command
again until the output is complete, and compares the output with the provider's own ledger (`judge`). Drawing and judging
are pure, so that a failing round can be repeated by its seed, and a judgement can be tested without a round.
What it promises: a round that is judged well lost no row and paid for no delivered answer again.
Watch out: the moments of a round's faults are shares of the time that a run took on this machine when the campaign began,
so a repeated round draws the same faults but doesn't meet the run at exactly the same line of code.
"""
