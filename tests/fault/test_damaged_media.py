"""Media files damaged at random: every second of a known signal is heard at its time, or marked as lost."""

from __future__ import annotations

import random

import pytest

from meeting_assistant.testing.harness.campaign import Campaign
from meeting_assistant.testing.harness.media import FORMATS, RATE, MediaTrack, encode, read_media, tones


def damaged(raw: bytes, dice: random.Random) -> bytes:
    """Bits flipped, or bytes overwritten, after the header and before the index at the end."""
    changed = bytearray(raw)
    first, last = len(raw) // 6, len(raw) * 9 // 10
    if dice.random() < 0.3:
        for _ in range(dice.randint(1, 12)):
            changed[dice.randrange(first, last)] ^= 1 << dice.randrange(8)
    else:
        start = dice.randrange(first, last)
        end = min(last, start + dice.randint(1, len(raw) // 20))
        changed[start:end] = dice.randbytes(end - start) if dice.random() < 0.7 else bytes(end - start)
    return bytes(changed)


@pytest.mark.timeout(0)
@pytest.mark.short(16)
def test_damage_moves_nothing_and_every_second_is_heard_or_marked(campaign: Campaign) -> None:
    length = 12
    originals = {suffix: encode(suffix, MediaTrack(tones(range(length)))) for suffix in FORMATS}
    for seed in campaign.seeds():
        dice = random.Random(seed)
        suffix = dice.choice([*FORMATS])
        decoded = read_media(damaged(originals[suffix], dice))
        heard = [*decoded.seconds, *[None] * length]
        lost = [
            second
            for second in range(length)
            if heard[second] != second
            and not any(start <= second + 1 and second <= end for start, end, _ in decoded.gaps)
        ]
        assert len(lost) <= 1, (seed, suffix, lost, decoded.gaps)  # damage in the samples themselves is noise
        assert len(decoded.pcm) / RATE == pytest.approx(length, abs=0.4) or decoded.gaps, (seed, suffix)
        campaign.count(decoded=1)
