"""The part of a job that says what the model is asked."""

from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from promptmill.job.section import Section

Endpoint = Literal["chat.completions", "responses", "embeddings"]
StructuredMode = Literal["json_schema", "json_object", "prompt", "tool"]
_ANY_JSON = {"type": "json_object"}  # the only response_format that a job may set itself
_LOGPROBS = "message.output_text.logprobs"  # in `include` of responses
RESERVED_PARAMETERS = frozenset({"model", "messages", "input", "stream", "n", "response_format", "text"})


class Message(Section):
    """A message of a conversation; its strings are templates."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who speaks.")
    content: str | list[dict[str, JsonValue]] = Field(
        description="A template, or a list of content parts (text, image_url, …) whose strings are templates."
    )


class Tier(Section):
    """The service tier that rows are asked at."""

    prefer: Literal["flex"] = Field(
        default="flex", description="The tier to ask at: flex is cheaper, slower, and may be full."
    )
    fall_back: Literal["standard", "none"] = Field(
        default="standard",
        description="The tier for rows that the preferred one has no capacity for. none: wait for capacity.",
    )


class RequestSpec(Section):
    """What the job asks the model for each row."""

    endpoint: Endpoint = Field(default="chat.completions", description="The provider's endpoint.")
    model: str = Field(min_length=1, description="The model's name. There is no default: models come and go.")
    deployment: str | None = Field(
        default=None,
        min_length=1,
        description="The name that is sent instead of the model's, as of an Azure deployment or of a gateway's route. Prices, "
        "tokens and identity go by `model`.",
    )
    system: str | None = Field(
        default=None,
        description="System prompt: a Jinja2 template, columns by name.",
    )
    user: str | None = Field(
        default=None,
        description="User prompt: a Jinja2 template, columns by name. Required unless messages or input is given.",
    )
    messages: list[Message] | None = Field(
        default=None, description="The whole list of messages, instead of system and user."
    )
    input: str | None = Field(
        default=None,
        description="For embeddings: the template of the text.",
    )
    response_schema: str | dict[str, JsonValue] | None = Field(
        default=None,
        description="A JSON Schema as text (JSON or YAML that begins with a brace) or as an object, the path of one, or "
        '"package.module:PydanticModel". Answers are validated against it and its top-level properties become columns. '
        "Models answer in the order of its properties: a text keeps that order, an object takes it from `required`.",
    )
    structured: Literal["auto", "json_schema", "json_object", "prompt", "tool"] = Field(
        default="auto",
        description="How the provider is told of response_schema: as a JSON Schema, as JSON of any shape with the schema in "
        "the prompt, in the prompt alone, or as a tool. auto finds out in the first requests which of the first three it "
        "takes. Answers are checked here in any case.",
    )
    tier: Tier | None = Field(
        default=None, description="The service tier, and the one to fall back to. Instead of parameters.service_tier."
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Passed to the provider as they are: temperature, max_completion_tokens, …"
    )
    max_input_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Rows with more input tokens than this fail with context_length_exceeded and are never sent.",
    )
    allow_empty: bool = Field(
        default=False, description="Take an empty text for an answer. Otherwise such a row fails with empty_response."
    )
    same_for_all: bool = Field(
        default=False,
        description="Send every row the same request. Otherwise a prompt that uses no column is an error.",
    )
    answer_each_row: bool = Field(
        default=False,
        description="Ask for each row, also where an earlier row sends the same request. Otherwise the provider is asked "
        "once and all such rows take that answer. With same_for_all each row is asked in any case.",
    )

    @property
    def shares_answers(self) -> bool:
        """Whether rows with the same request take one answer."""
        return not (self.answer_each_row or self.same_for_all)

    @property
    def sent_model(self) -> str:
        """The model's name in requests."""
        return self.model if self.deployment is None else self.deployment

    @property
    def sent_parameters(self) -> dict[str, JsonValue]:
        """The values that go to the provider in addition to prompt and schema."""
        return self.parameters if self.tier is None else {**self.parameters, "service_tier": self.tier.prefer}

    @property
    def wants_confidence(self) -> bool:
        """Whether the job asks the provider for the probabilities of the answer's tokens."""
        asked = self.parameters.get("include")
        if self.endpoint == "responses":
            return isinstance(asked, list) and _LOGPROBS in asked
        return self.endpoint == "chat.completions" and self.parameters.get("logprobs") is True

    @field_validator("parameters")
    @classmethod
    def _refuse_reserved(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted(RESERVED_PARAMETERS & set(value))
        if value.get("response_format") == _ANY_JSON:
            taken.remove("response_format")
        if taken:
            raise ValueError(
                f"{', '.join(taken)} can't be set here; the job sets them from keys of its own (response_format: from "
                "response_schema and structured). Remove them"
            )
        return value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "RequestSpec":
        by_hand = "response_format" in self.parameters
        if by_hand and self.endpoint != "chat.completions":
            raise ValueError(f"{self.endpoint} takes no parameters.response_format. Remove it, or set structured")
        if by_hand and self.structured not in {"auto", "json_object"}:
            raise ValueError(
                f"parameters.response_format contradicts structured: {self.structured}. Remove one of them"
            )
        if self.structured != "auto" and self.response_schema is None:
            raise ValueError(
                f"structured: {self.structured} needs a response_schema. Give one, or leave structured out"
            )
        if self.tier is not None and (self.endpoint == "embeddings" or "service_tier" in self.parameters):
            raise ValueError("tier goes with texts only, and without parameters.service_tier. Remove one of them")
        tools = sorted({"tools", "tool_choice", "functions", "function_call"} & set(self.parameters))
        if tools and self.structured == "tool":
            raise ValueError(
                f"parameters.{tools[0]} contradicts structured: tool, which makes a tool of response_schema. Remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _require_prompt(self) -> "RequestSpec":
        asked = [name for name in ("user", "messages", "input") if getattr(self, name) is not None]
        if self.endpoint == "embeddings":
            if asked != ["input"] or self.system is not None:
                raise ValueError("embeddings take `input`, and no system, user or messages")
            if self.response_schema is not None:
                raise ValueError("embeddings have no response_schema")
        elif asked not in (["user"], ["messages"]):
            raise ValueError(f"{self.endpoint} takes `user` (with or without `system`), or `messages`; got {asked}")
        elif self.messages is not None and self.system is not None:
            raise ValueError("give `system` as the first of `messages`, or use `system` with `user`")
        return self
