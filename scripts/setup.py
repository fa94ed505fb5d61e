"""Prepare a checkout: virtual environment, locked packages, web app. The Makefile is its front door.

    python3 scripts/setup.py runtime      what running the product needs
    python3 scripts/setup.py dev          and what working on it needs
    python3 scripts/setup.py web          build the web app when its sources changed
    python3 scripts/setup.py tools        system programs that tests use (Debian, as root)
    python3 scripts/setup.py npm ARG...   npm in frontend/, with the right Node.js
    python3 scripts/setup.py lock         write requirements*.txt anew (--upgrade: newest versions)
    python3 scripts/setup.py clean        remove all that these commands made

Runs before anything is installed: standard library only, and old Pythons must be able to read it, if only to
say that they are too old. Steps that are done are remembered by the hash of what they were made from
(`.venv/.stamps`), so that a second run takes no time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMPS = VENV / ".stamps"
FRONTEND = ROOT / "frontend"
STATIC = ROOT / "src" / "meeting_assistant" / "static"
MINIMUM_PYTHON = (3, 11)
MINIMUM_NODE = (20, 19)
TEST_TOOLS = {
    "redis-server": ("redis-server", "tests of the Redis backend"),
    "chromium": ("chromium", "tests in a real browser"),
    "espeak-ng": ("espeak-ng", "tests that make their own speech"),
    "ffmpeg": ("ffmpeg", "tests of uploads in many containers"),
    "initdb": ("postgresql", "tests of meetings in PostgreSQL"),
}
"""Program to its Debian package and the tests that need it."""
FASTER_TOOLS = {"chromium-headless-shell": "chromium-headless-shell"}
"""Program to its Debian package: tests take longer where a release has no such package."""
UNPACKED_TOOLS = {
    "promtool": ("prometheus", "usr/bin/promtool", "checks of the alert rules"),
}
"""Program to its Debian package, its place in it, and the tests that need it. Only the program is taken out of the
package: installing it would start a server."""
LOCKS = {
    "requirements.txt": ["pyproject.toml", "-c", "requirements-limits.txt"],
    "requirements-dev.txt": ["pyproject.toml", "--extra", "dev", "-c", "requirements.txt"],
    "requirements-build.txt": ["--group", "pyproject.toml:build", "-c", "requirements-dev.txt"],
    "requirements-node.txt": ["--group", "pyproject.toml:node"],
}
"""Lock file to what it is made from; a constraint keeps the versions of the files before it."""
MADE = (".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")
MADE_ELSEWHERE = ("frontend/node_modules", "frontend/dist", "dist", "build", "test-results")


class SetupError(Exception):
    """One sentence for the person at the terminal."""


# --- commands ---------------------------------------------------------------------------------------------


def runtime() -> None:
    """Install the locked runtime packages and the project itself."""
    make_environment()
    # The development lock holds the same versions and more: where it is in place there is nothing to do.
    if not is_done("dev", [ROOT / "requirements-dev.txt"]):
        install_lock("runtime", "requirements.txt")
    install_project()


def dev() -> None:
    """Install the locked packages for development and the project itself."""
    make_environment()
    install_lock("dev", "requirements-dev.txt")
    install_project()


def web() -> None:
    """Build the web app when its sources differ from those it was last built from."""
    if not (FRONTEND / "package.json").is_file():
        say("No frontend/ here: the web app that came with the package is used.")
        return
    sources = frontend_sources()
    if is_done("web", sources) and (STATIC / "index.html").is_file():
        return
    npm("run", "build")
    (STATIC / ".gitkeep").touch()  # the build empties the folder, and git keeps it by this file
    mark_done("web", sources)


def npm(*arguments: str) -> None:
    """Run npm in frontend/ after installing the locked packages there."""
    environment = {**node_environment(), "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
    program = shutil.which("npm", path=environment["PATH"]) or "npm"
    lock = FRONTEND / "package-lock.json"
    if not is_done("node_modules", [lock]) or not (FRONTEND / "node_modules").is_dir():
        with timed("Installing the web app's packages"):
            run(program, "ci", "--no-audit", "--no-fund", cwd=FRONTEND, env=environment)
        mark_done("node_modules", [lock])
    run(program, *arguments, cwd=FRONTEND, env=environment)


def tools() -> None:
    """Install the system programs that tests use, where that is possible; else say what will be skipped."""
    missing = [name for name in TEST_TOOLS if find_tool(name) is None]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    wanted = [[TEST_TOOLS[name][0] for name in missing]]
    wanted += [[package] for name, package in FASTER_TOOLS.items() if find_tool(name) is None]
    if any(wanted) and is_root and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with timed(f"Installing {', '.join(package for packages in wanted for package in packages)}"):
            attempt("apt-get", "update", "-qq", env=environment)
            for packages in filter(None, wanted):
                install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
                attempt(*install, env=environment)
    make_environment()
    unpack_tools()
    for name in missing:
        if find_tool(name) is None:
            say(f"{name} is not installed: {TEST_TOOLS[name][1]} are skipped.")


def unpack_tools() -> None:
    """Take single programs out of Debian packages, into .venv."""
    for name, (package, place, tests) in UNPACKED_TOOLS.items():
        if shutil.which(name) or (BIN / name).exists():
            continue
        if shutil.which("apt-get") and shutil.which("dpkg-deb"):
            with timed(f"Fetching {name}"), tempfile.TemporaryDirectory() as folder:
                download = ("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package)
                if not attempt(*download, cwd=Path(folder)) and attempt("apt-get", "update", "-qq"):
                    attempt(*download, cwd=Path(folder))
                for archive in Path(folder).glob("*.deb"):
                    attempt("dpkg-deb", "--extract", str(archive), folder)
                if (Path(folder) / place).is_file():
                    shutil.copy2(Path(folder) / place, BIN / name)
        if not (BIN / name).exists():
            say(f"{name} is not installed: {tests} are skipped.")


def find_tool(name: str) -> str | None:
    """Debian keeps PostgreSQL's programs out of PATH."""
    found = [str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    return shutil.which(name) or (found[-1] if found else None)


def lock(*options: str) -> None:
    """Resolve anew; without `--upgrade`, versions stay where they can."""
    make_environment()
    for name, sources in LOCKS.items():
        command = ("pip", "compile", *sources, "--output-file", name, *options)
        flags = ("--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes")
        # No address of an index and no path of a machine may end up in the files.
        quiet = ("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock", "-q")
        run(str(BIN / "uv"), *command, *flags, *quiet, env=uv_environment())


def clean() -> None:
    """Remove what these commands made; meetings and `.env` stay."""
    for name in (*MADE, *MADE_ELSEWHERE):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for path in STATIC.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".gitkeep":
            path.unlink()
    for folder in ("src", "tests", "scripts", "benchmarks"):
        for cache in (ROOT / folder).rglob("__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)


# --- Python packages --------------------------------------------------------------------------------------


def make_environment() -> None:
    """`.venv` with the installer and the build backend in it."""
    if not (BIN / ("python.exe" if os.name == "nt" else "python")).exists() or has_moved():
        with timed("Making .venv"):
            if not attempt(find_python(), "-m", "venv", "--clear", str(VENV)):
                raise SetupError(
                    "Python could not make .venv; on Debian and Ubuntu: apt install python3-venv"
                )
        STAMPS.mkdir(exist_ok=True)
        (STAMPS / "place").write_text(str(VENV), encoding="utf-8")
    name = "requirements-build.txt"
    if not is_done("build", [ROOT / name]):
        with timed("Installing the installer"):
            pip_install("--require-hashes", "-r", name)
        mark_done("build", [ROOT / name])


def has_moved() -> bool:
    """True when the environment was made elsewhere: its scripts point to a place that is gone."""
    place = STAMPS / "place"
    return place.is_file() and place.read_text(encoding="utf-8") != str(VENV)


def find_python() -> str:
    """The interpreter that runs this, or a newer one on the path when it is too old."""
    if sys.version_info >= MINIMUM_PYTHON:
        return sys.executable
    for minor in range(14, MINIMUM_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    version = ".".join(str(part) for part in sys.version_info[:2])
    raise SetupError(f"Python 3.11 or newer is needed; this is {version}. Name one: make PYTHON=/path/to/it")


def install_lock(step: str, name: str) -> None:
    """Install a lock file once."""
    if is_done(step, [ROOT / name]):
        return
    with timed(f"Installing the packages of {name}"):
        install("--require-hashes", "-r", name)
    mark_done(step, [ROOT / name])


def install_project() -> None:
    """Put the project itself into the environment, editable.

    Built without isolation by the locked backend that is already there: an isolated build would fetch
    whatever version of the backend is newest that day.
    """
    made_from = [ROOT / "pyproject.toml", ROOT / "src" / "meeting_assistant" / "__init__.py"]
    if not is_done("project", made_from):
        install("--no-deps", "--no-build-isolation", "-e", ".")
        mark_done("project", made_from)


def install(*arguments: str) -> None:
    """By uv; by pip where uv cannot (it does not read every setting of pip: extra indexes, logins)."""
    command = (str(BIN / "uv"), "pip", "install", "--python", str(BIN / "python"), *arguments)
    if (BIN / "uv").exists() and attempt(*command, env=uv_environment()):
        return
    say("uv did not succeed; trying pip.")
    pip_install(*arguments)


def pip_install(*arguments: str) -> None:
    """By pip, which is in every virtual environment."""
    run(str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments)


def uv_environment() -> dict[str, str]:
    """The environment for uv: it is told the index and the certificates that pip was told."""
    environment = dict(os.environ)
    listed = subprocess.run(
        [str(BIN / "python"), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    pairs = re.findall(r"^(?:global|install|:env:)\.(index-url|cert)='(.*)'$", listed, re.MULTILINE)
    options = dict(pairs)
    if "index-url" in options and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(environment):
        environment["UV_DEFAULT_INDEX"] = options["index-url"]
    if "cert" in options:
        environment.setdefault("SSL_CERT_FILE", options["cert"])
    return environment


# --- Node.js ----------------------------------------------------------------------------------------------


def node_environment() -> dict[str, str]:
    """The environment with a good enough Node.js first on the path: the machine's own, or one from a wheel."""
    if shutil.which("npm") and node_version() >= MINIMUM_NODE:
        return dict(os.environ)
    make_environment()
    install_lock("node", "requirements-node.txt")
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def node_version() -> tuple[int, ...]:
    """Of the machine's Node.js; empty when there is none."""
    program = shutil.which("node")
    if program is None:
        return ()
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in re.findall(r"\d+", output)[:2])


def frontend_sources() -> list[Path]:
    """Everything that the build of the web app reads."""
    skipped = {"node_modules", "dist", "coverage", "test-results"}
    files = (path for path in FRONTEND.rglob("*") if not skipped & set(path.relative_to(FRONTEND).parts))
    return sorted(path for path in files if path.is_file())


# --- small things -----------------------------------------------------------------------------------------


def fingerprint(files: list[Path]) -> str:
    """Changes when a file is added, removed, renamed or changed."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_done(step: str, files: list[Path]) -> bool:
    """True when the step was last done from exactly these files."""
    stamp = STAMPS / step
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint(files)


def mark_done(step: str, files: list[Path]) -> None:
    """Remember what the step was done from."""
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / step).write_text(fingerprint(files), encoding="utf-8")


class timed:  # noqa: N801 - reads as a verb where it is used
    """Say what begins, and at the end how long it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        say(f"{self.what} …")
        self.began = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            say(f"{self.what}: done in {time.monotonic() - self.began:.1f} s.")


def attempt(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> bool:
    """Run a program; True when it succeeded."""
    return subprocess.run(command, cwd=cwd, env=env, check=False).returncode == 0


def run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a program that must succeed."""
    if not attempt(*command, cwd=cwd, env=env):
        raise SetupError(f"This did not succeed: {' '.join(command)}")


def say(line: str) -> None:
    """To standard error: standard output belongs to what is run."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the commands named; `npm` and `lock` take what follows them."""
    commands = {"runtime": runtime, "dev": dev, "web": web, "tools": tools, "clean": clean}
    try:
        if arguments[:1] == ["npm"]:
            npm(*arguments[1:])
        elif arguments[:1] == ["lock"]:
            lock(*arguments[1:])
        elif arguments and all(name in commands for name in arguments):
            for name in arguments:
                commands[name]()
        else:
            print(__doc__)
            return 2
    except SetupError as error:
        say(f"setup: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
