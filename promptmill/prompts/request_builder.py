"""Rows → requests: rendered templates in the body that the endpoint takes, with an identity and a token count.

The builder renders, counts and serialises once what is the same for every row; a row only fills the gaps.
Bodies are canonical (key_order.py): equal requests have equal bytes in every process, in whatever order the keys of the
job arrive. The identity of an embeddings request covers {input, model, parameters} of its own row. It covers neither the
rows that are sent in the same HTTP request nor the encoding that we ask for by default.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from promptmill.errors import JobError
from promptmill.job.identity import custom_id, request_digest, row_digest, unrendered_digest
from promptmill.job.key_order import canonical
from promptmill.job.spec import RequestSpec
from promptmill.prompts.body_pieces import cut_body, encode_text, gap
from promptmill.prompts.input_limit import limit_of
from promptmill.prompts.output_limit import output_limit
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.shared_prefix import PromptShape, by_prefix, cache_key_of
from promptmill.prompts.structured_modes import StructuredModes
from promptmill.prompts.templates import RowTemplate, RowUnrenderable, row_values
from promptmill.prompts.tokens import REPLY_TOKENS, TokenCounter, media_tokens
from promptmill.records import Request

__all__ = ["RequestBuilder", "RowUnrenderable"]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the body that each row fills."""

    template: RowTemplate
    is_counted: bool  # its text counts as tokens; an image's address doesn't


