"""A server whose degradation ladder stays on one level: `python benchmarks/pinned_level.py 3`."""

from __future__ import annotations

import sys

import uvicorn

from meeting_assistant.app import create_app
from meeting_assistant.config import load_settings
from meeting_assistant.services.asr.degradation import DegradationLadder, Level


class PinnedLadder(DegradationLadder):
    """Does not move."""

    def __init__(self, level: Level) -> None:
        super().__init__()
        self._level = level

    def observe(self, now: float, predicted_wait_s: float) -> bool:
        """Never a step."""
        return False


def main() -> None:
    """Serve until terminated."""
    settings = load_settings()
    app = create_app(settings)
    app.state.services.speech.local.asr._ladder = PinnedLadder(Level(int(sys.argv[1])))
    uvicorn.run(app, host=settings.http_host, port=settings.http_port, log_config=None)


if __name__ == "__main__":
    main()
