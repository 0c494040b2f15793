"""A program that answers batch files elsewhere, as `vllm run-batch` does: it reads lines and writes results."""

import json
import urllib.request
from pathlib import Path

from promptmill.simulator import Simulator


def answer_file(requests: Path, results: Path, provider: Simulator) -> None:
    """Ask the simulated provider for each line of a batch file, and write a line for each answer."""
    lines: list[str] = []
    for text in requests.read_text().splitlines():
        line = json.loads(text)
        headers = {"Authorization": "Bearer test", "Content-Type": "application/json"}
        url = provider.base_url.removesuffix("/v1") + line["url"]
        asked = urllib.request.Request(url, json.dumps(line["body"]).encode(), headers)
        with urllib.request.urlopen(asked) as answer:
            response = {"status_code": 200, "request_id": "r", "body": json.load(answer)}
        lines.append(json.dumps({"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}))
    results.write_text("\n".join(lines) + "\n")
