"""Answers of providers as they were seen, with provider, source and date, and the verdict that each deserves.

Texts are shortened to what the verdict depends on; ids, keys and names of others are taken out. `OPENAI` is OpenAI's
"Error codes" and "Rate limits" guides, `REFERENCE` its API reference, both read 2026-11-24. A date beside an issue is that of
the post that shows the shape, or the day it was read. "Public code" is source code that holds the shape as a log, a recording
or a test's answer.
"""

# ruff: noqa: E501 - one shape, one line

import json
from dataclasses import dataclass, field
from typing import Any

from promptmill.job.spec import Endpoint

OPENAI, REFERENCE = (
    ("OpenAI, error codes and rate limits guides", "2026-11-24"),
    ("OpenAI, API reference", "2026-11-24"),
)
OPENROUTER = (
    "OpenRouter, openrouter.ai/docs/api/reference/errors-and-debugging, which has the codes and no messages",
    "2026-11-27",
)
PUBLIC = "read 2026-11-28"  # found in public source code
UNPARSED = "Parsing failed. The model generated output that could not be parsed. Please adjust your prompt. See 'failed_generation' for more details."
PAGE = "<!DOCTYPE html><html><head><title>{}</title></head><body><h1>{}</h1></body></html>"


@dataclass(frozen=True)
class Shape:
    """One answer as it came over the wire."""

    provider: str
    source: str
    date: str
    status: int
    body: bytes
    verdict: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    endpoint: Endpoint = "chat.completions"

    @property
    def id(self) -> str:
        """A name for the test."""
        return f"{self.provider}-{self.status}-{self.verdict}".replace(" ", "-")


def seen(
    provider: str,
    source: tuple[str, str],
    status: int,
    body: Any,
    verdict: str,
    headers: dict[str, str] | None = None,
    endpoint: Endpoint = "chat.completions",
) -> Shape:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Shape(provider, *source, status, data, verdict, {} if headers is None else headers, endpoint)


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def chat(content: Any = "yes", finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish, **more.pop("choice", {})}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], **more}


def issue(name: str, date: str) -> tuple[str, str]:
    return f"github.com/{name}", date


