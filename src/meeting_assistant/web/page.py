"""The built web app, with the compressed copies that its build has made."""

from __future__ import annotations

import mimetypes
from os import PathLike, stat_result
from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from meeting_assistant.web.middleware.compression import accepts

CODINGS = (("br", ".br"), ("gzip", ".gz"))
"""Content codings, the best first, and the endings of the files that hold them."""


class Page(StaticFiles):
    """Files of the web app. Hashed ones may be cached for ever; the page itself is revalidated at each visit."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file, compressed if there is such a copy and the browser takes it."""
        path = str(full_path)
        coding, sent = next(
            (
                (name, path + ending)
                for name, ending in CODINGS
                if accepts(Headers(scope=scope), name) and Path(path + ending).is_file()
            ),
            ("", path),
        )
        found = Path(sent).stat() if coding else stat_result
        response = super().file_response(sent, found, scope, status_code)
        headers = response.headers
        if coding and response.status_code == 200:
            headers["Content-Encoding"] = coding
            headers["Content-Type"] = _media_type(path)
        headers.add_vary_header("Accept-Encoding")
        headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if "assets" in Path(path).parts else "no-cache"
        )
        return response


def _media_type(path: str) -> str:
    found = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found
