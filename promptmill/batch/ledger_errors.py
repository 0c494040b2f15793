"""The errors for objects of the ledger that can't be read or written."""

from promptmill.errors import StorageFailed
from promptmill.storage import Storage


def unreadable(storage: Storage, name: str, error: Exception) -> StorageFailed:
    """The error for an object of the ledger that can't be read."""
    return StorageFailed(
        f"{storage.shown}/{name} can't be read: {storage.describe(error)}. It says which batches the provider has of "
        "this job, and so what must not be paid for twice. Run the same command again; if the file is damaged, restore it."
    )


def unwritable(storage: Storage, name: str, error: Exception) -> StorageFailed:
    """The error for an object of the ledger that can't be written."""
    return StorageFailed(
        f"{storage.shown}/{name} can't be written: {storage.describe(error)}. No batch is submitted that can't be "
        "written down first. Make room or give access, then run the same command again."
    )
