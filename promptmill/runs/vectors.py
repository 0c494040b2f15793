"""Many rows' inputs in one request of embeddings → their vectors."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from promptmill.limits.pricing import stored_usd
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.provider.attempt import Call, Complaint, Outcome
from promptmill.provider.client import Client
from promptmill.provider.response_body import MAX_INPUT_TOKENS, MAX_INPUTS, Answer
from promptmill.records import Completion, Failure, FailureKind, Request, Result, Usage
from promptmill.runs.completion import completion_of, failure_of
from promptmill.runs.judging import judge_count, judge_input, judge_vectors
from promptmill.stop import Slot


def pack_inputs(requests: Sequence[Request]) -> list[list[Request]]:
    """Rows' inputs in as few requests as the API's limits allow, in order."""
    packs: list[list[Request]] = []
    tokens = 0
    for request in requests:
        if not packs or len(packs[-1]) >= MAX_INPUTS or tokens + request.input_tokens > MAX_INPUT_TOKENS:
            packs.append([])
            tokens = 0
        packs[-1].append(request)
        tokens += request.input_tokens
    return packs


async def complete_pack(client: Client, builder: RequestBuilder, pack: Sequence[Request], slot: Slot) -> list[Result]:
    """The embeddings of many rows, in order.

    A pack that the API refuses costs nothing and is halved until the row to blame is alone. A pack that is answered by too
    few vectors is paid for, so that each of its rows is asked alone next, and no pack is made again. A row whose vector can't
    be used is asked once more.
    """
    if len(pack) > 1 and client.vectors.is_one_by_one:
        return await _complete_parts(client, builder, [[request] for request in pack], slot)
    outcome = await _send_pack(client, builder, pack, slot)
    answer = outcome.answer
    if answer is not None and outcome.complaint is None and outcome.failure is None:
        return await _share_vectors(client, builder, pack, outcome, answer, slot)
    if len(pack) > 1 and outcome.complaint is not None:
        client.vectors.is_one_by_one = True
        return await _complete_parts(client, builder, [[request] for request in pack], slot, outcome)
    if len(pack) == 1 or (outcome.failure is not None and outcome.failure.kind not in _ROW_TO_BLAME):
        shares = _share_usage(outcome.usage, outcome.cost_usd, [request.input_tokens for request in pack])
        return [failure_of(request.custom_id, outcome, *share) for request, share in zip(pack, shares, strict=True)]
    middle = len(pack) // 2
    return await _complete_parts(client, builder, [pack[:middle], pack[middle:]], slot)


async def _send_pack(client: Client, builder: RequestBuilder, pack: Sequence[Request], slot: Slot) -> Outcome:
    """How a pack's request ended; where the server refuses base64, this pack and all after it are asked as decimals."""
    tokens, bodies = sum(request.input_tokens for request in pack), [request.body for request in pack]
    habits = client.vectors
    while True:
        is_base64 = habits.is_base64
        body = builder.embeddings_body(bodies, is_base64=is_base64)
        call = Call(body, tokens, 0, optional="encoding_format" if is_base64 else "")
        dimensions = builder.dimensions if builder.dimensions is not None else habits.dimensions
        outcome = await client.send(call, slot, lambda answer, due=dimensions: _judge_pack(answer, pack, due))
        refused = outcome.failure
        if refused is None or not call.optional or refused.param != call.optional:
            return outcome
        habits.is_base64 = False


def _judge_pack(answer: Answer, pack: Sequence[Request], dimensions: int | None) -> Complaint | None:
    """What is wrong with the answer to a pack as a whole, or None."""
    wrong = judge_vectors(answer, len(pack), dimensions)
    return judge_input(answer, pack[0].text_tokens) if wrong is None and len(pack) == 1 else wrong


async def _complete_parts(
    client: Client,
    builder: RequestBuilder,
    parts: Sequence[Sequence[Request]],
    slot: Slot,
    before: Outcome | None = None,
) -> list[Result]:
    """The results of several packs, one after the other; the first rows also bear what was paid `before`."""
    results = [result for part in parts for result in await complete_pack(client, builder, part, slot)]
    if before is None:
        return results
    weights = [request.input_tokens for part in parts for request in part]
    shares = _share_usage(before.usage, before.cost_usd, weights)
    return [_with_more(result, *share, before.attempts) for result, share in zip(results, shares, strict=True)]


