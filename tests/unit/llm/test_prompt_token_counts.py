"""Which token counts of a server show that it read only a part, and which come from its vocabulary."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.services.llm.silent_cuts import SilentCuts
from meeting_assistant.services.llm.token_estimate import tokens_in

pytestmark = pytest.mark.unit

GERMAN = "Wir haben die Geschwindigkeitsbegrenzung noch einmal besprochen. " * 300
ENGLISH = "Then we talked about the plan, its costs and who could look after it. " * 300
CHINESE = "我们再次讨论了这个计划以及它的费用" * 300
PROBE = LlmRequest(system="Answer with JSON.", user="Say yes.", max_output_tokens=20)


class Server:
    """A server that counts tokens as its vocabulary does, up to its window."""

    def __init__(self, shares: dict[str, float], window: int = 1_000_000) -> None:
        self.shares = shares
        """Tokens to one that is estimated, by the first letters of a text."""
        self.window = window
        self.cuts = SilentCuts()
        self.measured = 0

    def answer(self, request: LlmRequest) -> LlmReply:
        share = next(share for start, share in self.shares.items() if request.user.startswith(start))
        tokens = int(share * (tokens_in(request.user) + tokens_in(request.system)))
        return LlmReply(text="{}", provider="vllm", model="m", prompt_tokens=min(tokens, self.window))

    async def measure(self, request: LlmRequest) -> LlmReply:
        self.measured += 1
        return self.answer(request)

    async def ask(self, text: str) -> None:
        request = LlmRequest(system="Write minutes.", user=text, max_output_tokens=100, meeting_ids=("m",))
        await self.cuts.check(self.answer(request), request, PROBE, self.measure)


async def test_a_meeting_that_changes_its_language_is_not_taken_for_cut() -> None:
    server = Server({"Wir": 0.94, "Then": 0.75})
    for text in (GERMAN, GERMAN, ENGLISH, ENGLISH):
        await server.ask(text)
    assert server.measured == 2, "once for each language, not for each part"


async def test_a_cut_is_found_after_another_language_was_measured() -> None:
    server = Server({"Wir": 0.94, "Then": 0.75})
    await server.ask(GERMAN)
    server.window = 3000
    with pytest.raises(LlmError, match="read only a part") as caught:
        await server.ask(ENGLISH)
    assert caught.value.is_silent_cut


async def test_a_vocabulary_that_was_learned_from_chinese_is_not_taken_for_a_cut() -> None:
    server = Server({"我们": 0.4})
    await server.ask(CHINESE)
    server.window = 1500
    with pytest.raises(LlmError, match="read only a part"):
        await server.ask(CHINESE)
