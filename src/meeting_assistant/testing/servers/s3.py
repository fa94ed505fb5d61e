"""An S3-speaking server for tests, on a loopback port, and what is in it."""

from __future__ import annotations

from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from meeting_assistant.launcher import free_port

BUCKET = "recordings"
SECRET = "secret-of-the-store"


class S3Server:
    """Keeps what it was given while it is stopped. Use as a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._server: ThreadedMotoServer | None = None

    def __enter__(self) -> S3Server:
        self.start()
        self.make_bucket(BUCKET)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, prefix: str, bucket: str = BUCKET) -> str:
        """Return the URL of a prefix in a bucket, for `AUDIO_STORE_URL`."""
        return f"s3://testing:{SECRET}@{bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1"

    def start(self) -> None:
        """Start the server, on the same port each time."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        """Stop the server and close its port; idempotent."""
        if self._server is not None:
            self._server.stop()
            assert self._server._server is not None
            self._server._server.server_close()
            self._server = None

    def make_bucket(self, bucket: str, *, is_versioned: bool = False) -> None:
        """Create a bucket; a versioned one keeps everything that is deleted or replaced."""
        client = self._client()
        client.create_bucket(Bucket=bucket)
        if is_versioned:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def objects(self, prefix: str, bucket: str = BUCKET) -> dict[str, bytes]:
        """Return the contents of all objects under a prefix, by their names without it."""
        client = self._client()
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        return {entry["Key"].removeprefix(f"{prefix}/"): _read(client, bucket, entry) for entry in listed}

    def all_versions(self, prefix: str, bucket: str) -> list[bytes]:
        """Return the contents of all versions under a prefix, including deleted and replaced ones."""
        client = self._client()
        listed = client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/").get("Versions", [])
        return [_read(client, bucket, entry) for entry in listed]

    def remove(self, prefix: str, name: str) -> None:
        """Delete an object, as an accident would."""
        self._client().delete_object(Bucket=BUCKET, Key=f"{prefix}/{name}")

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key=SECRET,
        )


def _read(client: Any, bucket: str, entry: dict[str, Any]) -> bytes:
    version = {"VersionId": entry["VersionId"]} if "VersionId" in entry else {}
    content: bytes = client.get_object(Bucket=bucket, Key=entry["Key"], **version)["Body"].read()
    return content
