"""Makes Prefect's client try a call to the server only once. For prefect 3.8.8, `prefect.client.base`.

By itself the client tries six times and waits two seconds or more after each. It reads the setting at each call. An answer
of 408, 429, 502 or 503 comes only after the pause that would precede a second try, of about two seconds.

Prefect's own `temporary_settings` builds all settings from the environment again, which takes 12 ms of CPU; a process
that leases a limit does this several times a second. So we keep the changed settings while their base is in use.
"""

from collections.abc import Generator
from contextlib import contextmanager

from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings

_last: tuple[Settings, Settings] | None = None  # the settings in force, and the same settings with a single try


@contextmanager
def calling_once() -> Generator[Settings]:
    """While this lasts, a failed call raises at once."""
    context = get_settings_context()
    settings = _with_a_single_try(context.settings)
    with SettingsContext(profile=context.profile, settings=settings):
        yield settings


def _with_a_single_try(base: Settings) -> Settings:
    global _last  # noqa: PLW0603 - one entry is enough: a process's settings change only in tests
    if _last is None or _last[0] is not base:
        _last = base, base.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
    return _last[1]
