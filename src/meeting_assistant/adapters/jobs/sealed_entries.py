"""The sealed form of what gateways and workers exchange: jobs, audio, results, states of workers.

What a job or a state has to tell every version, the version itself above all, stays outside of its seal. The context of
a seal is what the reader knows already: a job opens in its stream only, a frame at its number of its attempt only, a
result at its gateway only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.errors import JobError
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, InferenceJob, check_version, read_envelope
from meeting_assistant.domain.ports import AudioFrame

_LENGTH_BYTES = 4
_MAX_NAME = 100


def seal_job(keys: FleetKeys, stream: str, job: InferenceJob) -> dict[str, object]:
    """Return the envelope of a job in its stream."""
    sealed = keys.seal_text(job.model_dump_json(), "job", stream)
    return {"schema_version": job.schema_version, "sealed": sealed}


def open_job(keys: FleetKeys, stream: str, wire: object) -> InferenceJob:
    """Return the job of an envelope.

    Raises ValueError for what is no envelope, JobError with the codes `version_mismatch` and `not_authentic`.
    """
    check_version(wire)
    if not isinstance(wire, Mapping) or "sealed" not in wire:
        raise ValueError("not an envelope")
    return read_envelope(json.loads(keys.open_text(wire["sealed"], "job", stream)))


def seal_frame(keys: FleetKeys, attempt: str, number: int, frame: AudioFrame) -> dict[str, int | bytes]:
    """Return the fields of the entry for a frame, the `number`th of its attempt."""
    message = frame.message.encode()
    content = len(message).to_bytes(_LENGTH_BYTES, "big") + message + frame.pcm
    return {"number": number, "sealed": keys.seal(content, "audio", attempt, str(number))}


def open_frame(keys: FleetKeys, attempt: str, fields: Mapping[bytes, bytes]) -> tuple[int, AudioFrame]:
    """Return the number and the frame of an entry. Raises JobError with the code `not_authentic`."""
    number = fields.get(b"number", b"").decode(errors="replace")
    content = keys.open(fields.get(b"sealed", b""), "audio", attempt, number)
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    return int(number), AudioFrame(content[_LENGTH_BYTES:end].decode(), content[end:])


def seal_result(keys: FleetKeys, gateway: str, message: str) -> bytes:
    """Return a worker's message to a gateway as it travels."""
    return keys.seal(message.encode(), "result", gateway)


def open_result(keys: FleetKeys, gateway: str, sealed: bytes) -> str:
    """Return a worker's message to this gateway. Raises JobError with the code `not_authentic`."""
    return keys.open(sealed, "result", gateway).decode()


def post_result(sealed: bytes) -> str:
    """Return a sealed message as text, for a gateway's own address."""
    return base64.b64encode(sealed).decode()


def open_posted_result(keys: FleetKeys, gateway: str, text: str) -> str:
    """Return a worker's message that was posted to this gateway. Raises JobError with the code `not_authentic`."""
    return keys.open_text(text, "result", gateway)


def seal_state(keys: FleetKeys, worker: str, state: str) -> str:
    """Return what a worker publishes about itself."""
    sealed = keys.seal_text(state, "state", worker)
    return json.dumps({"protocol": FLEET_PROTOCOL_VERSION, "name": worker, "sealed": sealed})


def open_state(keys: FleetKeys, worker: str, published: str) -> str:
    """Return the state that was published under the name of a worker.

    When it does not open, only version and name are returned, with an empty seal: they say which worker has another
    version or another secret, and count for nothing else.
    """
    try:
        wire = json.loads(published)
    except ValueError:
        wire = None
    wire = wire if isinstance(wire, dict) else {}
    try:
        return keys.open_text(wire.get("sealed"), "state", worker)
    except JobError:
        obs.fleet_refused_total.labels("state").inc()
    version = wire.get("protocol")
    protocol = version if isinstance(version, int) else FLEET_PROTOCOL_VERSION
    return json.dumps({"protocol": protocol, "name": worker[:_MAX_NAME], "sealed": ""})