SHAPES = [
    # the status tells
    seen("OpenAI", OPENAI, 401, error("Incorrect API key provided", code="invalid_api_key"), "renew"),
    seen("OpenAI", OPENAI, 403, error("Country not supported", code="unsupported_country_region_territory"), "row? rights"),
    seen("OpenAI", OPENAI, 404, error("The model `m` does not exist", code="model_not_found"), "row? model"),
    seen("OpenAI", OPENAI, 429, error("You exceeded your current quota", code="insufficient_quota"), "stop"),
    seen("OpenAI", OPENAI, 429, error("slow", code="rate_limit_exceeded", type="requests"), "wait 20", {"retry-after": "20"}),
    seen("OpenAI", OPENAI, 429, error("on tokens per min (TPM): Limit 1. Please try again in 7.62s.", type="tokens"), "wait 7.62"),
    seen("OpenAI", OPENAI, 429, error("on requests per day (RPD): Limit 10000, Used 10000", code="rate_limit_exceeded"), "stop"),
    seen(
        "OpenAI", OPENAI, 429, error("on requests per day (RPD): Limit 10000", code="rate_limit_exceeded"), "wait 52151",
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "14h29m11s"},
    ),
    seen("OpenAI", OPENAI, 429, error("Ramp up", code="slow_down", type="rate_limit_error"), "wait"),
    seen("OpenAI", OPENAI, 429, error("Resource Unavailable", code="resource_unavailable"), "wait"),
    seen("OpenAI", OPENAI, 500, error("The server had an error", type="server_error"), "again"),
    seen("OpenAI", OPENAI, 503, error("The engine is currently overloaded"), "again"),
    seen("OpenAI", OPENAI, 503, error("Slow Down"), "wait"),
    seen(
        "OpenAI", issue("openai/openai-openapi/issues/302", "read 2026-11"), 400,
        error("maximum context length is 128000", type="invalid_request_error", param="messages", code="context_length_exceeded"),
        "row: context_length_exceeded",
    ),
    seen("OpenAI", REFERENCE, 400, error("Unsupported value: 'temperature'", param="temperature", code="unsupported_value"), "row? parameter"),
    seen("OpenAI", REFERENCE, 400, error("Invalid image", param="messages[1].content", code="invalid_value"), "row? request"),
    seen("OpenAI", REFERENCE, 413, error("Request too large"), "row: invalid_request"),
    seen("OpenRouter", ("a user's report of OpenRouter", "2026-11"), 402, error("requires more credits, or fewer max_tokens", code=402), "row? money"),
    seen("OpenRouter", issue("open-webui/computer/issues/293", "2026-09-20"), 429, error("Provider returned error", code=429, metadata={"raw": "temporarily rate-limited upstream"}), "wait"),
    seen("OpenRouter", issue("anomalyco/opencode/issues/22448", "2026-04-14"), 502, {"code": 502, "message": "Network connection lost.", "metadata": {"error_type": "provider_unavailable"}}, "again"),
    seen("DeepSeek", issue("danilofalcao/jarvis/issues/62", "2025-02-13"), 402, error("Insufficient Balance", type="unknown_error", code="invalid_request_error"), "row? money"),
    seen("Groq", issue("continuedev/continue/issues/10920", "2026-02-28"), 429, error("on tokens per day (TPD): Limit 100000, Used 97050. Please try again in 9m38.016s.", code="rate_limit_exceeded"), "wait 578.016"),
    seen("Groq", issue("elizaOS/eliza/issues/4040", "2025-03-21"), 429, error("Request too large for model `x` on tokens per minute (TPM)", type="tokens", code="rate_limit_exceeded"), "row: rate_limited"),
    seen("Groq", issue("HunorLaczko/ha-groq-cloud-api/issues/27", "2026-05-16"), 413, error("Request too large for model x on tokens per minute (TPM)", type="tokens", code="rate_limit_exceeded"), "row: rate_limited"),
    seen("Groq", ("Groq, flex processing", "read 2026-11"), 498, error("flex tier capacity exceeded", code="capacity_exceeded"), "wait"),
    seen("Azure", issue("alex-wolf-ps/dbchatprov2/issues/2", "2024-07-16"), 429, error("have exceeded token rate limit. Please retry after 86400 seconds.", code="429"), "wait 86400"),
    seen("Azure", issue("openai/codex/issues/1354", "2025-06-20"), 401, error("Access denied due to invalid subscription key or wrong API endpoint.", code="401"), "renew"),
    seen("Azure", issue("rusiaaman/chat.md/issues/2", "2025-04-15"), 404, error("Resource not found", code="404"), "row? model"),
    seen("Azure", issue("compl-ai/compl-ai/issues/20", "2025-02-27"), 400, error("The response was filtered", param="prompt", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), "row: content_filter"),
    seen("Azure", issue("openai/openai-dotnet/issues/55", "2024-06-14"), 400, error("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", type=None, param="prompt", code="content_filter", status=400, innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": False, "severity": "safe"}, "sexual": {"filtered": True, "severity": "high"}}}), "row: content_filter"),
    seen("LiteLLM", issue("BerriAI/litellm/pull/16231", "2025-11-04"), 400, error("litellm.ContentPolicyViolationError: AzureException - triggering Azure OpenAI's content management policy.", type=None, code="400"), "row: content_filter"),
    seen("LiteLLM", issue("jasonacox/TinyLLM/issues/17", "2025-02-02"), 429, error("exceeded token rate limit. Please retry after 86400 seconds.", type="throttling_error", code="429"), "wait 86400"),
    seen("Gemini", issue("n4ze3m/page-assist/issues/406", "2025-02-16"), 429, [error("Resource has been exhausted (e.g. check quota).", code=429, status="RESOURCE_EXHAUSTED")], "wait"),
    seen("Gemini", issue("google-gemini/gemini-cli/issues/27665", "2026-06-07"), 429, [error("You exceeded your current quota. Please retry in 34.07s.", code=429, status="RESOURCE_EXHAUSTED")], "wait 34.07"),
    seen("Gemini", issue("continuedev/continue/issues/9251", "2025-12-21"), 400, [error("API key not valid. Please pass a valid API key.", code=400, status="INVALID_ARGUMENT")], "renew"),
    seen("Gemini", issue("continuedev/continue/issues/10560", "2026-02-16"), 429, error('{"error": {"code": 429, "message": "Resource has been exhausted"}}', code=429, status="Too Many Requests"), "wait"),
    seen("Anthropic", issue("anthropics/claude-code/issues/66297", "2026-06-08"), 400, {"type": "error", **error("Your credit balance is too low to access the Anthropic API.", type="invalid_request_error")}, "row? money"),
    seen("Anthropic", issue("anthropics/claude-code/issues/35779", "2026-03-18"), 529, {"type": "error", **error("Overloaded", type="overloaded_error")}, "again"),
    seen("Anthropic", ("com.blockether/svar 0.7.61, its page on rate limits (resets as RFC 3339); anthropics/claude-code#73655 has the body", "2026-07-03"), 429, {"type": "error", **error("Rate limited", type="rate_limit_error")}, "wait 60", {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2026-09-21T14:14:20Z"}),
    seen("DashScope", issue("tencentmusic/supersonic/issues/1572", "2024-08-16"), 400, {"message": "Access denied, please make sure your account is in good standing.", "code": "Arrearage"}, "row? money"),
    seen("vLLM", issue("HKUSTDial/Alpha-SQL/issues/5", "2025-07-05"), 400, {"object": "error", "message": "This model's maximum context length is 32768 tokens.", "type": "BadRequestError", "param": None, "code": 400}, "row: context_length_exceeded"),
    seen("vLLM", issue("vllm-project/vllm/issues/4667", "2024-06-21"), 400, {"object": "error", "message": "max_tokens must be at least 1, got -186.", "type": "BadRequestError", "param": None, "code": 400}, "row? request"),
    seen("vLLM", issue("vllm-project/vllm/issues/19862", "2025-06-19"), 500, "Internal Server Error", "again"),
    seen("llama.cpp", issue("gpustack/gpustack/issues/1845", "2025-04-21"), 400, error("prefill 744 tokens exceed n_ctx_per_seq", code=400, type="invalid_request_error"), "row? request"),
    seen("llama.cpp", issue("mostlygeek/llama-swap/issues/146", "2025-05-25"), 503, error("Loading model", code=503, type="unavailable_error"), "again"),
    seen("llama.cpp", issue("oobabooga/textgen/issues/7257", "2025-10-07"), 400, error("the request exceeds the available context size", code=400, type="exceed_context_size_error"), "row: context_length_exceeded"),
    seen("Ollama", issue("continuedev/continue/issues/12740", "2026-06-17"), 404, error('The model "llama3.1:8b" was not found', type="api_error"), "row? model"),
    seen("Ollama", issue("continuedev/continue/issues/12843", "2026-06-20"), 500, error("an error was encountered while running the model: unexpected EOF"), "again"),
    seen("gateway", issue("Wei-Shaw/sub2api/issues/2857", "2026-05-28"), 502, error("Upstream request failed", type="upstream_error"), "again"),
    seen("gateway", issue("skye-harris/hass_local_openai_llm/issues/89", "2026-07-02"), 400, error("Error from provider: Upstream request failed", type="invalid_request_error", code="invalid_request_error"), "row? request"),
    seen("Cloudflare", ("made up: a firewall's block page", "2026-11-27"), 403, PAGE.format("Attention Required! | Cloudflare", "blocked"), "row? rights", {"content-type": "text/html"}),
    seen("Cloudflare", ("made up: a gateway's page", "2026-11-27"), 502, PAGE.format("502 Bad Gateway", "502 Bad Gateway"), "again", {"content-type": "text/html"}),
    seen("Cloudflare", issue("anomalyco/opencode/issues/9038", "2026-01-17"), 520, "error code: 520", "again"),
    seen("nginx", ("made up: a redirect to another host", "2026-11-27"), 307, b"", "stop", {"location": "https://elsewhere.example/v1"}),
    # an answer that the provider keeps back, since it breaks the format
    seen("Groq", issue("thepersonalaicompany/amurex-backend/issues/38", "2025-02-11"), 400, error("Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.", type="invalid_request_error", code="json_validate_failed", failed_generation='{"a'), "again, kept back, bought"),
    seen("Groq", issue("lucagrippa/obsidian-ai-tagger/issues/34", "2025-02-07"), 400, error("Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.", type="invalid_request_error", code="tool_use_failed", failed_generation=""), "again, kept back, bought"),
    seen("Groq", ("public code: a log of a failed run, with its traceback", PUBLIC), 400, error(UNPARSED, type="invalid_request_error", code="output_parse_failed", failed_generation="We need to run tests. Let's list files."), "again, kept back, bought"),
    seen("Groq", ("public code: a test of a client that had met it", PUBLIC), 400, error(UNPARSED, type="invalid_request_error", code="tool_use_failed", failed_generation="<|channel|>commentary to=functions.bash"), "again, kept back, bought"),
    seen("Groq", ("public code: a test of a client that had met it, without a code", PUBLIC), 400, error(UNPARSED, type="invalid_request_error", failed_generation={"reason": "structured output parser could not complete"}), "again, kept back, bought"),
    seen("Groq", ("made up: the same without its code, through a gateway", "2026-11-27"), 400, error("GroqException - Generated JSON does not match the expected schema. See 'failed_generation' for more details.", type="invalid_request_error"), "again, kept back, bought"),
    seen("OpenAI", issue("BerriAI/litellm/issues/8020", "2025-01-27"), 500, error("The model produced invalid content. Consider modifying your prompt if you are seeing this error persistently.", type="model_error", param=None, code=None), "again, kept back, bought"),
    seen("OpenAI", ("made up: the same in another type", "2026-11-27"), 500, error("The model produced invalid content.", type="server_error"), "again, kept back, bought"),
    seen("Gemini", ("public code: 20 of 20 answers without content in one study", PUBLIC), 200, chat(None, "function_call_filter: MALFORMED_FUNCTION_CALL"), "answer: invalid_response"),
    # an error inside a 200
    seen("OpenRouter", issue("open-webui/computer/issues/293", "2026-09-20"), 200, error("Provider returned error", code=429, metadata={"raw": "temporarily rate-limited upstream. Please retry shortly"}), "wait"),
    seen("OpenRouter", issue("open-assistant-org/open-assistant/issues/80", "2026-07-30"), 402, error("Insufficient credits. Add more using https://openrouter.ai/settings/credits", code=402, metadata={"limit_source": "openrouter_credits"}), "row? money"),
    seen("OpenRouter", issue("QwenLM/qwen-code/issues/73", "2025-07-23"), 402, error("This request requires more credits, or fewer max_tokens. You requested up to 225702 tokens, but can only afford 92985. To increase, visit https://openrouter.ai/settings/credits and add more credits", code=402), "row? money"),
    seen("openclaude", issue("Gitlawb/openclaude/issues/1528", "2026-06-04"), 402, error("Insufficient credits - top up your balance", type="insufficient_quota", code="insufficient_credits"), "row? money"),
    seen("OpenRouter", OPENROUTER, 200, error("Insufficient credits", code=402), "row? money"),
    seen("OpenRouter", OPENROUTER, 200, error("No auth credentials found", code=401), "renew"),
    seen("OpenRouter", OPENROUTER, 200, error("Input flagged by moderation", code=403), "row: content_filter"),
    seen("OpenRouter", OPENROUTER, 200, error("Provider returned error", code=502), "again"),
    seen("OpenRouter", issue("genkit-ai/genkit/pull/6259", "2026-09-02"), 200, chat("half", None, choice={"error": {"code": 502, "message": "Upstream error"}}), "again"),
    seen("OpenRouter", issue("genkit-ai/genkit/pull/6259", "2026-09-02"), 200, chat("whole", "stop", choice={"error": {"code": 502, "message": "late"}}), "answer"),
    seen("gateway", ("sparticleinc/chatgpt-google-summary-extension#222; that it stands in a 200 is made up", "2024-09-09"), 200, error("user quota is not enough", type="new_api_error", code="insufficient_user_quota"), "row? money"),
    seen("MiniMax", issue("adrianlyjak/obsidian-aloud-tts/pull/114", "2025-12-26"), 200, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "row? money"),
    seen("Zhipu", ("yilewang/llm-for-zotero#17; that it stands in a 200 is made up", "2026-02-12"), 200, error("您的账户已达到速率限制，请您控制请求频率", code="1302"), "wait"),
    seen("Zhipu", issue("yilewang/llm-for-zotero/issues/17", "2026-02-12"), 429, error("您的账户已达到速率限制，请您控制请求频率", code="1302"), "wait"),
    seen("MiniMax", issue("MiniMax-AI/MiniMax-M2/issues/62", "2025-12-23"), 500, {"type": "error", **error("insufficient balance (1008)", type="api_error")}, "row? money"),
    seen("MiniMax", issue("modelscope/modelscope/issues/1691", "2026-04-25"), 429, error("insufficient balance (1008)", type="insufficient_balance_error", http_code="429"), "stop"),
    seen("sub2api", issue("Wei-Shaw/sub2api/issues/890", "2026-03-09"), 403, {"code": "INSUFFICIENT_BALANCE", "message": "Insufficient account balance"}, "row? money"),
    seen("gateway", ("made up: nobody's known error", "2026-11-27"), 200, error("the moon is full", code="lunacy"), "again, unknown"),
    seen("OpenAI", REFERENCE, 200, {"id": "r", "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "slow"}}, "wait", endpoint="responses"),
    seen("gateway", issue("Wei-Shaw/sub2api/issues/2857", "2026-05-28"), 200, {"id": "r", "status": "failed", "output": [], "error": {"code": "upstream_error", "message": "failed"}}, "again, unknown", endpoint="responses"),
    # a 200 without an answer
    seen("OpenRouter", issue("speakeasy-api/gram/pull/3129", "2026-06-01"), 200, {"id": "x", "choices": []}, "again, bought, unknown"),
    seen("Azure", ("public code: a test of a cost counter, where usage is missing too", PUBLIC), 200, {"id": "x", "model": "m", "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": True, "severity": "high"}}}]}, "row: content_filter"),
    seen("vLLM", issue("langchain-ai/langchain/issues/32252", "2025-07-26"), 200, {"id": "x", "choices": None}, "again, bought, unknown"),
    seen("TGI", issue("ogx-ai/ogx/issues/3122", "read 2026-11-27"), 200, "null", "again, bought, unknown"),
    seen("gateway", ("made up: an empty body", "2026-11-27"), 200, b"", "again, bought, unknown"),
    seen("gateway", ("made up: a portal's page", "2026-11-27"), 200, PAGE.format("Sign in", "Sign in"), "again, bought, unknown"),
    seen("gateway", ("made up: a body cut off", "2026-11-27"), 200, b'{"id":"x","choices":[{"mess', "again, bought, unknown"),
    # answers in other clothes
    seen("OpenAI", REFERENCE, 200, chat(), "answer"),
    seen("Bifrost", issue("maximhq/bifrost/issues/1821", "2026-02-27"), 200, chat(finish=None), "answer"),
    seen("Bifrost", issue("maximhq/bifrost/issues/5425", "2026-07-21"), 200, chat('{"title": "par', "error", usage={"prompt_tokens": None}), "answer: server_error"),
    seen("OpenRouter", issue("gethouston/houston/pull/1211", "2026-08-03"), 200, chat("half", "network_error"), "answer: server_error"),
    seen("DeepSeek", issue("genkit-ai/genkit/pull/6259", "2026-09-02"), 200, chat("half", "insufficient_system_resource"), "answer: server_error"),
    seen("Z.AI", issue("anomalyco/opencode/issues/44092", "2026-08-22"), 200, chat("half", "sensitive"), "answer: content_filter"),
    seen("Z.AI", issue("genkit-ai/genkit/pull/6259", "2026-09-02"), 200, chat("half", "model_context_window_exceeded"), "answer: context_length_exceeded"),
    seen("OpenRouter", issue("zeitlings/ayai-gpt-nexus/issues/2", "2024-07-05"), 200, chat("yes", "end_turn"), "answer"),
    seen("Mistral", issue("langchain4j/langchain4j/pull/4474", "2026-01-26"), 200, chat([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]), "answer"),
    seen("Gemini", issue("evalstate/fast-agent/issues/184", "2025-05-22"), 200, {"model": "m", "choices": [{"index": 0, "finish_reason": "length"}]}, "answer: truncated"),
    seen("LM Studio", issue("lmstudio-ai/lmstudio-bug-tracker/issues/2339", "2026-08-30"), 200, chat(""), "answer: empty_response"),
    seen("vLLM", issue("vllm-project/vllm/issues/45736", "read 2026-11-28"), 200, chat(None, message={"reasoning_content": "hm"}), "answer: empty_response"),
    seen("OpenAI", REFERENCE, 200, chat(None, "tool_calls", message={"tool_calls": [{"id": "c", "type": "function"}]}), "answer"),
    seen("OpenAI", REFERENCE, 200, chat(None, message={"refusal": "no"}), "answer: refusal"),
    seen("OpenRouter", ("openai/openai-go#227 has the comment in a stream; before a whole answer it is made up", "2025-02-13"), 200, ": OPENROUTER PROCESSING\n\n" + json.dumps(chat()), "answer"),
    seen("gateway", ("made up: an event stream that nobody asked for", "2026-11-27"), 200, 'data: {"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n', "answer"),
    seen("gateway", ("made up: half an emoji", "2026-11-27"), 200, json.dumps(chat("x@")).replace("@", "\\ud83d"), "answer"),
    seen("gateway", ("made up: a number that JSON doesn't know", "2026-11-27"), 200, json.dumps(chat(logprobs=float("nan"))), "answer"),
]  # fmt: skip
