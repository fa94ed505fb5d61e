"""Every setting, its type and its default. The text beneath a field is its documentation everywhere.

The name of a variable is the name of the field in capitals. An empty value means "not set".
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args, get_origin

from platformdirs import user_data_path
from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from meeting_assistant.config.groups import (
    AsrServer,
    AsrServerOptions,
    ClientLimitOptions,
    ClientLimits,
    Endpointing,
    EndpointingOptions,
    Fleet,
    FleetOptions,
    LlmOptions,
)
from meeting_assistant.config.values import (
    PROVIDERS,
    Allowed,
    ApiTokens,
    AudioStoreUrl,
    DatabaseUrl,
    Directory,
    Endpoint,
    FernetKeys,
    File,
    Host,
    Language,
    Names,
    Origins,
    ProviderOrder,
    RedisUrl,
    Retention,
    Url,
    WorkflowOptions,
    split_keys,
    token_grants,
)
from meeting_assistant.domain.access import TokenGrant

SECTIONS = {
    "http_host": "Server",
    "audio_storage": "Recordings",
    "asr_engine": "Speech recognition",
    "diarization_engine": "Speakers",
    "orchestrator_backend": "Jobs and fleet",
    "llm_provider_order": "Language models",
    "vllm_base_url": "vLLM or another OpenAI-compatible server",
    "xai_api_key": "xAI",
    "openai_api_key": "OpenAI",
    "azure_openai_endpoint": "Azure OpenAI",
    "anthropic_api_key": "Anthropic",
    "google_gemini_api_key": "Google Gemini",
    "meeting_slack_webhook_url": "After a meeting",
}
"""First field of each section to the section's heading, in order."""


