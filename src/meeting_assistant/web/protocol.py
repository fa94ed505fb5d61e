"""The wire protocol of `/ws/meetings`: one model per message.

Text frames are JSON objects with `type` first; binary frames are PCM s16le at the rate and channel count
named in `start`. `docs/reference/live-protocol.md` and the JSON Schema at `/api/protocol.json` are generated from
this file.

`seq` numbers the durable events of a meeting (`transcript`, `speakers`, `notes`, `gap`, `final`) from 1
without a gap. All other messages carry the number of the last durable event before them, so the highest
`seq` that a client has seen is always the right `last_seq` to come back with
(`docs/decisions/0004-durable-events-are-numbered.md`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from meeting_assistant.domain import events
from meeting_assistant.domain.audio import MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ
from meeting_assistant.domain.meeting import MeetingOptions

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
"""Largest frame, text or binary; larger ones close the socket with 1009."""

# --- client to server -------------------------------------------------------------------------------------


class ClientMessage(BaseModel):
    """Base of what a client sends; unknown fields are refused so that a typo is not silence."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Start(ClientMessage, MeetingOptions):
    """First message of a connection: opens a meeting, or takes one up again."""

    type: Literal["start"]
    sample_rate: int = Field(ge=MIN_INPUT_RATE_HZ, le=MAX_INPUT_RATE_HZ)
    """Hz of the binary frames to come."""
    channels: int = Field(ge=1, le=2)
    """1, or 2 interleaved; with 2, channel 0 is "You"."""
    meeting_id: str | None = Field(default=None, max_length=36)
    """Of the meeting to go on with, also of one that failed while it recorded; null opens a new one."""
    token: SecretStr | None = Field(default=None, max_length=512)
    """Where the server asks for one and the handshake brought none (no header, no cookie, no ticket)."""
    last_seq: int = Field(default=0, ge=0)
    """Highest `seq` seen; events after it are sent again."""
    captions: bool = True
    """False: this client shows no `partial_transcript` and is not sent any, which spares a busy server their cost."""
    utc_offset_minutes: int = Field(default=0, ge=-16 * 60, le=16 * 60)
    """Of the place of the meeting: "by Friday" is read against it."""


class Pause(ClientMessage):
    """No sound will come for a while; the meeting stays open."""

    type: Literal["pause"]
    forget: bool = False
    """Off the record: drop what is said until `resume`. After 500 times in one meeting it is paused instead."""


class Resume(ClientMessage):
    """Sound comes again."""

    type: Literal["resume"]


class Interrupted(ClientMessage):
    """Nothing was recorded just before this moment: the client was reloaded, slept, or another one goes on here."""

    type: Literal["interrupted"]
    lasted_ms: int | None = Field(default=None, ge=0, le=48 * 3_600_000)
    """Null: the client does not know, and the server counts from the last audio."""


class Bookmark(ClientMessage):
    """Mark this moment; a meeting has at most 1000 bookmarks."""

    type: Literal["bookmark"]
    note: str = Field(default="", max_length=500)


class RenameSpeaker(ClientMessage):
    """Give a speaker a name; an empty one takes it away."""

    type: Literal["rename_speaker"]
    speaker: str = Field(min_length=1, max_length=16)
    name: str = Field(max_length=100)


class Stop(ClientMessage):
    """The meeting is over; `final` follows."""

    type: Literal["stop"]


class Ping(ClientMessage):
    """Are you there? Answered by `pong`."""

    type: Literal["ping"]


AnyClientMessage = Annotated[
    Start | Pause | Resume | Interrupted | Bookmark | RenameSpeaker | Stop | Ping, Field(discriminator="type")
]
client_message: TypeAdapter[AnyClientMessage] = TypeAdapter(AnyClientMessage)

# --- server to client -------------------------------------------------------------------------------------


class ServerMessage(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    seq: int = 0
    """Number of this event, or of the last durable event before it."""
    meeting_id: str | None = None
    """Null only in an `error` before any meeting is open."""


class Started(ServerMessage):
    """Answer to `start`."""

    type: Literal["started"] = "started"
    protocol: int = PROTOCOL_VERSION
    received_bytes: int
    """Where to go on sending, in canonical bytes (16 kHz s16le, times the channels). A client at another
    rate multiplies by `sample_rate / 16000`."""
    resumed: bool
    epoch: int
    storage: Literal["journal", "memory"]
    engines: dict[str, str]
    """`asr`, `vad`, `diarization`, `minutes`."""


class Pong(ServerMessage):
    """Answer to `ping`."""

    type: Literal["pong"] = "pong"


class Error(ServerMessage):
    """Something sent could not be used. `fatal` ones close the socket; the meeting itself goes on."""

    type: Literal["error"] = "error"
    code: str
    message: str
    remedy: str
    fatal: bool


class Status(ServerMessage, events.StatusChanged):
    """A report of what the server is doing with this meeting."""


class Ack(ServerMessage, events.AudioSafe):
    """`received_bytes` is safe now; the client may forget everything below."""


class Partial(ServerMessage, events.PartialTranscript):
    """Hypothesis for an utterance still open."""


class Finished(ServerMessage, events.UtteranceFinished):
    """A finished utterance, with words; a later `rev` replaces it in place."""


class Speakers(ServerMessage, events.SpeakersChanged):
    """Relabelling and names."""


class Notes(ServerMessage, events.NotesChanged):
    """Live items while the meeting runs."""


class Gap(ServerMessage, events.GapFound):
    """Sound that is not transcribed, or time that is not recorded."""


class DegradedLevel(ServerMessage, events.Degraded):
    """The live service stepped down, or up again."""


class StorageState(ServerMessage, events.StorageChanged):
    """The disk refuses sound, or takes it again."""


class Final(ServerMessage, events.MeetingFinished):
    """The terminal message."""


AnyServerMessage = Annotated[
    Started
    | Pong
    | Error
    | Status
    | Ack
    | Partial
    | Finished
    | Speakers
    | Notes
    | Gap
    | DegradedLevel
    | StorageState
    | Final,
    Field(discriminator="type"),
]
server_message: TypeAdapter[AnyServerMessage] = TypeAdapter(AnyServerMessage)


def encode_event(body: events.EventBody, *, seq: int, meeting_id: str) -> str:
    """The text frame of a domain event: `type`, `seq`, `meeting_id`, then what it carries."""
    fields = body.model_dump(mode="json")
    return _dumps({"type": fields.pop("type"), "seq": seq, "meeting_id": meeting_id, **fields})


def encode(message: Started | Pong | Error) -> str:
    """The text frame of a message that belongs to one connection."""
    fields = message.model_dump(mode="json")
    return _dumps({"type": fields.pop("type"), **fields})


def json_schema() -> dict[str, Any]:
    """JSON Schema of both directions, for client authors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Meeting Assistant live protocol",
        "version": PROTOCOL_VERSION,
        "client": client_message.json_schema(ref_template="#/client/$defs/{model}"),
        "server": server_message.json_schema(mode="serialization", ref_template="#/server/$defs/{model}"),
    }


def _dumps(fields: dict[str, Any]) -> str:
    return _plain.dump_json(fields).decode()


_plain: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
