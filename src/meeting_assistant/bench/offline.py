"""The same sound as a file: what decoding without haste hears."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from typing import Any

from meeting_assistant.bench.timeline import Clip
from meeting_assistant.bench.words import normalise
from meeting_assistant.launcher import open_url
from meeting_assistant.web.audio_range import wav_header

POLL_S = 0.2


async def transcribe_as_file(url: str, clip: Clip) -> tuple[list[str], float]:
    """Upload it; its words, and how many seconds it took."""
    began = time.monotonic()
    meeting_id = (await asyncio.to_thread(_post, url, clip))["id"]
    while True:
        document = await asyncio.to_thread(_get, f"{url}/api/meetings/{meeting_id}")
        if document["meeting"]["state"] in ("done", "failed"):
            break
        await asyncio.sleep(POLL_S)
    seconds = time.monotonic() - began
    return [word for u in document["transcript"]["utterances"] for word in normalise(u["text"])], seconds


def _get(url: str) -> Any:
    with open_url(url, timeout_s=60) as answer:
        return json.load(answer)


def _post(url: str, clip: Clip) -> Any:
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    body = head.encode() + wav_header(len(clip.pcm)) + clip.pcm + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        f"{url}/api/meetings",
        data=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with open_url(request, timeout_s=60) as answer:
        return json.load(answer)
