"""What the simulator remembers between two requests: options, ledger, files, batches, limits.

`World` holds all of it and is handed to every part.
Only the server's event loop touches it, so there are no locks: code that runs in a thread must not use it.
`Ledger` is what a client's own accounts are checked against; `reset` starts a new one and keeps the options.
"""
