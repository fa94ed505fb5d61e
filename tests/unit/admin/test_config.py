"""Settings: which values are accepted, which are refused with what message, and how they are shown."""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.config import (
    Settings,
    effective,
    env_example,
    load_settings,
    markdown,
    unknown_variables,
)
from meeting_assistant.config.settings import SECTIONS
from meeting_assistant.domain.access import Scope
from meeting_assistant.domain.errors import ConfigurationError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clear all settings of the environment, and use a `.env` of the test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    """Return the message with which an invalid value stops the start."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as stopped:
        load_settings()
    assert stopped.value.__context__ is None or stopped.value.__suppress_context__
    return stopped.value.message


# --- defaults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        ("HTTP_HOST", "127.0.0.1"),
        ("HTTP_PORT", 8000),
        ("SHUTDOWN_GRACE_SECONDS", 20),
        ("SESSION_GRACE_SECONDS", 600),
        ("MAX_UPLOAD_BYTES", 2 * 1024**3),
        ("AUDIO_STORAGE", "journal"),
        ("AUDIO_ENCRYPTION_KEY", None),
        ("ASR_ENGINE", "auto"),
        ("ASR_MODEL_ID", "medium"),
        ("ASR_LANGUAGE", None),
        ("ASR_COMPUTE_TYPE", "auto"),
        ("DIARIZATION_ENGINE", "embedded"),
        ("NEMO_DIARIZATION_ENABLED", False),
        ("ORCHESTRATOR_BACKEND", "local"),
        ("INFERENCE_WORKERS", 2),
        ("INFERENCE_BATCH_SIZE", 8),
        ("LLM_PROVIDER_ORDER", ("vllm", "xai", "openai", "azure", "anthropic", "gemini", "embedded")),
        ("LLM_MAX_RETRIES", 2),
        ("LLM_BACKOFF_SECONDS", 0.5),
        ("VLLM_BASE_URL", "http://localhost:8001"),
        ("VLLM_MODEL_ID", "meta-llama-3-8b-instruct"),
        ("VLLM_COMPLETIONS_ENDPOINT", "/v1/chat/completions"),
        ("XAI_MODEL_ID", "grok-latest"),
        ("MEETING_LOG_PATH", None),
    ],
)
def test_the_defaults_are_the_documented_ones(variable: str, default: object) -> None:
    assert getattr(load_settings(), variable.lower()) == default


def test_the_data_directory_belongs_to_the_user() -> None:
    path = load_settings().data_dir
    assert path.is_absolute()
    assert path.name == "meeting-assistant"


def test_the_number_of_settings_is_limited() -> None:
    assert len(Settings.model_fields) <= 70


# --- reading ----------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("HTTP_PORT=9001\nHTTP_HOST=::1\n")
    monkeypatch.setenv("HTTP_PORT", "9002")
    settings = load_settings()
    assert (settings.http_host, settings.http_port) == ("::1", 9002)


def test_an_empty_value_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "")
    monkeypatch.setenv("HTTP_PORT", " ")
    settings = load_settings()
    assert settings.xai_api_key is None
    assert settings.http_port == 8000
    assert not settings.is_set("XAI_API_KEY")


def test_settings_know_which_values_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL_ID", "medium")
    settings = load_settings()
    assert settings.is_set("ASR_MODEL_ID")
    assert settings.is_set("asr_model_id")
    assert not settings.is_set("ASR_ENGINE")


def test_keywords_are_read_in_any_case_and_lists_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", " WARNING ")
    monkeypatch.setenv("LLM_PROVIDER_ORDER", "OpenAI, embedded")
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://a.example, http://b.example:8080 ,")
    settings = load_settings()
    assert settings.log_level == "warning"
    assert settings.llm_provider_order == ("openai", "embedded")
    assert settings.allowed_origins == ("https://a.example", "http://b.example:8080")


def test_sizes_can_have_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "500MB")
    assert load_settings().max_upload_bytes == 500_000_000


def test_paths_are_made_absolute_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR", "recordings")
    settings = load_settings()
    monkeypatch.chdir("/")
    assert settings.data_dir == tmp_path / "recordings"


def test_trailing_slashes_of_addresses_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu.example:8001/")
    assert load_settings().vllm_base_url == "http://gpu.example:8001"


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().http_port = 1  # type: ignore[misc]


def test_variables_of_other_programs_are_ignored() -> None:
    Path(".env").write_text("EDITOR=vi\n")
    assert load_settings(".env").http_port == 8000


# --- values that cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("ASR_ENGINE", "whisper", "auto, moonshine, faster-whisper, openai"),
        ("AUDIO_STORAGE", "disk", "journal, memory"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("DIARIZATION_ENGINE", "yes", "embedded, pyannote, nemo, off"),
        ("ORCHESTRATOR_BACKEND", "celery", "local, redis"),
        ("ASR_COMPUTE_TYPE", "int4", "auto, default, int8"),
        ("NEMO_DIARIZATION_ENABLED", "perhaps", "true, false"),
        ("HTTP_PORT", "80000", "a whole number from 0 to 65535"),
        ("HTTP_PORT", "http", "a whole number from 0 to 65535"),
        ("HTTP_HOST", "http://localhost", "a host name or an IP address"),
        ("ENDPOINTING__THRESHOLD", "1.5", "a number from 0.1 to 0.95"),
        ("LLM_TIMEOUT_SECONDS", "0", "a number above 0 and up to 3600"),
        ("LLM_PROVIDER_ORDER", "vllm,chatgpt", "any of vllm, xai, openai"),
        ("LLM_PROVIDER_ORDER", "vllm,vllm", "each once"),
        ("VLLM_BASE_URL", "localhost:8001", "http:// or https://"),
        ("VLLM_COMPLETIONS_ENDPOINT", "chat", "a path that begins with /"),
        ("ALLOWED_ORIGINS", "https://a.example/page", "origins such as"),
        ("ASR_LANGUAGE", "the usual one", "a language tag"),
        ("AUDIO_RETENTION", "forever", "keep"),
        ("LLM_OPTIONS__VLLM__TIMEOUT_SECONDS", "soon", "above 0 and up to 3600"),
        ("LLM_OPTIONS__VLLM__PATIENCE", "30", "TIMEOUT_SECONDS"),
        ("MAX_UPLOAD_BYTES", "plenty", "a size such as 500MB or 2GiB"),
    ],
)
def test_an_invalid_value_is_refused_with_its_variable_and_the_allowed_values(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, allowed: str
) -> None:
    message = refusal(monkeypatch, variable, value)
    assert message.startswith(f"{variable}={value} cannot be used")
    assert allowed in message


def test_options_of_an_unknown_provider_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, "LLM_OPTIONS__CHATGPT__TIMEOUT_SECONDS", "30")
    assert "LLM_OPTIONS__CHATGPT" in message
    assert "vllm, xai, openai" in message


def test_all_invalid_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_ENGINE", "whisper")
    assert "ASR_ENGINE=whisper" in refusal(monkeypatch, "HTTP_PORT", "http")


@pytest.mark.parametrize("kept", ["keep", "days:30", "delete-after-minutes"])
def test_retention_accepts_durations_and_keywords(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    monkeypatch.setenv("AUDIO_RETENTION", kept)
    assert load_settings().audio_retention == kept


@pytest.mark.parametrize("wrong", ["days", "days:0", "days:-1", "days:999999", "30", "forever"])
def test_an_invalid_retention_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    assert "days:N" in refusal(monkeypatch, "AUDIO_RETENTION", wrong)


# --- tokens -----------------------------------------------------------------------------------------------

LONG = "abcdefghijklmnopqrstuvwxyz"


def test_tokens_have_a_name_and_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"another-token-of-enough-length").hexdigest()
    monkeypatch.setenv("API_TOKENS", f"ana:{LONG}, ops:admin:{LONG}2, ben:read:sha256={digest}")
    ana, ops, ben = load_settings().token_grants()
    assert (ana.owner, ana.scopes) == ("ana", frozenset({Scope.RECORD, Scope.READ}))
    assert (ops.owner, ops.scopes) == ("ops", frozenset({Scope.ADMIN}))
    assert ana.fits(LONG)
    assert not ana.fits(LONG + "2")
    assert ben.fits("another-token-of-enough-length")


@pytest.mark.parametrize(
    "wrong", [LONG, f":{LONG}", "ana:short", f"ana:boss:{LONG}", f"a b:{LONG}", f"ana:{LONG},ben:{LONG}"]
)
def test_an_invalid_token_is_refused_and_not_echoed(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    assert LONG not in refusal(monkeypatch, "API_TOKENS", wrong)


def test_an_env_file_that_is_not_text_is_named() -> None:
    Path(".env").write_bytes(b"HTTP_PORT=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        load_settings()


# --- secrets ----------------------------------------------------------------------------------------------


def test_several_encryption_keys_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Fernet.generate_key().decode() for _ in range(3)]
    monkeypatch.setenv("AUDIO_ENCRYPTION_KEY", ", ".join(keys))
    assert load_settings().audio_encryption_keys() == keys


def test_without_an_encryption_key_the_list_is_empty() -> None:
    assert load_settings().audio_encryption_keys() == []


def test_an_invalid_encryption_key_is_named_by_position_and_not_echoed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = Fernet.generate_key().decode()
    short = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()
    message = refusal(monkeypatch, "AUDIO_ENCRYPTION_KEY", f"{right},{short}")
    assert "key 2 of 2 is not a Fernet key" in message
    assert right not in message
    assert short not in message


def test_options_of_a_provider_and_of_an_integration_have_two_underscores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLM_OPTIONS__VLLM__TIMEOUT_SECONDS", "30")
    monkeypatch.setenv("WORKFLOWS__JIRA__API_TOKEN", "12345")
    Path(".env").write_text("WORKFLOWS__JIRA__PROJECT=OPS\n")
    settings = load_settings()
    assert settings.llm_options["vllm"].timeout_seconds == 30
    jira = settings.workflows["jira"]
    assert {name: value.get_secret_value() for name, value in jira.items()} == {
        "api_token": "12345",
        "project": "OPS",
    }
    shown = {row.variable: row.value for row in effective(settings)}
    assert shown["LLM_OPTIONS"] == "vllm: timeout_seconds=30.0"
    assert shown["WORKFLOWS"] == "jira: project=******** api_token=********"
    assert "12345" not in repr(settings)
    assert unknown_variables() == []


def test_secrets_are_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-show")
    monkeypatch.setenv("REDIS_URL", "redis://user:do-not-show@redis.example/0")
    monkeypatch.setenv("VLLM_BASE_URL", "http://user:do-not-show@gpu.example")
    settings = load_settings()
    shown = {row.variable: row.value for row in effective(settings)}
    assert "do-not-show" not in " ".join(shown.values())
    assert shown["VLLM_BASE_URL"] == "http://***@gpu.example"
    assert "sk-do-not-show" not in repr(settings)


def test_a_password_in_an_invalid_address_is_not_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in refusal(monkeypatch, "VLLM_BASE_URL", "ftp://me:hunter2@gpu.example")


@pytest.mark.parametrize(
    ("variable", "value", "is_shown"),
    [
        ("FLEET__SECRET", "hunter2", False),
        ("FLEET__SECERT", "hunter2", False),
        ("FLEET__CALLBACK_SECRET", "hunter2", False),
        ("FLEET", "hunter2", False),
        ("ASR_SERVER__APIKEY", "hunter2", False),
        ("FLEET__SLOTS", "many", True),
        ("FLEET__CALLBACK_URL", "gopher://here", True),
    ],
)
def test_a_secret_part_of_a_group_is_not_echoed_however_its_name_is_written(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, is_shown: bool
) -> None:
    assert (value in refusal(monkeypatch, variable, value)) == is_shown


def test_the_former_name_of_the_secret_of_a_fleet_leads_to_the_present_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "CALLBACK_SECRET is SECRET now" in refusal(monkeypatch, "FLEET__CALLBACK_SECRET", "whsec_abc")


# --- variables that are no settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ASR_ENGIN", "ASR_ENGINE"),
        ("LLM_PROVIDERS_ORDER", "LLM_PROVIDER_ORDER"),
        ("AUDIO_ENCRYPTION_KEYS", "AUDIO_ENCRYPTION_KEY"),
        ("HTTP_PROT", "HTTP_PORT"),
        ("XAI_APIKEY", "XAI_API_KEY"),
    ],
)
def test_a_misspelt_setting_is_reported_with_a_suggestion(typed: str, meant: str) -> None:
    assert unknown_variables({typed: "x"}) == [f"{typed} is not a setting. Did you mean {meant}?"]


def test_an_unknown_variable_with_one_of_our_prefixes_is_reported() -> None:
    assert unknown_variables({"INFERENCE_QUANTUM_MODE": "on"}) == ["INFERENCE_QUANTUM_MODE is not a setting."]


def test_a_renamed_setting_is_reported_with_its_new_name() -> None:
    assert unknown_variables({"MAX_SESSIONS_PER_OWNER": "2"}) == [
        "MAX_SESSIONS_PER_OWNER is not a setting. It is called CLIENT_LIMITS__SESSIONS_PER_OWNER now."
    ]


@pytest.mark.parametrize(
    "unknown", ["HTTP_PROXY", "OPENAI_ORG_ID", "VLLM_USE_V1", "HF_HOME", "PATH", "DATA_ROOT"]
)
def test_variables_of_other_programs_are_not_reported(unknown: str) -> None:
    assert unknown_variables({unknown: "x"}) == []


def test_a_known_setting_is_not_reported() -> None:
    assert unknown_variables({name.upper(): "x" for name in Settings.model_fields}) == []


def test_the_env_file_is_checked_as_well() -> None:
    Path(".env").write_text("ASR_ENGIN=moonshine\n")
    assert "ASR_ENGIN is not a setting. Did you mean ASR_ENGINE?" in unknown_variables()


# --- what is shown ----------------------------------------------------------------------------------------


def test_effective_values_name_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "8001")
    rows = {row.variable: row for row in effective(load_settings())}
    assert (rows["HTTP_PORT"].value, rows["HTTP_PORT"].source) == ("8001", "set")
    assert (rows["LLM_LOCAL_ONLY"].value, rows["LLM_LOCAL_ONLY"].source) == ("false", "default")
    assert rows["HF_TOKEN"].value == "(not set)"


def test_every_setting_is_described_everywhere() -> None:
    page, example = markdown(), env_example()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `{name.upper()}` |" in page
        assert f"\n#{name.upper()}=" in example
    for heading in SECTIONS.values():
        assert f"\n## {heading}\n" in page


def test_the_example_file_states_the_defaults() -> None:
    """Removing every # changes nothing: the file shows the default values."""
    lines = [line[1:] for line in env_example().splitlines() if line.startswith("#") and "=" in line]
    Path(".env").write_text("\n".join(line for line in lines if line.split("=")[0].isupper()))
    assert load_settings() == load_settings(None)
