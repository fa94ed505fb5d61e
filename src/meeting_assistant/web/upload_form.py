"""The form of an upload: its file goes to the disk of the recordings as it arrives, and nowhere else before.

The framework would put all of it into the system's folder for temporary files before the route is asked, whoever sent
it. Here the caller's scope comes first, then the budget of all uploads, then the first byte of the body.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from fastapi.routing import APIRoute
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from meeting_assistant.domain.access import Scope
from meeting_assistant.domain.disk import storage_error
from meeting_assistant.domain.errors import InputError, TooLargeError
from meeting_assistant.services.meetings.upload_budget import UploadSlot
from meeting_assistant.web.context import context_of
from meeting_assistant.web.middleware.auth import caller_of
from meeting_assistant.web.request_parts import natural_number

MAX_FIELDS = 32
MAX_FIELDS_BYTES = 64 * 1024
"""Of all fields but the file."""
WRITE_BYTES = 1 << 20


class UploadRoute(APIRoute):
    """A route that takes a form with one file. It asks for the scope and for room before it reads the body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the form read on its own terms."""
        handle = super().get_route_handler()

        async def take(request: Request) -> Response:
            context, caller = context_of(request), caller_of(request)
            context.access.require(caller, Scope.RECORD)
            meetings = context.meetings
            announced = natural_number(request.headers.get("content-length", ""))
            incoming = meetings.uploads.incoming / secrets.token_hex(16)
            with meetings.upload_budget.admit(caller.owner, announced) as slot:
                try:
                    form = await receive_form(
                        request, ArrivingForm(incoming, context.info.max_upload_bytes), slot
                    )
                    return await handle(_FormRequest(request, form))
                finally:
                    await asyncio.to_thread(incoming.unlink, missing_ok=True)

        return take


class _FormRequest(Request):
    """A request whose form has been read."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.scope, request.receive)
        self._received = form

    def form(self, **limits: Any) -> Any:
        """Return the form; its limits are those of this module."""
        return self._ready()

    async def _ready(self) -> FormData:
        return self._received


async def receive_form(request: Request, form: ArrivingForm, slot: UploadSlot) -> FormData:
    """Read a form into `form`; another kind of body is an empty one.

    Raises InputError, TooLargeError, StorageError; HTTPException when the client goes away.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        return FormData()
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())  # type: ignore[arg-type]
        async for chunk in request.stream():
            slot.receive(len(chunk))
            parser.write(chunk)
            if len(form.pending) >= WRITE_BYTES:
                await asyncio.to_thread(form.flush)
        parser.finalize()
        await asyncio.to_thread(form.flush)
        return form.finish()
    except FormParserError:
        raise InputError("The form could not be read.", "Send multipart/form-data.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The client went away before all of the form had arrived.") from None
    except OSError as error:
        raise storage_error(error) from error
    finally:
        form.close_unfinished()


class ArrivingForm:
    """What the parser has found so far."""

    def __init__(self, path: Path, max_file_bytes: int) -> None:
        self.pending = bytearray()
        """Bytes of the file that are not written yet."""
        self._path = path
        self._max_file_bytes = max_file_bytes
        self._file_bytes = 0
        self._items: list[tuple[str, str | UploadFile]] = []
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._name = ""
        self._field: bytearray | None = bytearray()
        """The value of the field that is being read; None while it is the file."""
        self._fields_bytes = 0
        self._file: BinaryIO | None = None
        self._upload: UploadFile | None = None

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser calls."""
        return {
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
        }

    def _on_part_begin(self) -> None:
        self._name, self._field = "", bytearray()

    def _on_header_end(self) -> None:
        (name, value), self._header = self._header, (bytearray(), bytearray())
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(bytes(value))
        self._name = _text(options.get(b"name", b""))
        if b"filename" in options:
            self._begin_file(_text(options[b"filename"]))

    def _begin_file(self, name: str) -> None:
        if self._file is not None:
            raise InputError("The form has more than one file.", "Send each file by itself.")
        self._field = None
        self._file = self._path.open("w+b")
        self._upload = UploadFile(self._file, filename=name)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._file_bytes += end - start
            if self._file_bytes > self._max_file_bytes:
                raise TooLargeError(
                    f"The file is larger than {self._max_file_bytes} bytes.",
                    "Send a compressed file, or raise MAX_UPLOAD_BYTES.",
                )
            self.pending += data[start:end]
            return
        self._fields_bytes += end - start
        if self._fields_bytes > MAX_FIELDS_BYTES:
            raise InputError(
                "The fields of the form are too long.", f"Send at most {MAX_FIELDS_BYTES} bytes."
            )
        self._field += data[start:end]

    def _on_part_end(self) -> None:
        if len(self._items) >= MAX_FIELDS:
            raise InputError("The form has too many fields.", f"Send at most {MAX_FIELDS}.")
        if self._field is not None:
            self._items.append((self._name, _text(self._field)))
        elif self._upload is not None:
            self._items.append((self._name, self._upload))

    def flush(self) -> None:
        """Write what has come of the file. Blocks; raises OSError."""
        if self._file is not None:
            self._file.write(self.pending)
            self._file.flush()
        self.pending.clear()

    def finish(self) -> FormData:
        """Return the form; whoever takes it closes its file."""
        self._file = None
        return FormData(self._items)

    def close_unfinished(self) -> None:
        """Close the file of a form that was not read to its end."""
        if self._file is not None:
            self._file.close()


def _text(raw: bytes | bytearray) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
