import difflib

from hypothesis import given
from hypothesis import strategies as st

from promptmill.suggest import nearest

NAMES = ["budget_usd", "input", "max_rows", "url"]


@given(st.one_of(st.text("abdginputx_", max_size=30), st.sampled_from(NAMES).map(lambda name: name * 3)))
def test_a_name_too_long_to_be_near_is_told_without_looking(name: str) -> None:
    found = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.5)

    assert nearest(name, NAMES) == (found[0] if found else None)


def test_a_near_name_is_found_whatever_its_case() -> None:
    assert nearest("Budget_USD", NAMES) == "budget_usd"
    assert nearest("budget", NAMES) == "budget_usd"
    assert nearest("temperature", ["url"]) is None
    assert nearest("url", []) is None
