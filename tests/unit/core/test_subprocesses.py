"""Programs that are run to their end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fixtures.core.subprocesses import run_program

SHELL = Path("/bin/sh")


def test_a_program_gets_its_input_and_environment_and_gives_its_exit_code_output_and_errors() -> None:
    script = 'read line; echo "$line $NAME"; echo refused >&2; exit 3'
    done = run_program(SHELL, "-c", script, environment={"NAME": "x"}, timeout=10, given="given\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "given x\n", "refused\n")


def test_a_program_that_is_given_nothing_does_not_wait_for_input() -> None:
    assert run_program(SHELL, "-c", "cat", environment={"PATH": "/bin:/usr/bin"}, timeout=10).stdout == ""


def test_a_program_that_does_not_end_is_ended_and_named() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^`sh -c exec sleep 60` did not end in 0\.1 s$"):
        run_program(SHELL, "-c", "exec sleep 60", environment={"PATH": "/bin:/usr/bin"}, timeout=0.1)
    assert time.monotonic() - began < 10
