"""Embeddings over the wire, with the real SDK."""

import math

import openai
import pytest
from openai import OpenAI


def test_embeddings_are_unit_vectors_in_both_encodings(client: OpenAI) -> None:
    create = client.embeddings.create
    decoded = create(model="text-embedding-3-small", input=["a", "b", "a"], dimensions=64)
    floats = create(model="text-embedding-3-small", input="a", dimensions=64, encoding_format="float")
    vectors = [item.embedding for item in decoded.data]

    assert vectors[0] == vectors[2] != vectors[1]
    assert vectors[0] == pytest.approx(floats.data[0].embedding)
    assert math.hypot(*vectors[0]) == pytest.approx(1.0, abs=1e-5)
    assert decoded.usage.total_tokens == 3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param("", "input", id="empty"),
        pytest.param(["a", ""], "input", id="one-empty"),
        pytest.param(["a"] * 2049, "2048", id="too-many"),
        pytest.param(["abcd" * 8193], "8192", id="too-long"),
        pytest.param(["abcd" * 8000] * 38, "300000", id="too-much"),
    ],
)
def test_embedding_limits_are_kept(client: OpenAI, given: str | list[str], problem: str) -> None:
    with pytest.raises(openai.BadRequestError, match=problem):
        client.embeddings.create(model="text-embedding-3-small", input=given)
