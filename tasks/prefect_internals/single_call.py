"""Calls to the server that Prefect's client tries once only. For prefect 3.8.8, `prefect.client.base`.

By itself the client tries six times and waits two seconds or more after each. It reads the setting at each call. An answer
of 408, 429, 502 or 503 comes only after the pause that would precede a second try, of about two seconds.
"""

from contextlib import AbstractContextManager

from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings


def calling_once() -> AbstractContextManager[Settings]:
    """While this lasts, a call that fails raises at once."""
    return temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
