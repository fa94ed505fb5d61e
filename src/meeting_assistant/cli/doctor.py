"""The command `doctor`: tries every part, lists what leaves the machine, and says how to fix what fails."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable

import uuid_utils
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from meeting_assistant.adapters.storage.data_directory import wide_mode
from meeting_assistant.bootstrap import Services, build
from meeting_assistant.bootstrap.outgoing import outgoing
from meeting_assistant.cli.python_version import Version, holes_of
from meeting_assistant.config import load_settings, unknown_variables
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.audio import pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError, StorageError
from meeting_assistant.domain.ports import AsrRequest, CheckResult
from meeting_assistant.observability import configure_logging
from meeting_assistant.services.asr.batching import TicketKind

MIN_SHARE_OF_WORDS = 0.8


def run_doctor(*, is_json: bool) -> int:
    """Check everything. Returns 0 when all that is needed works. Raises ConfigurationError."""
    settings = load_settings()
    configure_logging("error", "console")
    checks = asyncio.run(_check_all(build(settings)))
    if is_json:
        json.dump([_as_json(check) for check in checks], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(checks)
    return 0 if all(check.ok or check.optional for check in checks) else 1


async def _check_all(services: Services) -> list[CheckResult]:
    checks = [
        check_python((sys.version_info.major, sys.version_info.minor, sys.version_info.micro)),
        await _timed("Settings", lambda: _settings(services)),
        await _timed("Web app", lambda: _web_app()),
        await _timed("Speech recognition", lambda: _speech(services)),
        await _timed("Voice activity", lambda: _voice_activity(services)),
        _data_directory(services),
        await _timed("Database", lambda: _database(services)),
        await _timed("Audio journal", lambda: _journal(services)),
        *await _object_store(services),
        *await check_redis(services),
        await _timed("Minutes (embedded)", lambda: _minutes(services)),
        *await services.minutes.llm.check(),
        *(item.as_check() for item in outgoing(services.settings)),
    ]
    await services.speech.local.asr.close()
    await services.minutes.close()
    await services.storage.store.close()
    return checks


def check_python(version: Version) -> CheckResult:
    """Name the known holes of a release of Python. They are a note: the server keeps strangers away from them."""
    name = ".".join(map(str, version))
    holes = holes_of(version)
    if not holes:
        return CheckResult("Python", True, f"{name}, without the holes that are known to this version")
    known = "; ".join(f"{hole.cve} ({hole.what})" for hole in holes)
    newest = max(fixed for hole in holes for fixed in hole.fixed_in if fixed[:2] == version[:2])
    remedy = f"Install Python {'.'.join(map(str, newest))} or newer, and run `make setup` again."
    return CheckResult("Python", False, f"{name} has known holes: {known}", remedy, optional=True)


async def _timed(name: str, check: Callable[[], Awaitable[str]]) -> CheckResult:
    began = time.monotonic()
    try:
        detail = await check()
    except MeetingAssistantError as error:
        return CheckResult(name, False, error.message, error.remedy, time.monotonic() - began)
    except Exception as error:  # noqa: BLE001 - doctor reports whatever is wrong, it never falls over itself
        remedy = "Run `make setup` again; if it stays, report it."
        return CheckResult(name, False, f"{type(error).__name__}: {error}", remedy, time.monotonic() - began)
    return CheckResult(name, True, detail, seconds=time.monotonic() - began)


async def _settings(services: Services) -> str:
    warnings = unknown_variables()
    if warnings:
        raise MeetingAssistantError(
            "; ".join(warnings), "Correct the names; `meeting-assistant settings` lists all."
        )
    return f"valid; data in {services.settings.data_dir}; {services.info.engine_reason}"


async def _web_app() -> str:
    from importlib.resources import files

    if not files("meeting_assistant").joinpath("static", "index.html").is_file():
        raise MeetingAssistantError("The web app has not been built.", "Run `make web`.")
    return "built"


async def _speech(services: Services) -> str:
    await services.speech.local.asr.start()
    from meeting_assistant.adapters.audio.trusted import read_pcm

    path, expected = hello_clip()
    samples = to_waveform(pcm_to_samples(await asyncio.to_thread(read_pcm, path)))
    request = AsrRequest(session="doctor", kind="final", samples=samples)
    decoded = await services.speech.local.asr.decode(TicketKind.FINAL, "doctor", lambda: request)
    heard = set(_words(decoded.result.text if decoded else ""))
    wanted = _words(expected)
    share = sum(word in heard for word in wanted) / len(wanted)
    if share < MIN_SHARE_OF_WORDS:
        raise EngineError(
            f"{services.info.engines['asr']} heard {share:.0%} of the words of a known clip.",
            "The engine loads but does not understand: run `make setup` again; see docs/how-to/troubleshooting.md.",
        )
    return f"{services.info.engines['asr']} heard {share:.0%} of the words of a known clip"


async def _voice_activity(services: Services) -> str:
    from meeting_assistant.adapters.audio.trusted import read_pcm

    await asyncio.to_thread(services.speech.local.vad.load)
    path, _ = hello_clip()
    samples = pcm_to_samples(await asyncio.to_thread(read_pcm, path))
    voiced = float((services.speech.local.vad.open().feed(samples) > 0.5).mean())
    silent = float((services.speech.local.vad.open().feed(samples * 0) > 0.5).mean())
    if voiced < 0.3 or silent > 0.05:
        raise EngineError("Voice activity does not tell speech from silence.", "Run `make setup` again.")
    return f"{services.speech.local.vad.name} tells speech from silence"


def _data_directory(services: Services) -> CheckResult:
    wide = wide_mode(services.settings.data_dir)
    if wide is None:
        return CheckResult("Data directory", True, "private")
    detail, _, remedy = wide.partition(": ")
    return CheckResult("Data directory", False, detail, remedy, optional=True)


async def _database(services: Services) -> str:
    await services.storage.store.open()
    await services.storage.database.check_integrity()
    if services.storage.database.damage is not None:
        raise services.storage.database.damage
    for problem in await services.storage.orphan_problems():
        raise StorageError(problem, "Nothing was touched.")
    return await services.storage.store.check()


async def _journal(services: Services) -> str:
    if services.storage.recordings.audio is None:
        return "not used: AUDIO_STORAGE=memory"
    return await asyncio.to_thread(_try_journal, services)


def _try_journal(services: Services) -> str:
    assert services.storage.recordings.audio is not None
    meeting_id, sound = str(uuid_utils.uuid7()), secrets.token_bytes(32_000)
    journal = services.storage.recordings.audio.create(meeting_id)
    try:
        journal.append(sound)
        journal.close()
        journal = services.storage.recordings.audio.open(meeting_id)
        if journal.read(0, len(sound)) != sound:
            raise StorageError("The journal gave back other bytes than were written.", "Check the disk.")
    finally:
        journal.close()
        services.storage.recordings.audio.delete(meeting_id)
    return "one second written, synced, read back, deleted"


async def _object_store(services: Services) -> list[CheckResult]:
    """Check the object store, if one is configured."""
    objects = services.storage.recordings.objects
    if objects is None:
        return []

    async def check() -> str:
        await asyncio.to_thread(objects.check)
        return f"{objects.address}: an object written, read back, deleted"

    return [await _timed("Object store", check)]


async def check_redis(services: Services) -> list[CheckResult]:
    """Check the Redis of a fleet, and note what should be changed about it."""
    remote = services.speech.remote
    if remote is None:
        return []
    warnings: list[str] = []

    async def check() -> str:
        warnings.extend(await remote.link.warnings())
        return "answers; what the fleet sends over it is sealed"

    reached = await _timed("Redis", check)
    await remote.link.close()
    remedy = "docs/how-to/fleet.md says what a fleet needs."
    return [reached, *(CheckResult("Redis", False, one, remedy, optional=True) for one in warnings)]


async def _minutes(services: Services) -> str:
    await services.minutes.service.warm_up()
    return "word lists and stemmer are there"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _as_json(check: CheckResult) -> dict[str, object]:
    return {
        "name": check.name,
        "ok": check.ok,
        "detail": check.detail,
        "remedy": check.remedy,
        "seconds": round(check.seconds, 3),
        "optional": check.optional,
    }


def _print(checks: list[CheckResult]) -> None:
    table = Table("", "Check", "What was found, and what to do", box=box.SIMPLE_HEAD, show_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[yellow]note[/]" if check.optional else "[red]fails[/]"
        found = Text(check.detail)
        if check.remedy:
            found.append(f"\n→ {check.remedy}", style="bold" if not check.optional else "dim")
        table.add_row(mark, check.name, found)
    Console().print(table)
