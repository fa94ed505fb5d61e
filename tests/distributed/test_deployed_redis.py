"""The Redis of `deploy/compose.yaml`, started with its own command: TLS, a password, nothing on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.launcher import free_port
from meeting_assistant.testing.harness.fleet import KEYS

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "correct-horse"
JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="m", gateway="gateway")


def make_certificates(folder: Path) -> None:
    program = [sys.executable, str(DEPLOY / "redis/make_certificates.py")]
    subprocess.run([*program, str(folder / "key"), str(folder / "ca"), "redis", "localhost"], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    for part in ("key", "ca", "data"):
        (folder / part).mkdir()
    make_certificates(folder)
    return folder


def command_of(folder: Path, port: int) -> list[str]:
    """The command of the container, with the folders and the port of this test."""
    service: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]
    shell, flag, script = service["command"]
    script = (
        script.replace("$$", "$")
        .replace("/redis-key/", f"{folder}/key/")
        .replace("/redis-ca/", f"{folder}/ca/")
    )
    return [shell, flag, script.replace("6379", str(port))]


@pytest.fixture(scope="module")
def address(redis_server: str, folder: Path) -> Iterator[str]:
    """Of the running Redis, up to what a client has to know of it."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": PASSWORD}
    server = subprocess.Popen(
        command_of(folder, port), env=env, cwd=folder / "data", stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "Ready to accept connections" in line:
            break
    yield f"localhost:{port}/0"
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=20)
    assert server.returncode == 0
    assert list((folder / "data").iterdir()) == [], "nothing was written to the disk, at its end neither"


async def test_a_gateway_and_a_worker_reach_it_by_the_address_of_the_compose_file_and_find_nothing_to_warn_about(
    address: str, folder: Path
) -> None:
    url = f"rediss://:{PASSWORD}@{address}?ssl_ca_certs={folder}/ca/ca.crt"
    gateway, worker = RedisGatewayLink(url, "gateway", KEYS), RedisWorkerLink(url, "worker", KEYS, lease_s=1)
    await gateway.submit(JOB)
    held = await worker.take(5)
    assert held is not None
    assert held.job.meeting_id == "m"
    await held.ack()
    assert await gateway.warnings() == await worker.warnings() == []
    for link in (gateway, worker):
        await link.close()


@pytest.mark.parametrize(
    "url",
    [
        "rediss://{address}?ssl_ca_certs={folder}/ca/ca.crt",
        "rediss://:wrong@{address}?ssl_ca_certs={folder}/ca/ca.crt",
        "rediss://:" + PASSWORD + "@{address}",
        "redis://:" + PASSWORD + "@{address}",
    ],
    ids=["no password", "another password", "an authority that is not known", "no TLS"],
)
async def test_other_connections_are_refused(address: str, folder: Path, url: str) -> None:
    link = RedisGatewayLink(url.format(address=address, folder=folder), "gateway", KEYS)
    with pytest.raises(BrokerError):
        await link.is_offered(JOB)
    await link.close()


def test_it_does_not_start_without_a_password(folder: Path) -> None:
    env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": ""}
    done = subprocess.run(
        command_of(folder, free_port()), env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Set REDIS_PASSWORD in deploy/.env.\n"


def test_a_certificate_is_made_once_and_its_key_is_private(folder: Path) -> None:
    files = [folder / "key/redis.key", folder / "key/redis.crt", folder / "ca/ca.crt"]
    before = [file.read_bytes() for file in files]
    make_certificates(folder)
    assert [file.read_bytes() for file in files] == before
    assert files[0].stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (folder / "ca").iterdir()) == ["ca.crt"]


def test_the_health_check_uses_the_password(address: str, folder: Path) -> None:
    service: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]
    check = service["healthcheck"]["test"][1].replace("$$", "$").replace("/redis-ca/", f"{folder}/ca/")
    port = address.split(":")[1].split("/")[0]
    check = check.replace("redis-cli", f"redis-cli -h localhost -p {port}")
    for password, code in ((PASSWORD, 0), ("wrong", 1)):
        env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": password}
        done = subprocess.run(["sh", "-c", check], env=env, capture_output=True, timeout=20, check=False)
        assert done.returncode == code, done


def test_the_client_that_is_installed_checks_host_names(address: str, folder: Path) -> None:
    port = int(address.split(":")[1].split("/")[0])
    once = Retry(NoBackoff(), 0)
    ca = f"{folder}/ca/ca.crt"
    client = redis.Redis("127.0.0.1", port, password=PASSWORD, ssl=True, ssl_ca_certs=ca, retry=once)
    with pytest.raises(redis.ConnectionError, match=r"127\.0\.0\.1"):
        client.ping()