class RequestBuilder:
    """Makes the requests of one job. Safe to use from many threads."""

    def __init__(
        self,
        spec: RequestSpec,
        available_columns: Sequence[str],
        schema: ResponseSchema | None,
        counter: TokenCounter,
        context_tokens: int | None = None,
    ) -> None:
        """`context_tokens`: what the model reads at most, if that is known.

        Raises: JobError when a template can't be compiled, names a missing column or reaches out of the sandbox.
        """
        self._spec = spec
        self._counter = counter
        self._schema = schema
        self.structured = None if schema is None else StructuredModes(spec, schema, counter)
        self._available = list(available_columns)
        self._slots: list[_Slot] = []
        self.limit = limit_of(spec.max_input_tokens, context_tokens, counter)
        self._static_tokens = 0
        self.media_tokens = 0  # of these, those of images, files and sound, which are guessed
        self._other_tokens = 0  # of these, those of schema and media
        self.shape = PromptShape()
        self._is_embedding = spec.endpoint == "embeddings"
        self.max_output_tokens = 0 if self._is_embedding else output_limit(spec.parameters)
        body = self._body()
        self._pieces = cut_body(body)
        self._whole = body
        self._sent = None if spec.deployment is None else self._cut_with({"model": spec.deployment})
        self._gaps = [self._slots[int(number)] for number in self._pieces[1::2]]
        templates = [slot.template for slot in self._slots]
        self.columns: frozenset[str] = frozenset().union(*(template.columns for template in templates))
        self._needs_row = any(template.needs_row for template in templates)
        if not (self.columns or self._needs_row or spec.same_for_all):
            raise JobError(_same_for_all(self._available))
        self._columns = [name for name in self._available if name in self.columns]
        self._sources = orjson.dumps(_sources_of(spec), option=orjson.OPT_SORT_KEYS)

    def build(self, row: Mapping[str, object], row_id: object, repetition: int = 0, counted: int = 0) -> Request:
        """A row's request; `counted` is its input tokens, where they are known. Raises: RowUnrenderable."""
        values: dict[str, object] | None = None
        pieces = self._pieces.copy()
        tokens = counted or self._static_tokens
        for position, slot in enumerate(self._gaps):
            text = slot.template.join(row)
            if text is None:
                values = row_values(row, self._columns, needs_row=self._needs_row) if values is None else values
                text = slot.template.render(values)
            pieces[2 * position + 1] = encode_text(text, slot.template.label)
            if slot.is_counted and not counted:
                tokens += self._counter.count(text)
        if self._is_embedding and pieces[1] == b'""':
            raise RowUnrenderable(
                "request.input: the input is empty; the API refuses empty strings. Handle such rows in the template"
            )
        body = b"".join(pieces)
        identity = custom_id(request_digest(self._spec.endpoint, body), row_digest(row_id, repetition))
        if self._sent is not None:  # the identity is the model's, whatever else is sent
            pieces[::2] = self._sent
            body = b"".join(pieces)
        sent = pieces[1] if self._is_embedding else body
        return Request(identity, sent, tokens, self.max_output_tokens, tokens - self._other_tokens)

    def unrendered_custom_id(self, row_id: object, repetition: int = 0) -> str:
        """The id of a row whose template fails; it stays the same until the templates change."""
        return custom_id(unrendered_digest(self._spec.endpoint, self._sources), row_digest(row_id, repetition))

    def preview(self, request: Request) -> dict[str, Any]:
        """The body of the HTTP request that would be sent for this row alone."""
        body = self.embeddings_body([request.body]) if self._is_embedding else self.first_body(request)
        return cast(dict[str, Any], orjson.loads(body))

    def first_body(self, request: Request) -> bytes:
        """A request's body in the mode that a run begins with, which a batch keeps to; not for embeddings."""
        modes = self.structured
        return request.body if modes is None else modes.write(request.body, modes.modes[0])

    def send_also(self, metadata: Mapping[str, str], *, with_cache_key: bool) -> None:
        """Send metadata with each request, and `prompt_cache_key` where a provider could cache what the requests begin with.

        Neither changes a request's identity.
        """
        fields: dict[str, Any] = {"metadata": dict(metadata)} if metadata else {}
        if with_cache_key and self.shape.cacheable_tokens and "prompt_cache_key" not in self._spec.parameters:
            fields["prompt_cache_key"] = cache_key_of(self._pieces[0])
        if fields:
            self._sent = self._cut_with({"model": self._spec.sent_model, **fields})

    def send_order(self, requests: Sequence[Request]) -> list[Request]:
        """Requests in the order that lets a provider cache most of their prompts."""
        return list(requests) if self._is_embedding else by_prefix(requests, len(self._pieces[0]))

    @property
    def dimensions(self) -> int | None:
        """How long the job wants its vectors; None: it doesn't say."""
        asked = self._spec.parameters.get("dimensions")
        return asked if isinstance(asked, int) else None

    def embeddings_body(self, inputs: Iterable[bytes], *, is_base64: bool = True) -> bytes:
        """The HTTP body for the inputs of many rows, each a `Request.body`; the provider answers in their order.

        Base64 takes a quarter of the bytes of decimals; the job's own `encoding_format` goes before it.
        """
        parameters = {**({"encoding_format": "base64"} if is_base64 else {}), **self._spec.parameters}
        texts = orjson.Fragment(b"[" + b",".join(inputs) + b"]")
        return orjson.dumps(canonical({**parameters, "model": self._spec.sent_model, "input": texts}))

    def _cut_with(self, fields: Mapping[str, Any]) -> list[bytes]:
        """The constant pieces of the body with other fields, which don't change a request's identity."""
        return cut_body({**self._whole, **fields})[::2]

    def _body(self) -> dict[str, Any]:
        """The whole body, with a gap for each text that depends on the row."""
        spec, schema = self._spec, self._schema
        body: dict[str, Any] = {**spec.sent_parameters, "model": spec.model}
        if spec.endpoint == "embeddings":
            return {
                **body,
                "input": self._gap(RowTemplate("request.input", spec.input or "", self._available), is_counted=True),
            }
        if self.structured is not None:
            schema_tokens = self.structured.tokens[self.structured.modes[0]]
            self._other_tokens += schema_tokens
            self._static_tokens += schema_tokens
            self.shape.constant(schema_tokens)
        self._static_tokens += REPLY_TOKENS
        if spec.endpoint == "chat.completions":
            answer = {} if schema is None else {"response_format": schema.response_format()}
            return {**body, **answer, "messages": self._messages()}
        answer = {} if schema is None else {"text": {"format": schema.text_format()}}
        return {**body, **answer, "input": self._messages()}

    def _messages(self) -> list[dict[str, Any]]:
        spec = self._spec
        if spec.messages is None:
            asked = [("system", "request.system", spec.system), ("user", "request.user", spec.user)]
        else:
            asked = [
                (message.role, f"request.messages[{number}].content", message.content)
                for number, message in enumerate(spec.messages)
            ]
        return [self._message(role, content, label) for role, label, content in asked if content is not None]

    def _message(self, role: str, content: str | Sequence[Mapping[str, Any]], label: str) -> dict[str, Any]:
        self._static_tokens += self._counter.message_tokens(role)
        if isinstance(content, str):
            return {"role": role, "content": self._text(content, label, is_counted=True)}
        return {
            "role": role,
            "content": [self._part(part, f"{label}[{number}]") for number, part in enumerate(content)],
        }

    def _part(self, part: Mapping[str, Any], label: str) -> dict[str, Any]:
        """A content part; a part without text (an image, a file, sound) counts as one image."""
        media = 0 if "text" in part else media_tokens(part)
        self.media_tokens += media
        self._static_tokens += media
        self._other_tokens += media
        return {key: self._tree(value, f"{label}.{key}", is_counted=key == "text") for key, value in part.items()}

    def _tree(self, value: Any, label: str, *, is_counted: bool) -> Any:
        if isinstance(value, str):
            return self._text(value, label, is_counted=is_counted)
        if isinstance(value, list):
            elements = enumerate(cast(list[Any], value))
            return [self._tree(element, f"{label}[{i}]", is_counted=is_counted) for i, element in elements]
        if isinstance(value, dict):
            items = cast(dict[str, Any], value).items()
            return {key: self._tree(inner, f"{label}.{key}", is_counted=is_counted) for key, inner in items}
        return value

    def _text(self, source: str, label: str, *, is_counted: bool) -> str | orjson.Fragment:
        """The text itself when it is the same for every row, else a gap."""
        template = RowTemplate(label, source, self._available)
        if not template.is_static:
            self.shape.constant(self._counter.count(template.first_text) if is_counted else 0)
            self.shape.varies(label)
            self.shape.constant(self._counter.count(template.later_text) if is_counted else 0)
            return self._gap(template, is_counted=is_counted)
        try:
            text = template.render(row_values({}, (), needs_row=False))
            encode_text(text, label)
        except RowUnrenderable as error:
            raise JobError(f"{error}; every row fails in this way. Fix the template.") from error
        tokens = self._counter.count(text) if is_counted else 0
        self._static_tokens += tokens
        self.shape.constant(tokens)
        return text

    def _gap(self, template: RowTemplate, *, is_counted: bool) -> orjson.Fragment:
        self._slots.append(_Slot(template, is_counted))
        return gap(len(self._slots) - 1)


def _same_for_all(available: Sequence[str]) -> str:
    """The error of a prompt that names no column. Prefect renders prefect.yaml and automations itself."""
    column = f"{{{{ {available[0] if available else 'text'} }}}}"
    return (
        "no template of the request uses a column, so every row would get the same request. Name a column, as in "
        f"{column}. Where the job stands in prefect.yaml or an automation, Prefect renders {column} to nothing before a "
        "run sees it: give the job's URL as job_url there. To send every row the same: request.same_for_all: true."
    )


def _sources_of(spec: RequestSpec) -> dict[str, Any]:
    """The templates as the job has them."""
    return spec.model_dump(mode="json", include={"system", "user", "messages", "input"})
