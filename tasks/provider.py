"""Exports the provider's block from its earlier place, for other people's code that imports it from here."""

from tasks.server.credentials import ProviderCredentials

__all__ = ["ProviderCredentials"]
