"""The types of a job's amounts of money and ratios."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

_MOST_DIGITS = 40  # before or after the point of an amount; Decimal would accept 1e999999999 and print every digit


def _refuse_odd_amount(value: Decimal) -> Decimal:
    if len(value.as_tuple().digits) > _MOST_DIGITS or abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"it has more than {_MOST_DIGITS} digits before or after the point. Round it")
    return value


Money = Annotated[Decimal, Field(ge=0), AfterValidator(_refuse_odd_amount)]
Portion = Annotated[Decimal, Field(ge=0, le=1), AfterValidator(_refuse_odd_amount)]