class Settings(BaseSettings):
    """All settings, read once at start from the environment and from `.env`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    # --- Server -------------------------------------------------------------------------------------------

    http_host: Host = "127.0.0.1"
    """Address to listen on. Anything but a loopback address opens the server to the network; it then refuses to start
    without `API_TOKENS`."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 lets the system choose one."""
    api_tokens: ApiTokens | None = None
    """Tokens of users and programs: `name:token`, comma separated; `name:scopes:token` limits or widens what a token
    allows (`record`, `read`, `admin`; `record+read` when left out). Meetings belong to the name that recorded them;
    `admin` sees all. `meeting-assistant token NAME` makes an entry, with the token's digest in place of the token.
    Without tokens, every client that reaches the server may do everything."""
    allow_open_access: bool = False
    """Lets the server listen beyond this machine without `API_TOKENS`: every client on that network can read and record
    meetings. Use it only behind a proxy that authenticates its clients. The server then answers to addresses, to names
    of the local network and to the names in `ALLOWED_ORIGINS` only."""
    allowed_origins: Origins = ()
    """Other web sites whose pages may use this server. The server's own page always may. Behind a proxy: its address
    first, since links in messages lead there."""
    data_dir: Annotated[Directory, Allowed("a directory that this user may write to")] = Field(
        default_factory=lambda: user_data_path("meeting-assistant", appauthor=False)
    )
    """Where meetings, recordings and the generated key live. By default the user's own data directory, on
    Linux `~/.local/share/meeting-assistant`."""
    database_url: DatabaseUrl | None = None
    """PostgreSQL for several machines: `postgresql://user:password@host/name` (may hold a password and is treated as a
    secret). Unset: SQLite in `DATA_DIR`, which needs nothing."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log message that is written. Logs go to standard error and never contain transcripts."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for log collectors (one object a line)."""
    otel_exporter_otlp_endpoint: Url | None = None
    """Where traces of meetings go: an OpenTelemetry receiver over HTTP, without `/v1/traces`, for example
    `http://localhost:4318`. Needs the extra `otel`; OpenTelemetry's other variables (`OTEL_EXPORTER_OTLP_HEADERS`,
    `OTEL_TRACES_SAMPLER`…) count when they are in the environment. Unset: no traces."""
    shutdown_grace_seconds: float = Field(default=20, gt=0, le=600)
    """After SIGTERM: how long running work may take to finish before the process ends."""
    session_grace_seconds: float = Field(default=600, ge=0, le=86_400)
    """How long a live meeting waits for a client that lost its connection before it is finished."""
    max_sessions: int | None = Field(default=None, ge=1, le=10_000)
    """Live meetings at the same time; further ones are refused with the advice to try later. Unset: as many as
    this machine was measured to hold (see `/api/capacity`)."""
    client_limits: ClientLimitOptions = Field(default_factory=ClientLimits)
    """What clients may do. `CLIENT_LIMITS__CONNECTIONS=400`: connections, sockets included, at the same time; further
    ones are answered with 503. `CLIENT_LIMITS__LIVE_SPEED=16`: how many times faster than speech a live client may
    send, beyond a burst of a minute; the server reads no faster, and nothing is refused or lost.
    `CLIENT_LIMITS__IDLE_SECONDS=120`: a recording socket over which nothing came for so long, no sound and no `ping`,
    is closed; its meeting waits for it `SESSION_GRACE_SECONDS`. `CLIENT_LIMITS__SESSIONS_PER_OWNER`: live meetings of
    one token's name at the same time (unset: no limit of its own)."""
    max_upload_bytes: Annotated[ByteSize, Allowed("bytes above 0, or a size such as 500MB or 2GiB")] = Field(
        default=ByteSize(2 * 1024**3), gt=0
    )
    """Largest file that may be uploaded."""
    max_meeting_hours: float = Field(default=8, gt=0, le=48)
    """Longest meeting, live or uploaded."""

    # --- Recordings ---------------------------------------------------------------------------------------

    audio_storage: Literal["journal", "memory"] = "journal"
    """`journal`: audio is encrypted and written to the disk before it is acknowledged, so that a crash loses nothing.
    `memory`: live audio is never written to the disk; an uploaded file is stored in `DATA_DIR`, unencrypted, until all
    of it is transcribed."""
    audio_encryption_key: FernetKeys | None = None
    """Keys that protect recordings: the first encrypts, all decrypt, which is how keys are changed. Without
    any, one is generated into `DATA_DIR`; keep a copy of it elsewhere. `meeting-assistant keygen` makes one,
    `keys status` says which recordings need which key, `keys rotate` moves them to the first one."""
    audio_store_url: AudioStoreUrl | None = None
    """Where the recordings of finished meetings go, so that they outlive this machine's disk and every gateway can play
    them: `s3://bucket/prefix` (Amazon's, or `s3://KEY:SECRET@bucket/prefix?endpoint=https://minio:9000&region=…`;
    without a key that of the environment or of the machine's role) or `file:///folder` on a disk that is shared. They
    stay encrypted; all gateways need the same `AUDIO_ENCRYPTION_KEY`. Treated as a secret. S3 needs
    `meeting-assistant[s3]`. Unset: recordings stay in `DATA_DIR`."""
    strict_keys: bool = False
    """Refuse to start when a stored recording needs a key that is not configured. By default the server starts, new
    meetings work, and old ones answer `Audio decryption failed`."""
    audio_retention: Retention = "keep"
    """How long the audio of a finished meeting is kept. `keep`: until the meeting is deleted. `days:N`: for N days.
    `delete-after-minutes`: until the minutes are written. Transcript and minutes stay."""
    min_free_disk_bytes: Annotated[ByteSize, Allowed("bytes, or a size such as 500MB or 2GiB")] = Field(
        default=ByteSize(256 * 1024**2), ge=0
    )
    """With less free space in `DATA_DIR`, new meetings and uploads are refused, and the decoding of uploads waits; live
    meetings continue."""

    # --- Speech recognition -------------------------------------------------------------------------------

    asr_engine: Literal["auto", "moonshine", "faster-whisper", "openai"] = "auto"
    """The recogniser. `moonshine` is embedded: English, no download. `faster-whisper`: about a hundred languages;
    downloads its weights at start when they are not there. `openai`: a server with `/v1/audio/transcriptions`.
    `auto` takes Whisper when `ASR_MODEL_ID` is set or there is a GPU, and its weights are on this machine, else the
    embedded one."""
    asr_model_id: str = Field(default="medium", min_length=1, max_length=200)
    """The Whisper model: a size such as `small`, `medium` or `large-v3-turbo`, an id on the model hub, or a folder;
    with `ASR_ENGINE=openai` the name that the server knows. The embedded engine has one model of its own."""
    asr_language: Language | None = None
    """Language of meetings that name none; `auto` or unset leaves it to the engine. The embedded engine
    understands English only."""
    asr_compute_type: Literal[
        "auto",
        "default",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = "auto"
    """Arithmetic of a Whisper model; `auto` suits the GPU, and is `float32` without one."""
    asr_server: AsrServerOptions = Field(default_factory=AsrServer)
    """The server of `ASR_ENGINE=openai`: `ASR_SERVER__BASE_URL=http://localhost:8001`, and `ASR_SERVER__API_KEY` if it
    wants one."""
    partial_interval_seconds: float = Field(default=0.5, ge=0.1, le=10)
    """How often the caption of an open utterance is renewed. Shorter costs more processor time."""
    endpointing: EndpointingOptions = Field(default_factory=Endpointing)
    """Where utterances begin and end. `ENDPOINTING__THRESHOLD=0.5`: probability from which audio counts as speech;
    a higher one detects less noise and fewer soft voices. `ENDPOINTING__SILENCE_MS=500`: a pause this long ends an
    utterance. `ENDPOINTING__MAX_SECONDS=15`: longer speech without a pause is cut at its quietest moment."""

    # --- Speakers -----------------------------------------------------------------------------------------

    diarization_engine: Literal["embedded", "pyannote", "nemo", "off"] = "embedded"
    """The engine that tells speakers apart. Live labels always come from the embedded engine; `pyannote` or `nemo`
    diarizes the whole recording after the meeting, and its labels replace the live ones. Both are extras to install; a
    missing one is named in `/health` and in every meeting's errors, and the next one is used (`nemo`, `pyannote`,
    `embedded`). Only these two mark simultaneous speech in one channel. `off` leaves all utterances without a speaker.
    In a fleet, set it on gateways and on workers: workers diarize the recordings."""
    diarization_model_id: str = Field(
        default="pyannote/speaker-diarization-community-1", min_length=1, max_length=400
    )
    """Pyannote's pipeline: an id on the model hub, or a folder that holds it, which needs no token and no network."""
    diarization_timeout_seconds: float = Field(default=120, ge=0, le=86_400)
    """How long minutes wait for the diarization of the recording; later labels are published when they arrive, also
    after a restart."""
    hf_token: SecretStr | None = None
    """Hugging Face token for pyannote's model, whose terms have to be accepted on its page once. By itself it changes
    nothing: set `DIARIZATION_ENGINE=pyannote`."""
    nemo_diarization_enabled: bool = False
    """Asks for NVIDIA NeMo (streaming Sortformer, up to four speakers), as `DIARIZATION_ENGINE=nemo` does. When the
    live labels name more, they stay."""

    # --- Jobs and fleet -----------------------------------------------------------------------------------

    orchestrator_backend: Literal["local", "redis"] = "local"
    """Where speech is transcribed: `local`, in the server itself; `redis`, on a fleet of
    machines that run `meeting-assistant worker` (see docs/how-to/fleet.md)."""
    inference_workers: int = Field(default=2, ge=1, le=64)
    """Jobs (transcribing a file, finishing a meeting) that run at the same time."""
    inference_batch_size: int = Field(default=8, ge=1, le=64)
    """Largest batch: windows of audio, of different meetings, that are decoded together."""
    fleet: FleetOptions = Field(default_factory=Fleet)
    """How a fleet works together. `FLEET__LEASE_SECONDS=3`: a worker that is silent for this long loses its jobs to
    another one. `FLEET__MAX_DELIVERIES=3`: a job that was started so often and never completed is moved to dead
    letters. `FLEET__SLOTS=8`: live meetings that one worker holds at the same time. `FLEET__NAME`: the name of this
    machine in logs and metrics (unset: its host name). `FLEET__SECRET`: the secret that all machines of a fleet share,
    from `meeting-assistant keygen`; audio and words travel sealed with it, and a fleet does not start without it
    (several, comma separated, while it is changed: the first seals, all open). `FLEET__CALLBACK_URL`: this gateway's
    address as workers reach it, such as `https://gateway-1:8000` or `wss://gateway-1:8000`: results come there by
    signed POST or WebSocket instead of through Redis. `FLEET__CALLBACK_HOSTS`: of a worker, the hosts that it may send
    results to; to no other, whatever a job says."""
    redis_url: RedisUrl | None = None
    """Redis for `ORCHESTRATOR_BACKEND=redis`: `rediss://:password@host:6379/0` (treated as a secret; with
    `?ssl_ca_certs=` and a file, for a certificate of your own). It only carries work and must not write to its disk;
    what has to be kept is in the database and in the recordings."""

    # --- Language models ----------------------------------------------------------------------------------
    # Model names are defaults of November 2026; providers retire names within months.

    llm_provider_order: ProviderOrder = PROVIDERS
    """Providers that write the minutes, in the order in which they are tried; one that is not configured is skipped,
    and the embedded writer is the last resort. A vLLM that is not configured is used only if one listens at its usual
    address on this machine. Transcripts leave the machine only to providers that you configure."""
    llm_max_retries: int = Field(default=2, ge=0, le=10)
    """Further attempts at one provider after a failure that may pass."""
    llm_backoff_seconds: float = Field(default=0.5, ge=0, le=60)
    """Pause before the first further attempt; it doubles each time."""
    llm_timeout_seconds: float = Field(default=120, gt=0, le=3600)
    """How long one answer may take."""
    llm_options: LlmOptions = Field(default_factory=dict)
    """What differs from provider to provider: `LLM_OPTIONS__VLLM__TIMEOUT_SECONDS=30` is how long one of its answers
    may take (unset: `LLM_TIMEOUT_SECONDS`); `LLM_OPTIONS__VLLM__CONTEXT_TOKENS=8192` is how much its model reads and
    writes in all (unset: what the server says, else 8192); `LLM_OPTIONS__OPENAI__EFFORT=low` is how long a model that
    thinks may think, in the words of OpenAI, Azure, xAI, Gemini or of a vLLM whose model thinks always (unset: vLLM is
    asked not to think, the others decide); `LLM_OPTIONS__VLLM__IS_LOCAL=true` says that a vLLM runs on your own
    machines although its address is not one of this machine or of a private network."""
    llm_local_only: bool = False
    """Forbids every provider outside your own machines, whatever else is configured. A user (in the preferences) and
    a meeting can forbid them, too; neither can allow what this forbids."""
    notes_interval_seconds: float = Field(default=30, ge=0, le=3600)
    """How often decisions, action items and questions are noted during a meeting, at most; only when enough new words
    were spoken. 0 turns notes off."""

    # --- vLLM ---------------------------------------------------------------------------------------------

    vllm_base_url: Url = "http://localhost:8001"
    """Address of the server, with or without `/v1`."""
    vllm_model_id: str = Field(default="meta-llama-3-8b-instruct", min_length=1, max_length=200)
    """Name under which the server knows the model."""
    vllm_completions_endpoint: Endpoint = "/v1/chat/completions"
    """Path of chat completions."""
    vllm_api_key: SecretStr | None = None
    """Sent as a bearer token when set."""

    # --- xAI ----------------------------------------------------------------------------------------------

    xai_api_key: SecretStr | None = None
    """Enables xAI."""
    xai_model_id: str = Field(default="grok-latest", min_length=1, max_length=200)
    """Model to ask for."""
    xai_base_url: Url = "https://api.x.ai/v1"
    """Address of the service."""

    # --- OpenAI -------------------------------------------------------------------------------------------

    openai_api_key: SecretStr | None = None
    """Enables OpenAI."""
    openai_model_id: str = Field(default="gpt-5.6-luna", min_length=1, max_length=200)
    """Model to ask for."""
    openai_base_url: Url = "https://api.openai.com/v1"
    """Address of the service, or of anything that speaks its protocol."""

    # --- Azure OpenAI -------------------------------------------------------------------------------------

    azure_openai_endpoint: Url | None = None
    """Address of your resource. Azure is enabled when this, the key and the deployment are set."""
    azure_openai_api_key: SecretStr | None = None
    """Key of your resource."""
    azure_openai_deployment: str | None = Field(default=None, max_length=200)
    """Name of your deployment."""
    azure_openai_api_version: str | None = Field(default=None, max_length=40)
    """Version of the deployments interface; without one the `/v1` interface is used."""

    # --- Anthropic ----------------------------------------------------------------------------------------

    anthropic_api_key: SecretStr | None = None
    """Enables Anthropic."""
    anthropic_model_id: str = Field(default="claude-sonnet-5-5", min_length=1, max_length=200)
    """Model to ask for."""
    anthropic_base_url: Url = "https://api.anthropic.com"
    """Address of the service."""

    # --- Google Gemini ------------------------------------------------------------------------------------

    google_gemini_api_key: SecretStr | None = None
    """Enables Gemini."""
    google_gemini_model_id: str = Field(default="gemini-3.8-flash", min_length=1, max_length=200)
    """Model to ask for."""
    google_gemini_base_url: Url = "https://generativelanguage.googleapis.com/v1beta"
    """Address of the service."""

    # --- After a meeting ----------------------------------------------------------------------------------

    meeting_slack_webhook_url: SecretStr | None = None
    """Slack's incoming webhook: posts each finished meeting to a channel. Secret: its holder can post."""
    meeting_log_path: File | None = None
    """File that gets one JSON line for each finished meeting and for each delivery."""
    workflow_auto_approve: Names = ("slack", "log", "webhook", "teams", "mattermost", "email", "markdown")
    """Integrations that deliver without approval; the others propose deliveries, which wait for a click. Only those
    that are configured count."""
    workflows: WorkflowOptions = Field(default_factory=dict)
    """The options of the integrations: `WORKFLOWS__JIRA__URL=https://example.atlassian.net`. Which there are:
    `docs/reference/integrations.md`."""

    def is_set(self, name: str) -> bool:
        """Return whether the value was set; takes the name of the field or of the variable."""
        return name.lower() in self.model_fields_set

    def token_grants(self) -> list[TokenGrant]:
        """Return the configured tokens, as digests."""
        return token_grants(self.api_tokens)

    def audio_encryption_keys(self) -> list[str]:
        """Return the Fernet keys in order, the encrypting one first; empty when none is set."""
        return split_keys(self.audio_encryption_key)

    @field_validator("*", mode="before")
    @classmethod
    def _normalise(cls, value: object, info: ValidationInfo) -> object:
        """Spaces around a value and the capitals of a keyword carry no meaning."""
        if not isinstance(value, str) or info.field_name is None:
            return value
        value = value.strip()
        field = cls.model_fields[info.field_name]
        if not value:
            return field.get_default(call_default_factory=True, validated_data={})
        if get_origin(field.annotation) is Literal and value.lower() in get_args(field.annotation):
            return value.lower()
        return value
