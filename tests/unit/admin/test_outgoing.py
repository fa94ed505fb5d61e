"""The list of what leaves the machine."""

from __future__ import annotations

import pytest

from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
from meeting_assistant.bootstrap.outgoing import outgoing
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.store_address import parse_store_address

EVERYTHING = {
    "asr_engine": "openai",
    "asr_server": {"base_url": "http://127.0.0.1:8001/v1"},
    "vllm_base_url": "http://gpu.local:8001",
    "openai_api_key": "sk-secret",
    "llm_provider_order": ("vllm", "openai", "anthropic"),
    "audio_store_url": "s3://KEY:SECRET@recordings/here?endpoint=https://minio.example.com:9000",
    "database_url": "postgresql://user:password@db.example.com/meetings",
    "otel_exporter_otlp_endpoint": "http://localhost:4318",
    "workflows": {
        "webhook": {"urls": "https://hooks.example.com/path/secret", "secrets": "whsec_" + "QUJD" * 10},
        "jira": {
            "url": "https://example.atlassian.net",
            "project": "OPS",
            "email": "a@b.example",
            "token": "t",
        },
        "email": {"host": "mail.example.com", "sender": "notes@example.com", "recipients": "ana@example.com"},
    },
}


@pytest.fixture(autouse=True)
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass@proxy.example.com:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://user:pass@proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "minio.example.com")
    for name in ("https_proxy", "http_proxy", "all_proxy", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_every_address_is_listed_with_what_it_gets_and_by_which_route() -> None:
    listed = {item.receiver: item for item in outgoing(Settings.model_validate(EVERYTHING))}
    proxied = "by http://proxy.example.com:3128: HTTPS_PROXY names it"
    assert {name: (item.address, str(item.route)) for name, item in listed.items()} == {
        "speech recognition": ("http://127.0.0.1:8001", "direct: it is this machine"),
        "language model (vllm)": ("http://gpu.local:8001", "direct: it is in a private network"),
        "language model (openai)": ("https://api.openai.com", proxied),
        "E-mail": ("smtp://mail.example.com:587", "direct: no proxy speaks its protocol"),
        "Webhook": ("https://hooks.example.com", proxied),
        "Jira": ("https://example.atlassian.net", proxied),
        "object store": ("https://minio.example.com:9000", "direct: NO_PROXY names it"),
        "database": ("postgresql://db.example.com", "direct: no proxy speaks its protocol"),
        "traces": ("http://localhost:4318", "direct: it is this machine"),
    }
    assert listed["speech recognition"].content == "the sound of meetings"
    rows = [item.as_check() for item in listed.values()]
    assert all(row.ok for row in rows)
    shown = str(rows)
    assert not any(secret in shown for secret in ("secret", "SECRET", "password", "pass@"))


def test_a_proxy_that_cannot_be_used_fails_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks4://proxy.example.com:1080")
    settings = Settings.model_validate({"llm_provider_order": ("openai",), "openai_api_key": "k"})
    (row,) = [item.as_check() for item in outgoing(settings)]
    assert not row.ok
    assert "socks5h" in row.remedy or "socks5" in row.remedy


def test_by_default_only_this_machine_is_asked() -> None:
    assert [item.address for item in outgoing(Settings())] == ["http://localhost:8001"]


@pytest.mark.parametrize(
    ("endpoint", "chosen"),
    [
        ("http://127.0.0.1:9000", {}),
        ("https://minio.example.com", {}),
        (
            "https://s3.example.com",
            {
                "http": "http://user:pass@proxy.example.com:3128",
                "https": "http://user:pass@proxy.example.com:3128",
            },
        ),
    ],
)
def test_the_object_store_follows_the_same_rule(endpoint: str, chosen: dict[str, str]) -> None:
    store = ObjectStore(parse_store_address(f"s3://KEY:SECRET@bucket?endpoint={endpoint}"))
    assert store._files.config_kwargs["proxies"] == chosen


def test_an_object_store_behind_a_socks_proxy_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example.com:1080")
    with pytest.raises(ConfigurationError, match="cannot be reached by the proxy socks5"):
        ObjectStore(parse_store_address("s3://KEY:SECRET@bucket?endpoint=https://s3.example.com"))
