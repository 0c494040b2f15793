"""What is answered, and what may have been spent: files in `_checkpoints/` beside the output.

This room promises that a stored answer is given back exactly as it was stored, for the row it was stored for, or not at
all: every answer file carries a digest of itself, and a chunk's file must hold that chunk's rows.
One rule holds for every state file, here and in the other rooms (promptmill/state_files.py): a missing one means what
absence means; what can be made again is, with a warning (answers, a shard's plan and outcome, entries of the registry,
Prefect's records of chunks); what guards money or a cancellation is an error that says how to go on (spend.json,
approved.json, the ledger's records and its _state.json); a storage that doesn't answer is StorageFailed.
Watch out: all calls block, so call them from a thread; a listing is a moment's picture, and files may go meanwhile.
"""
