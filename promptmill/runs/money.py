"""The money of one process that sends: its budget, and its account on the output's storage."""

import asyncio
import logging
from dataclasses import replace
from decimal import Decimal

from promptmill.account import Account
from promptmill.arrow import pc
from promptmill.checkpoints.accounts import AccountRecords, Earlier, has_accounts
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.saver import write_patiently
from promptmill.checkpoints.spend import SPEND, SpendRecords
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import OutputError, StorageFailed
from promptmill.limits.budget import Budget
from promptmill.limits.exposure import Exposure
from promptmill.limits.overshoot import INEXACT_INPUT_FACTOR
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.share import Share
from promptmill.steering.orders import Steering

_LOOKS_AT_FILES = 5
log = logging.getLogger("promptmill")


def most_input_factor(prepared: Prepared) -> int:
    """Times our count of a request's input tokens, what the provider may count at most."""
    return 1 if prepared.counter.is_exact else INEXACT_INPUT_FACTOR


async def open_budget(prepared: Prepared, listing: Listing, share: Share | None) -> Budget:
    """The budget of a run, or of one share of it, with its account.

    A budget's record counts what earlier attempts took. Raises: StorageFailed; OutputError when it can't be known.
    """
    records = SpendRecords(prepared.store)
    name = SPEND if share is None else share.spend

    def already_spent() -> Decimal:
        if share is None:
            _note_earlier(prepared, records, listing)
        if prepared.budget_usd is None:
            return ZERO_USD
        return records.settle(listing) if share is None else records.read(name)

    spent = await asyncio.to_thread(already_spent)
    exposure = _open_exposure(prepared)

    async def record(amount: Decimal) -> None:
        await asyncio.to_thread(records.write, amount, name)

    return Budget(prepared.budget_usd, spent, record, prepared.binding_approval, exposure)


async def close_budget(budget: Budget) -> None:
    """Write down what was really spent. Raises: StorageFailed when a budget's record can't be written.

    If the account can't be closed, it goes on saying what could be lost, which is more than is.
    """
    try:
        await budget.exposure.close()
    except StorageFailed as error:
        log.warning("the account of this run isn't closed, so `promptmill audit` gives a wider interval: %s", error)
    await budget.close()


def steered_budget_usd(prepared: Prepared, steering: Steering) -> Decimal | None:
    """What the output may cost: what was set last, but no more than a person approved."""
    budget_usd = steering.budget_usd
    if budget_usd is None:
        return prepared.budget_usd
    approved_usd = None if prepared.approved is None else prepared.approved.cap_usd
    return budget_usd if approved_usd is None else min(budget_usd, approved_usd)


async def earlier_usd(store: Store, budget: Budget) -> Decimal:
    """What was spent for the output before a budget without a cap began to count; rather too much than too little.

    Answers that are saved while this looks count twice. Raises: StorageFailed; OutputError when it can't be known.
    """
    saved_usd = budget.spent_usd - budget.exposure.not_saved_usd
    return max(ZERO_USD, await asyncio.to_thread(_cost_of_kept, store) - saved_usd)


def _cost_of_kept(store: Store) -> Decimal:
    """The cost of all answers that are kept, while a run replaces files by others: what vanished is in a newer file."""
    costs: dict[str, Decimal] = {}
    listing = store.listing()
    for _ in range(_LOOKS_AT_FILES):
        names = [name for name in listing.sizes if name.endswith(".parquet") and name not in costs]
        for name, table in store.load_all(names, ["cost_usd"]):
            costs[name] = Decimal(pc.sum(table["cost_usd"]).as_py() or 0)
        if all(name in costs for name in names):
            break
        listing = store.listing()
    return max(sum(costs.values(), ZERO_USD), SpendRecords(store).recorded(listing))


def _open_exposure(prepared: Prepared) -> Exposure:
    records = AccountRecords(prepared.store)
    name = records.new_name()

    async def write(account: Account) -> None:
        tagged = replace(account, tags=prepared.job.tags)
        await write_patiently(lambda: records.write(name, tagged))

    return Exposure(write)


def _note_earlier(prepared: Prepared, records: SpendRecords, listing: Listing) -> None:
    """Of an output that an earlier version made, write down what may have been spent and left no answer."""
    if has_accounts(listing) or SPEND not in listing.sizes:
        return
    try:
        lost = records.lost_at_most(listing)
    except OutputError:
        if prepared.budget_usd is not None:
            raise
        return  # a damaged record guards a budget, and this job has none
    AccountRecords(prepared.store).write_earlier(Earlier(lost))
