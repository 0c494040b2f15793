"""Requests through the proxy that HTTPS_PROXY and the like name, by aiohttp, which knows how proxies are spoken to."""

from collections.abc import Mapping

import aiohttp

from promptmill.provider.raw_answer import AnswerTooLarge, Broken, RawAnswer, Unreached


class Proxied:
    """A pool of connections through one proxy; lives on one event loop."""

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        proxy: str,
        most_connections: int,
        timeout_seconds: float,
        connect_seconds: float,
        most_bytes: int,
    ) -> None:
        """`most_bytes`: of a body, as it is sent."""
        self._most_bytes = most_bytes
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most_connections, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=connect_seconds),
            headers=headers,
            auto_decompress=False,  # some servers say gzip of a plain body, or say nothing of a compressed one
            proxy=proxy,
        )

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Send these from now on."""
        self._session.headers.clear()
        self._session.headers.update(headers)

    async def post(self, url: str, body: bytes) -> RawAnswer:
        """As `Carrier.post`."""
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                headers = {name.lower(): value for name, value in reversed(list(response.headers.items()))}
                return RawAnswer(response.status, headers, await self._body(response, headers))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unreached(f"{type(error).__name__}: {error}") from None
        except aiohttp.ClientError as error:
            if isinstance(error, TimeoutError):
                raise TimeoutError from None
            raise Broken(f"{type(error).__name__}: {error}") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _body(self, response: aiohttp.ClientResponse, headers: Mapping[str, str]) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > self._most_bytes:
                    response.close()
                    raise AnswerTooLarge
                pieces.append(piece)
        except aiohttp.ClientPayloadError as error:
            partial = RawAnswer(response.status, headers, b"".join(pieces))
            raise Broken(f"{type(error).__name__}: {error}", partial) from None
        return b"".join(pieces)
