"""The provider's own ledger over HTTP: which bodies were billed how often, and for how much."""

import json
import time
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from benchmarks.rig import get_json

PRICING = {"input_per_mtok": "0", "output_per_mtok": "1000000"}  # a dollar an output token, so that the cap is exact
BATCH_DISCOUNT = Decimal("0.5")  # the default of pricing.batch_discount
SETTLE_SECONDS = 3.0


class Books:
    """What a simulated provider knows of its clients."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._pages = f"{base_url.removesuffix('/v1')}/_simulator"

    def open(self, options: Mapping[str, object]) -> None:
        """Empty the ledger and set these options; all others stay as they are."""
        self._post("config", json.dumps(options).encode())
        self._post("reset", b"")

    def billed(self) -> dict[str, int]:
        """Body digest → how often it was billed."""
        return dict(self._ledger("?detail=1")["bodies"])

    def sent(self) -> int:
        """Requests, files and batches that have come in."""
        counters = self._ledger()["counters"]
        return sum(int(counters[name]) for name in ("attempts", "files_uploaded", "batches_created"))

    def heard(self) -> int:
        """Requests that were billed, files and batches."""
        ledger = self._ledger()
        counted = sum(int(ledger["counters"][name]) for name in ("files_uploaded", "batches_created"))
        online: dict[str, dict[str, int]] = ledger["tiers"].get("default", {})
        return counted + sum(account["requests"] for account in online.values())

    def spent_usd(self) -> Decimal:
        """What was billed, at the prices of the rounds' jobs."""
        tiers: dict[str, dict[str, dict[str, int]]] = self._ledger()["tiers"]
        spent = Decimal(0)
        for tier, models in tiers.items():
            tokens = sum(account["output_tokens"] for account in models.values())
            spent += tokens * ((1 - BATCH_DISCOUNT) if tier == "batch" else Decimal(1))
        return spent

    def unread(self) -> int:
        """Requests whose answer was lost or spoilt on its way."""
        counters = self._ledger()["counters"]
        return sum(int(counters[f"fault_{name}"]) for name in ("reset", "garbage", "hang"))

    def settle(self) -> None:
        """Wait until the requests of a process that is gone have ended."""
        until = time.monotonic() + SETTLE_SECONDS
        while self._ledger()["counters"]["in_flight"] and time.monotonic() < until:
            time.sleep(0.02)

    def _ledger(self, query: str = "") -> Any:
        return get_json(f"{self._pages}/ledger{query}")

    def _post(self, page: str, body: bytes) -> None:
        request = urllib.request.Request(f"{self._pages}/{page}", data=body, method="POST")
        urllib.request.urlopen(request, timeout=30).close()
