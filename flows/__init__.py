"""The flows that a Prefect server runs, one a file, and the `promptmill` command (`python -m flows`).

A flow file has two things: the form that people and triggers fill in (names, types and descriptions of the parameters), and
the order of the steps. The steps are in `tasks`; the command's parts are in `flows/command`.

Names of flows and of parameters are public: deployments, schedules and triggers of other teams use them. A flow that is
started again after a crash sends only what is missing, and a flow that ends early keeps its answers.
Watch out: the Prefect UI shows a flow's docstring, and each line of Args beside its field. A flow file defines no type,
keeps no state and catches no error, and no flow imports another; what needs that belongs into `tasks`.
"""
