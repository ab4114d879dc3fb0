"""What a reading is, and the words that several of them share."""

from typing import NamedTuple


class Reading(NamedTuple):
    claim: str
    text: str


NOTHING = Reading("No run is done yet", "There is no final score to read.")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
