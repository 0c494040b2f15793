"""Addresses that only the worker itself can reach: its own services, and the cloud's metadata with the worker's keys.

A name is looked up before it is judged, but that alone proves little: a server may redirect, and a name may change its
address between two look-ups. So a deployed run's HTTP client judges every address again when it connects to it.

Numbers such as 2130706433, 0x7f.1 and 0177.0.0.1 are addresses too: `inet_aton` reads them as a connect does.
Metadata outside the link-local ranges: AWS over IPv6 (fd00:ec2::254), Google over IPv6 (fd20:ce::254), Oracle over IPv6
(fd00:c1::a9fe:a9fe), Alibaba (100.100.100.200), Azure (168.63.129.16); the providers' documentation.
"""

import socket
from contextlib import suppress
from errno import EACCES
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a run without an http:// URL starts without it
    import aiohttp

_Address = IPv4Address | IPv6Address
_METADATA: frozenset[_Address] = frozenset(
    ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "100.100.100.200", "168.63.129.16")
)
_TRANSLATED = IPv6Network("64:ff9b::/96")  # IPv4 behind NAT64, RFC 6052
_COMPATIBLE = IPv6Network("::/96")  # IPv4 as RFC 4291 once wrote it; :: and ::1 are in it too


class AddressClosed(OSError):
    """A connection to an address that deployed runs may not reach."""


def is_closed(address: str) -> bool:
    """Whether an address is loopback, link-local, unspecified or a cloud's metadata service, in any spelling."""
    found = _parse(address)
    return found is not None and any(_is_closed(parsed) for parsed in (found, _inner(found)) if parsed is not None)


def addresses_of(host: str) -> tuple[str, ...]:
    """The addresses of a host as a connection would find them; a literal is its own, an unknown name has none.

    Blocks while it asks the resolver.
    """
    if _parse(host) is not None:
        return (host,)
    if host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost"):
        return ("127.0.0.1",)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(str(entry[4][0]) for entry in found)


async def guarded_client(**options: Any) -> "aiohttp.ClientSession":
    """A client of fsspec's HTTP filesystem that connects to no closed address, wherever a redirect or a name leads."""
    import aiohttp
    from fsspec.implementations.http import get_client

    connector = aiohttp.TCPConnector(socket_factory=_open_socket)
    return await get_client(**{**options, "connector": connector})


def _open_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket to one address that a name was resolved to. Raises: AddressClosed."""
    family, kind, protocol, _, address = info
    if is_closed(str(address[0])):
        raise AddressClosed(EACCES, f"{address[0]} is a loopback, link-local or metadata address")
    return socket.socket(family, kind, protocol)


def _parse(text: str) -> _Address | None:
    """An address out of its text: with brackets, a scope, or in the spellings that only `inet_aton` knows."""
    bare = text.strip("[]").partition("%")[0].rstrip(".")
    with suppress(ValueError):
        return ip_address(bare)
    with suppress(OSError):
        return IPv4Address(socket.inet_aton(bare))
    return None


def _inner(address: _Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED or address in _COMPATIBLE:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


def _is_closed(address: _Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in _METADATA
        or (isinstance(address, IPv4Address) and address.packed[0] == 0)  # 0.0.0.0/8 is this host on Linux
    )
