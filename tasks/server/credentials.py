"""Reads credentials from the environment or from a block that keeps a key together with the only host that may get it.

A person who may only start runs can name a block, but can neither read its key nor send it elsewhere.
"""

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from pydantic import Field, SecretStr

from promptmill.errors import CredentialsError
from promptmill.provider.addresses import with_version
from promptmill.provider.transport import Credentials


class ProviderCredentials(Block):
    """How to reach an OpenAI-compatible provider."""

    _block_type_name = "Promptmill Provider"
    _block_type_slug = "promptmill-provider"
    _description = "An OpenAI-compatible provider: its address and the key that may be sent there, kept together."

    api_key: SecretStr = Field(description="The provider's key.")
    base_url: str | None = Field(
        default=None, description="The provider's address; of Azure, the resource's endpoint. Default: OpenAI's own."
    )
    api_version: str | None = Field(
        default=None,
        description="Azure's api-version, which goes with every request; leave it out for Azure's v1 address.",
    )
    organization: str | None = Field(default=None, description="OpenAI organization.")
    project: str | None = Field(default=None, description="OpenAI project.")
    default_headers: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        description="Headers sent with every request, as a gateway's token; as secret as the key.",
    )


async def load_credentials(provider: str | None) -> Credentials:
    """The credentials that a job names; those of the environment if it names none. Raises: CredentialsError."""
    if provider is None:
        return Credentials()
    try:
        block = await ProviderCredentials.aload(provider)
    except ValueError as error:
        raise CredentialsError(
            f"there is no provider block named {provider!r}; a job's `provider` names one of type Promptmill Provider. "
            "Make it in the Prefect UI under Blocks, or leave `provider` out to use OPENAI_API_KEY."
        ) from error
    return credentials_of(block)


def credentials_of(block: ProviderCredentials) -> Credentials:
    """The credentials in a block."""
    return Credentials(
        block.api_key.get_secret_value(),
        with_version(block.base_url or "https://api.openai.com/v1", block.api_version),
        block.organization,
        block.project,
        block.default_headers.get_secret_value(),
    )
