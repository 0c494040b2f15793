"""Many small objects of S3, each by one signed URL: botocore takes three times the CPU to send and read the same request.

Only a shortcut. Whatever it can't do (a proxy, another region's redirect, expired credentials, its own certificates) gives
None, and the caller asks s3fs, which knows all of that. The URLs hold signatures, so nothing of an error is told.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import aiohttp
from fsspec.asyn import sync

from promptmill.renewing_s3 import RenewingS3

_SECONDS = 60.0  # that an object may take
_VALID_SECONDS = 3_600


class PresignedReads:
    """Reads objects of one filesystem. Safe to use from many threads, one at a time."""

    def __init__(self, fs: RenewingS3) -> None:
        self._fs = fs
        self._signer: Any = None
        self._is_given_up = False

    def read(self, paths: Sequence[str], sizes: Sequence[int], at_once: int) -> list[bytes] | None:
        """The objects' bytes; None where one of them can't be read this way, or is of another size."""
        if self._is_given_up or self._fs.anon:
            return None
        try:
            return cast(list[bytes], sync(self._fs.loop, self._read_all, paths, sizes, at_once))
        except Exception:
            self._is_given_up = True
            return None

    async def _read_all(self, paths: Sequence[str], sizes: Sequence[int], at_once: int) -> list[bytes]:
        urls = [await self._url(path) for path in paths]
        places = asyncio.Semaphore(at_once)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SECONDS, sock_connect=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:

            async def read(url: str, size: int) -> bytes:
                async with places, session.get(url, allow_redirects=False) as answer:
                    answer.raise_for_status()
                    data = await answer.read()
                if answer.status != 200 or len(data) != size:
                    raise ValueError("another size than was listed")
                return data

            reading = [asyncio.create_task(read(url, size)) for url, size in zip(urls, sizes, strict=True)]
            try:
                return await asyncio.gather(*reading)
            finally:
                for task in reading:
                    task.cancel()

    async def _url(self, path: str) -> str:
        if self._signer is None:
            # botocore's own choice for a URL is the old signature, which newer buckets refuse
            config = cast(dict[str, Any], self._fs.config_kwargs) | {"signature_version": "s3v4"}
            options = {**self._fs.storage_options, "config_kwargs": config, "asynchronous": True}
            self._signer = await cast(Any, RenewingS3)(
                **options, loop=self._fs.loop, skip_instance_cache=True
            ).set_session()
        bucket, _, key = path.partition("/")
        parameters = {"Bucket": bucket, "Key": key, **cast(dict[str, Any], self._fs.req_kw)}
        return cast(
            str, await self._signer.generate_presigned_url("get_object", Params=parameters, ExpiresIn=_VALID_SECONDS)
        )
