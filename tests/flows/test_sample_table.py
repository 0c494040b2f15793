"""The cells of a sample's table."""

import pytest

from flows.command.sample_table import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(None, "", id="null"),
        pytest.param(True, "true", id="boolean"),
        pytest.param([1.0, 2.0], "2 dimensions", id="vector"),
        pytest.param({"a": [10**30]}, "{'a': [1000000000000000000000000000000]}", id="beyond-64-bits"),
        pytest.param("[red]no markup", "[red]no markup", id="markup"),
    ],
)
def test_a_cell_shows_a_value_as_a_person_reads_it(value: object, shown: str):
    assert cell(value).plain == shown
