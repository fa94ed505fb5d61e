"""The live protocol against a small model of it: any order of messages, reconnections and stale sockets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.campaign import Campaign

EXAMPLES_OF_A_SEED = 12
"""A run that fails is found again by its seed, with what it shrank to."""
START = {"type": "start", "sample_rate": 16000, "channels": 1}


class LiveMeeting(RuleBasedStateMachine):
    """A model of the protocol: what a client may expect."""

    server: ServerProcess

    def __init__(self) -> None:
        super().__init__()
        self.socket: ClientConnection | None = None
        self.stale: list[ClientConnection] = []
        self.meeting = ""
        self.received = 0
        """Bytes of whole samples accepted."""
        self.half = 0
        """1 when half a sample waits in the present connection."""
        self.is_paused = False
        self.is_off_record = False
        self.silent = 0
        self.epoch = 0

    # --- the wire

    def connect(self) -> ClientConnection:
        return connect(f"{self.server.ws_url}/ws/meetings", proxy=None, open_timeout=20, legacy=True)

    def send_message(self, **message: object) -> None:
        assert self.socket is not None
        self.socket.send(json.dumps(message))

    def receive(self, *kinds: str) -> dict[str, Any]:
        assert self.socket is not None
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(timeout=20))
            if message["type"] in kinds:
                return message

    def errors(self) -> list[str]:
        """Return the codes of all errors so far: a socket is read in order, so `pong` comes after them."""
        self.send_message(type="ping")
        codes = []
        while (message := self.receive("error", "pong"))["type"] == "error":
            assert message["remedy"]
            assert not message["fatal"]
            codes.append(message["code"])
        return codes

    # --- what may happen

    @initialize()
    def start(self) -> None:
        self.socket = self.connect()
        self.send_message(**START)
        started = self.receive("started")
        assert (started["received_bytes"], started["resumed"], started["epoch"]) == (0, False, 1)
        self.meeting, self.epoch = started["meeting_id"], 1

    @rule(size=st.integers(1, 20_000))
    def send_audio(self, size: int) -> None:
        assert self.socket is not None
        self.socket.send(bytes(size))
        if self.is_paused:
            assert self.errors() == ["conflict"]
            return
        whole = (size + self.half) // 2 * 2
        self.half = (size + self.half) % 2
        self.received += whole
        self.silent += whole if self.is_off_record else 0
        assert self.errors() == []

    @rule(forget=st.booleans())
    def pause(self, forget: bool) -> None:
        self.send_message(type="pause", forget=forget)
        assert self.errors() == []
        self.is_off_record |= forget
        self.is_paused |= not forget

    @rule()
    def resume(self) -> None:
        self.send_message(type="resume")
        assert self.errors() == []
        self.is_paused = self.is_off_record = False

    @rule(note=st.text(max_size=20))
    def bookmark(self, note: str) -> None:
        self.send_message(type="bookmark", note=note)
        assert self.errors() == []

    @rule()
    def rename_a_speaker_that_is_unknown(self) -> None:
        self.send_message(type="rename_speaker", speaker="S1", name="Ana")
        assert self.errors() == ["not_found"]

    @rule(text=st.sampled_from(["", "{", "[]", '{"type": "start"}', '{"type": "dance"}', "null", '{"type":']))
    def send_nonsense(self, text: str) -> None:
        assert self.socket is not None
        self.socket.send(text)
        assert self.errors() == ["protocol_violation"]

    @rule(is_torn=st.booleans())
    def reconnect(self, is_torn: bool) -> None:
        """Reconnect, with the old socket closed or still open: the newest one records."""
        assert self.socket is not None
        if is_torn:
            self.socket.close()
        else:
            self.stale.append(self.socket)
        self.socket = self.connect()
        self.send_message(**START, meeting_id=self.meeting)
        started = self.receive("started")
        self.epoch += 1
        assert (started["resumed"], started["epoch"]) == (True, self.epoch)
        assert started["received_bytes"] == self.received
        self.half, self.is_paused = 0, False

    @precondition(lambda self: self.stale)
    @rule()
    def use_a_stale_socket(self) -> None:
        stale = self.stale.pop()
        try:
            stale.send(bytes(1000))
            while True:
                stale.recv(timeout=20)
        except ConnectionClosed:
            assert stale.close_code == 4409
        assert self.errors() == []

    def teardown(self) -> None:
        if self.socket is None:
            return
        self.send_message(type="stop")
        if self.half:
            assert self.receive("error")["code"] == "odd_length_audio"
        final = self.receive("final")
        assert final["coverage"]["captured_s"] == round(self.received / 32_000, 3)
        gaps = final["transcript"]["gaps"]
        assert {gap["reason"] for gap in gaps} <= {"off_the_record"}
        assert abs(sum(gap["end_ms"] - gap["start_ms"] for gap in gaps) - self.silent / 32) <= 1 + len(gaps)
        assert final["transcript"]["utterances"] == []
        for socket in (self.socket, *self.stale):
            socket.close()


@pytest.mark.short(8)
def test_the_server_conforms_to_the_model_of_the_protocol(server: ServerProcess, campaign: Campaign) -> None:
    class Counted(LiveMeeting):
        def teardown(self) -> None:
            super().teardown()
            campaign.count(meetings=1, connections=self.epoch, sound_bytes=self.received)

    for first in itertools.islice(campaign.seeds(), 0, None, EXAMPLES_OF_A_SEED):
        left = campaign.seed + campaign.cycles - first
        Counted.server = server
        run_state_machine_as_test(
            seed(first)(Counted),
            settings=settings(
                max_examples=min(EXAMPLES_OF_A_SEED, left),
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
