"""Signals, where a shell's `&` and `nohup` have had some of them ignored."""

import signal
import subprocess
import sys

import pytest

from fagan import supervision

ASKED = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"


@pytest.fixture
def ignored():
    kinds = (signal.SIGINT, signal.SIGHUP)
    before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in kinds}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def ignores_interrupts():
    return subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True).stdout


def test_what_a_command_in_the_background_starts_can_be_interrupted(ignored):
    assert ignores_interrupts() == "True\n"
    with supervision.can_be_interrupted():
        assert ignores_interrupts() == "False\n"
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_nohup_outlives_its_terminal(ignored):
    with supervision.ends_by_signal():
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_closed_terminal_ends_the_block():
    with pytest.raises(KeyboardInterrupt), supervision.ends_by_signal():
        signal.raise_signal(signal.SIGHUP)
