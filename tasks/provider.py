"""The provider's block at its earlier place, for code of others that imports it from here."""

from tasks.server.credentials import ProviderCredentials

__all__ = ["ProviderCredentials"]
