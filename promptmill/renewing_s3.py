"""An S3 filesystem for storages that aren't AWS, and for credentials that expire while it is used.

botocore renews what it knows the end of: roles, single sign-on, a machine's own. A session token in the environment or in
the credentials file has no end that it knows, so a client that was made with one keeps it, whatever the file says later.
Since 1.36 botocore sends checksums of its own with whatever is written, and asks for some. Some storages refuse that:
Backblaze (home-assistant/core#143995, 2025-04-30), OVH (ovh/public-cloud-roadmap#781, 2025-05-07), Qumulo
(boto/botocore#3352, 2025-01-24). There, and nowhere else, requests go without them.
s3fs sends every request through `_call_s3` and can make its session again (s3fs 2026.9, core.py, read 2026-11-27).
"""

import asyncio
from typing import Any, cast

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
        "RequestExpired",
        "InvalidToken",
        "InvalidAccessKeyId",  # a key that was replaced and removed
        "403",  # an answer to HEAD has no body that would say more
    }
)
_CHECKSUM_REFUSED = frozenset(
    {
        "InvalidArgument",
        "InvalidRequest",
        "InvalidDigest",
        "BadDigest",
        "BadRequest",
        "NotImplemented",
        "AuthorizationHeaderMalformed",
        "MissingContentLength",
        "SignatureDoesNotMatch",
        "XAmzContentSHA256Mismatch",
        "400",  # of an answer to HEAD
        "501",
    }
)
_WITHOUT_CHECKSUMS = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
_LOOK_SECONDS = 5.0  # credentials that were found unchanged aren't read again before


class RenewingS3(S3FileSystem):
    """As s3fs's own; a request that is refused for expired credentials, or for a checksum, is sent once more without these."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._renewal = asyncio.Lock()
        self._looked_at = float("-inf")  # when credentials were found unchanged; seconds of the event loop's clock

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        client = await self.set_session()
        try:
            return await super()._call_s3(method, *arguments, **options)
        except (OSError, ClientError) as error:
            if not await self._is_worth_another(_code_of(error), client):
                raise
        return await super()._call_s3(method, *arguments, **options)

    call_s3 = sync_wrapper(_call_s3)  # s3fs binds its own to its own `_call_s3`

    async def _is_worth_another(self, code: str, refused: object) -> bool:
        """Whether a request that was refused with this code is sent differently from now on."""
        if code in _EXPIRED:
            return await self._has_renewed(refused)
        return code in _CHECKSUM_REFUSED and await self._has_dropped_checksums(refused)

    async def _has_dropped_checksums(self, refused: object) -> bool:
        """Whether requests go without the checksums that they had; False where they had none."""
        async with self._renewal:
            settings = cast(dict[str, Any], self.config_kwargs)
            if self._s3 is not refused or _WITHOUT_CHECKSUMS.items() <= settings.items():
                return self._s3 is not refused
            self.config_kwargs = settings | _WITHOUT_CHECKSUMS
            await self.set_session(refresh=True)
            return True

    async def _has_renewed(self, refused: object) -> bool:
        """Whether other credentials than those of the refused client are used from now on."""
        async with self._renewal:
            if self._s3 is not refused:
                return True
            now = asyncio.get_running_loop().time()
            if now - self._looked_at < _LOOK_SECONDS:
                return False
            if await _keys(self.session) == await _keys(AioSession(**self.kwargs)):
                self._looked_at = now
                return False
            await self.set_session(refresh=True)
            return True


setattr(RenewingS3, "_cache", cast(Any, S3FileSystem)._cache)  # noqa: B010 - its metaclass knows it; so that clearing the one clears the other


async def _keys(session: object) -> object:
    """What a session signs with; None where it finds nothing."""
    credentials = await cast(Any, session).get_credentials()
    return None if credentials is None else await credentials.get_frozen_credentials()


def _code_of(error: BaseException) -> str:
    """S3's own word for an error; s3fs keeps it in the cause."""
    for found in (error, error.__cause__):
        if isinstance(found, ClientError):
            return str(found.response.get("Error", {}).get("Code", ""))
    return ""
