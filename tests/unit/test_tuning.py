"""Tuning without Ray: what can be said of it in this process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from mien.tuning import CtrlC


def test_a_ctrl_c_that_ray_swallows_comes_again():
    before = signal.getsignal(signal.SIGINT)
    ctrl_c = CtrlC()
    with pytest.raises(KeyboardInterrupt), ctrl_c:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.again()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_nothing_is_raised_and_errors_pass():
    ctrl_c = CtrlC()
    with ctrl_c:
        ctrl_c.again()
    with pytest.raises(ValueError, match="mine"), CtrlC():
        raise ValueError("mine")
