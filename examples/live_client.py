"""Stream a WAV file (16 bit, mono) to a running server at the pace of speech, and print captions as they appear.

python examples/live_client.py talk.wav [ws://127.0.0.1:8000 [TOKEN]]
"""

import asyncio
import json
import sys
import wave

from websockets.asyncio.client import ClientConnection, connect


async def send(socket: ClientConnection, recording: wave.Wave_read) -> None:
    while chunk := recording.readframes(recording.getframerate() // 10):
        await socket.send(chunk)
        await asyncio.sleep(0.1)
    await socket.send(json.dumps({"type": "stop"}))


async def main(path: str, url: str = "ws://127.0.0.1:8000", token: str | None = None) -> None:
    with wave.open(path) as recording:
        async with connect(f"{url}/ws/meetings", max_size=None) as socket, asyncio.TaskGroup() as tasks:
            start = {"type": "start", "sample_rate": recording.getframerate(), "channels": 1, "token": token}
            await socket.send(json.dumps(start))
            sending = tasks.create_task(send(socket, recording))
            async for frame in socket:
                message = json.loads(frame)
                if message["type"] == "partial_transcript":
                    print("…", message["stable"], message["unstable"])
                elif message["type"] == "transcript":
                    print(message["speaker"] or "S?", message["text"], sep=": ")
                elif message["type"] == "error":
                    print(message["message"], message["remedy"], file=sys.stderr)
            sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
