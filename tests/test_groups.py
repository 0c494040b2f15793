"""Tests that share a server stay on one worker: apart, each worker would start one, and they would slow each other."""

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_is_known_to_who_spreads_the_tests(request: pytest.FixtureRequest):
    assert request.node.nodeid.endswith("@together") is request.config.getoption("loadgroup", default=False)
