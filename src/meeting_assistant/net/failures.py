"""Ways in which an exchange over HTTP fails, each with a name and, where it is the same for everybody, a remedy."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from meeting_assistant.net.routes import PROXY_SCHEMES, Route


class HttpFailure(Enum):
    """Kinds of failure that leave an exchange without a usable answer."""

    BAD_ADDRESS = "bad address"
    """The address is malformed, or of a protocol other than HTTP; nothing was sent."""
    UNREACHABLE = "unreachable"
    """There was no connection; nothing was sent."""
    UNTRUSTED = "not trusted"
    """There was a connection, and no safe one: the certificate is not trusted, or there is no TLS. Nothing was sent."""
    PROXY_FAILED = "proxy failed"
    """The proxy that the environment names let the request not through; the proxy may have seen it."""
    TIMED_OUT = "timed out"
    """The request may have arrived."""
    INTERRUPTED = "interrupted"
    """The connection was lost; the request may have arrived."""
    UNREADABLE = "unreadable"
    """The answer is compressed in a way that cannot be undone."""
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class HttpProblem:
    """A failure, and what can be said about it without knowing who was called."""

    failure: HttpFailure
    cause: str = ""
    """Continues a sentence about the server, such as `has a certificate that …`; empty where the kind says it all."""
    remedy: str = ""


HttpErrors = Callable[[HttpProblem], Exception]
"""Returns the error to raise. Nothing that a server sent goes into one: servers echo what they were sent."""


def tls_error_in(error: BaseException) -> ssl.SSLError | None:
    """Return the error of TLS that lies behind an exception."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, ssl.SSLError):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


_SELF_SIGNED, _SELF_SIGNED_AUTHORITY, _UNKNOWN_AUTHORITY, _UNVERIFIED = 18, 19, 20, 21
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
"""Results of verification: `X509_V_ERR_…` in OpenSSL's manual page X509_STORE_CTX_get_error(3)."""
_CAUSES = {
    _SELF_SIGNED: "has a certificate that it signed itself (self-signed), which this machine does not trust",
    _SELF_SIGNED_AUTHORITY: "has a certificate of an authority that signed itself (self-signed), which this machine "
    "does not trust",
    _UNKNOWN_AUTHORITY: "has a certificate of an authority that this machine does not know",
    _UNVERIFIED: "has a certificate whose authority it does not send and this machine does not know",
    _NOT_YET_VALID: "has a certificate that is not valid yet",
    _EXPIRED: "has a certificate that has expired",
    _OTHER_NAME: "has a certificate for another name",
    _OTHER_ADDRESS: "has a certificate that does not name its IP address",
}
_TRUST = (
    "If you trust it: save its certificate, or that of its authority, as a PEM file, set SSL_CERT_FILE to the path of "
    "that file, and start this program again."
)
_REMEDIES = {
    _NOT_YET_VALID: "Check the clock of this machine.",
    _EXPIRED: "Renew the certificate on that server.",
    _OTHER_NAME: "Use the name that the certificate is for, or issue one for the name in the address.",
    _OTHER_ADDRESS: "Use the name that the certificate is for, or issue one that names the IP address.",
}


def tls_problem(error: ssl.SSLError) -> HttpProblem:
    """Return what is wrong with a server's TLS, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        cause = _CAUSES.get(code, "has a certificate that cannot be verified")
        return HttpProblem(HttpFailure.UNTRUSTED, cause, _REMEDIES.get(code, _TRUST))
    if error.reason in {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
    }:
        return HttpProblem(
            HttpFailure.UNTRUSTED,
            "speaks no TLS at this port",
            "Write http:// in its address, or the port where it speaks HTTPS.",
        )
    return HttpProblem(
        HttpFailure.UNTRUSTED,
        "and this machine agree on no way to speak TLS",
        "Look at that server's own log: it may want a newer or older version of TLS, or a certificate of the client.",
    )


def proxy_problem(route: Route) -> HttpProblem:
    """Return what is wrong with the proxy of a route, and what to do."""
    if not route.is_usable:
        return HttpProblem(
            HttpFailure.PROXY_FAILED,
            f"cannot be asked by the proxy {route.shown_proxy}: its protocol is not one of "
            f"{', '.join(sorted(PROXY_SCHEMES))}",
            "Write its address with one of these (a SOCKS proxy: socks5h://), or name the server in NO_PROXY.",
        )
    return HttpProblem(
        HttpFailure.PROXY_FAILED,
        f"was not reached by the proxy {route.shown_proxy} ({route.reason})",
        "Check that proxy and its password, or name the server in NO_PROXY to reach it directly.",
    )
