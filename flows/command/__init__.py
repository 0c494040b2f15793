"""Reads what a person gives to the `promptmill` command, and shows the results; `flows/__main__.py` lists the commands.

`arguments` has what several commands take, `local` the commands that run no flow, `batches` and `doctor` the commands of
those names, and `console` and `tables` print.

Data goes to stdout and everything else to stderr, and with `--json` the last line of stdout is the result as JSON: scripts
rely on it. An error that a user can fix is printed as a sentence; its class decides the exit code (`promptmill/errors.py`).
Watch out: importing Prefect takes most of a second. Import it inside the function that needs it, and call
`console.prepare_prefect` before.
"""
