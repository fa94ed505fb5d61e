"""Properties of the place that an address leads to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import gethostname, inet_aton
from urllib.parse import urlsplit

_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet")
_OLD_IPV4 = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+)){0,3}", re.IGNORECASE)


def origin_of(url: str) -> str:
    """Return scheme, host and port: safe to show, with neither a path nor credentials."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a host is written as; None for a name.

    An IPv4 address inside an IPv6 one is that IPv4 address.
    """
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_private(url: str) -> bool:
    """Return True when the address is this machine or one of a private network.

    That is an address of such a network, or a name that only such a network resolves: one without a dot, or with one
    of the endings that are reserved for it.
    """
    host = _host_of(url)
    address = address_of(host)
    if address is None:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_NAMES))
    return not address.is_unspecified and (address.is_private or address.is_link_local)


def is_loopback(url: str) -> bool:
    """Return True when the address is this machine."""
    host = _host_of(url)
    address = address_of(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def is_this_machine(url: str) -> bool:
    """Return True when a request to the address cannot leave this machine, however it is written.

    Besides loopback addresses: the address that stands for all of its own, older spellings (`127.1`), and its own host
    name.
    """
    host = _host_of(url)
    address = address_of(host) or _old_address_of(host)
    if address is None:
        return is_loopback(url) or host == gethostname().lower()
    return address.is_loopback or address.is_unspecified


def _old_address_of(host: str) -> IPv4Address | None:
    """Return the IPv4 address of a spelling that only systems' own resolvers take."""
    try:
        return IPv4Address(inet_aton(host)) if _OLD_IPV4.fullmatch(host) else None
    except OSError:
        return None


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".").lower()
