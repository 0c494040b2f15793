"""What the doctor says of a worker's environment."""

import pytest

from promptmill.planning.doctor import is_in_container, look_at_allowed, look_at_state


@pytest.mark.parametrize(
    ("url", "pool_type", "is_container", "expected"),
    [
        pytest.param("/home/me/.prefect/promptmill", None, False, None, id="a-laptop"),
        pytest.param("/home/me/.prefect/promptmill", "process", False, None, id="a-process-pool"),
        pytest.param("/home/me/.prefect/promptmill", "process", True, True, id="a-process-pool-in-a-container"),
        pytest.param("/home/me/.prefect/promptmill", None, True, True, id="a-container"),
        pytest.param("file:///state", "kubernetes", True, False, id="a-pod"),
        pytest.param("/state", "docker", False, False, id="a-docker-pool-seen-from-a-laptop"),
        pytest.param("s3://lake/promptmill", "kubernetes", True, None, id="an-object-store"),
    ],
)
def test_a_local_state_folder_that_dies_with_a_container_is_reported(
    url: str, pool_type: str | None, is_container: bool, expected: bool | None
) -> None:
    found = look_at_state(url, pool_type, is_container)

    assert (None if found is None else found.is_well) is expected
    if found is not None:
        assert "Set PROMPTMILL_STATE_URL to a URL that every worker reaches" in found.detail


def test_a_pod_is_a_container() -> None:
    assert is_in_container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


@pytest.mark.parametrize(
    ("listed", "is_well", "words"),
    [
        pytest.param("", True, "no local path; any object store or public web server; modules: none", id="nothing"),
        pytest.param("/data", True, "/data; any object store", id="a-folder"),
        pytest.param("/data, s3://lake/", True, "/data, s3://lake/; no other URL", id="a-folder-and-a-url"),
        pytest.param("data/in", False, "'data/in' is no absolute path", id="a-relative-path"),
        pytest.param("/data,~/in", False, "'~/in' is no absolute path", id="a-home"),
    ],
)
def test_the_doctor_shows_what_deployed_runs_may_use(listed: str, is_well: bool, words: str) -> None:
    found = look_at_allowed({"PROMPTMILL_ALLOWED_URLS": listed})

    assert found.is_well == is_well
    assert words in found.detail
