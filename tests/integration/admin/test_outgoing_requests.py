"""Routes and certificates of what the server sends: directly, by a proxy, over TLS."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import DeliveryError, EngineError, LlmError
from meeting_assistant.domain.ports import AsrRequest, LlmRequest
from meeting_assistant.integrations.delivery.http import HttpTarget
from meeting_assistant.launcher import free_port, open_url
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.testing.doubles.llm_server import LlmServer

ASK = LlmRequest(system="Answer.", user="When?")
WINDOW = AsrRequest("s", "final", np.linspace(-1, 1, 16_000, dtype=np.float32))
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def ask(url: str, **settings: object) -> dict[str, object]:
    values = {"llm_provider_order": ("openai",), "openai_api_key": "k", "openai_base_url": url}
    llm = build_llm_service(Settings.model_validate({**values, "llm_max_retries": 0, **settings}))
    try:
        return (await llm.complete(ASK, extract_json)).value
    finally:
        await llm.close()


async def failure(url: str) -> LlmError:
    with pytest.raises(LlmError) as caught:
        await ask(url)
    return caught.value


# --- proxies ----------------------------------------------------------------------------------------------


class SocksProxy:
    """A SOCKS 5 proxy (RFC 1928) that leads every name to one port of this machine, and writes the names down."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.names: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        client.recv(256)
        client.sendall(b"\x05\x00")
        request = client.recv(512)
        assert request[3] == 3, "the name is resolved by the proxy"
        self.names.append(request[5 : 5 + request[4]].decode())
        with client, socket.create_connection(("127.0.0.1", self._port)) as target:
            client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            forth = threading.Thread(target=_pump, args=(client, target), daemon=True)
            forth.start()
            _pump(target, client)
            forth.join()

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(65_536):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    """What the environment names as the proxy for everything; it answers whatever it is asked."""
    with LlmServer().answer_with({"by": "proxy"}) as server:
        for name in PROXY_VARIABLES[:3]:
            monkeypatch.setenv(name, server.url)
        yield server


async def test_with_a_proxy_set_this_machine_is_asked_directly_on_every_path(proxy: LlmServer) -> None:
    with LlmServer().serving("m").answer_with({"text": "Yes."}) as server:
        assert await ask(f"{server.url}/v1") == {"text": "Yes."}
        engine = OpenAiTranscriptions(server.url, "whisper-1")
        with pytest.raises(EngineError):
            engine.transcribe([WINDOW])  # it is no server that transcribes, and it was asked
        engine.close()
        target = HttpTarget("The receiver")
        assert (await target.send("GET", f"{server.url}/v1/models")).is_success
        await target.close()
        with open_url(f"{server.url}/v1/models", timeout_s=5) as answer:
            assert answer.status == 200
    assert proxy.requests == proxy.looks == []


async def test_other_addresses_are_asked_by_the_proxy_unless_no_proxy_names_them(
    proxy: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ask("http://models.invalid.test/v1") == {"by": "proxy"}
    assert len(proxy.requests) == 1
    monkeypatch.setenv("NO_PROXY", "invalid.test")
    assert "cannot be reached" in (await failure("http://models.invalid.test/v1")).message
    assert len(proxy.requests) == 1


async def test_a_socks_proxy_carries_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    with LlmServer().answer_with({"n": 1}) as server:
        socks = SocksProxy(int(server.url.rpartition(":")[2]))
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{socks.port}")
        assert await ask("http://models.invalid.test/v1") == {"n": 1}
        socks.close()
    assert socks.names == ["models.invalid.test"]


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4"])
async def test_a_proxy_that_does_not_work_is_named_without_its_password(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:secret@{address}")
    error = await failure("https://models.invalid.test/v1")
    assert f"the proxy {scheme}://{address}" in error.message
    assert "NO_PROXY" in error.remedy
    assert "secret" not in error.message + error.remedy


async def test_a_proxy_that_wants_a_password_is_named(proxy: LlmServer) -> None:
    proxy.forget().answer_with_status(407)
    error = await failure("http://models.invalid.test/v1")
    assert f"the proxy {proxy.url}" in error.message
    assert "password" in error.remedy


# --- certificates -----------------------------------------------------------------------------------------


def certificate(folder: Path, *, address: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
    """A server's context with a certificate that is signed by itself; the file is `certificate.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    until = datetime.now(tz=UTC) + timedelta(days=days)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=30))
        .not_valid_after(until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def over_tls(server: LlmServer, context: ssl.SSLContext) -> str:
    """Put TLS before a server; the address of it."""
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    return server.url.replace("http:", "https:")


async def test_a_certificate_that_signs_itself_is_called_that_on_every_path(tmp_path: Path) -> None:
    server = LlmServer().answer_with({"n": 1})
    url = over_tls(server, certificate(tmp_path))
    with server:
        error = await failure(f"{url}/v1")
        engine = OpenAiTranscriptions(url, "whisper-1")
        with pytest.raises(EngineError) as of_engine:
            engine.transcribe([WINDOW])
        engine.close()
        target = HttpTarget("The receiver")
        with pytest.raises(DeliveryError) as of_target:
            await target.send("POST", url)
        await target.close()
    for one in (error, of_engine.value, of_target.value):
        assert "self-signed" in one.message
        assert "SSL_CERT_FILE" in one.remedy
    assert error.causes == ("llm_untrusted",)
    assert server.requests == []


async def test_a_certificate_that_the_operator_names_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = LlmServer().answer_with({"n": 1})
    url = over_tls(server, certificate(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with server:
        assert await ask(f"{url}/v1") == {"n": 1}


@pytest.mark.parametrize(
    ("address", "days", "cause", "remedy"),
    [
        ("127.0.0.1", -1, "has expired", "Renew"),
        ("127.0.0.2", 1, "does not name its IP address", "issue one that names"),
        ("127.0.0.1", 60, "not valid yet", "clock"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, days: int, cause: str, remedy: str
) -> None:
    server = LlmServer().answer_with({"n": 1})
    url = over_tls(server, certificate(tmp_path, address=address, days=days))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with server:
        error = await failure(f"{url}/v1")
    assert cause in error.message
    assert remedy in error.remedy


async def test_a_server_that_speaks_no_tls_is_called_that() -> None:
    with LlmServer().answer_with({"n": 1}) as server:
        error = await failure(server.url.replace("http:", "https:") + "/v1")
    assert "speaks no TLS" in error.message
    assert "http://" in error.remedy
