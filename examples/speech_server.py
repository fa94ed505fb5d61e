"""A speech engine of your own, behind the interface that `ASR_ENGINE=openai` expects.

    python examples/speech_server.py 8001
    ASR_ENGINE=openai ASR_SERVER__BASE_URL=http://127.0.0.1:8001 meeting-assistant serve

Replace `recognise`. To return word times, add `"words": [{"word": …, "start": …, "end": …}]`, in seconds.
"""

import io
import json
import sys
import wave
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def recognise(recording: wave.Wave_read) -> str:
    """Return the text of 16 kHz mono audio; this one only says how long it is."""
    return f"I heard {recording.getnframes() / recording.getframerate():.0f} seconds."


class SpeechServer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = message_from_bytes(f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
        parts = {part.get_param("name", header="Content-Disposition"): part for part in form.walk()}
        with wave.open(io.BytesIO(parts["file"].get_payload(decode=True))) as recording:
            answer = json.dumps({"text": recognise(recording)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SpeechServer).serve_forever()