def _with_more(result: Result, usage: Usage, cost_usd: Decimal, attempts: int) -> Result:
    """A result that also bears an earlier attempt's share."""
    return replace(
        result,
        usage=result.usage + usage,
        cost_usd=stored_usd(result.cost_usd + cost_usd),
        attempts=result.attempts + attempts,
    )


_ROW_TO_BLAME: frozenset[FailureKind] = frozenset(
    {"invalid_request", "context_length_exceeded", "content_filter", "rate_limited", "invalid_response"}
)


def _share_usage(usage: Usage, cost_usd: Decimal, weights: Sequence[int]) -> list[tuple[Usage, Decimal]]:
    """A request's tokens and money shared among its rows by weight, so that the shares add up to the whole."""
    total = max(1, sum(weights))
    shares: list[tuple[Usage, Decimal]] = []
    seen, given, paid = 0, 0, Decimal(0)
    for weight in weights:
        seen += weight
        tokens = usage.input_tokens * seen // total - given
        money = stored_usd(cost_usd * seen / total) - paid
        given, paid = given + tokens, paid + money
        shares.append((Usage(tokens, is_estimated=usage.is_estimated), money))
    return shares


async def _share_vectors(
    client: Client, builder: RequestBuilder, pack: Sequence[Request], outcome: Outcome, answer: Answer, slot: Slot
) -> list[Result]:
    """The results of a pack that was answered; rows without a vector that can be used are asked once more, if in company."""
    results = _vector_results(pack, outcome, answer)
    client.vectors.dimensions = next((len(vector) for vector in answer.embeddings if vector is not None), None)
    if len(pack) == 1:
        return results

    async def ask_alone(place: int) -> Result:
        first = results[place]
        (second,) = await complete_pack(client, builder, [pack[place]], slot)
        results[place] = _with_more(second, first.usage, first.cost_usd, first.attempts)
        return second

    for place in (place for place, vector in enumerate(answer.embeddings) if vector is None):
        await ask_alone(place)
    if client.vectors.counts_packs and judge_input(answer, sum(request.text_tokens for request in pack)) is not None:
        await _find_cut_rows(client, pack, outcome, results, ask_alone)
    return results


async def _find_cut_rows(
    client: Client,
    pack: Sequence[Request],
    outcome: Outcome,
    results: list[Result],
    ask_alone: Callable[[int], Awaitable[Result]],
) -> None:
    """Make failures of the rows whose inputs the server cut in silence.

    Its count of a whole pack doesn't say whose they are, so the longest input is asked alone, once in a run: it shows where
    the server cuts, or that the count of a pack means nothing.
    """
    habits = client.vectors
    if habits.window is None:
        second = await ask_alone(max(range(len(pack)), key=lambda place: pack[place].text_tokens))
        habits.counts_packs = isinstance(second, Failure) and second.kind == "truncated_input"
        if not habits.counts_packs:
            return
        habits.window = second.usage.input_tokens
    for place, request in enumerate(pack):
        result, cut = results[place], judge_count(habits.window, request.text_tokens)
        if cut is not None and isinstance(result, Completion):
            outcome = replace(outcome, complaint=cut)
            results[place] = failure_of(request.custom_id, outcome, result.usage, result.cost_usd)


def _vector_results(pack: Sequence[Request], outcome: Outcome, answer: Answer) -> list[Result]:
    shares = _share_usage(outcome.usage, outcome.cost_usd, [request.input_tokens for request in pack])
    results: list[Result] = []
    for request, vector, (usage, cost_usd) in zip(pack, answer.embeddings, shares, strict=True):
        if vector is None:
            useless = replace(outcome, complaint=_USELESS)
            results.append(failure_of(request.custom_id, useless, usage, cost_usd))
        else:
            results.append(completion_of(request.custom_id, outcome, answer, vector, usage, cost_usd))
    return results


_USELESS = Complaint(
    "invalid_response", "the embedding is empty, all zeros, or has numbers that aren't finite", is_worth_another=False
)
