"""The list of faults: enough of them, each with its own name, each in words that the suite knows."""

from __future__ import annotations

import re
from collections import Counter

from fixtures.diagnosis.chain import LINKS
from tests.checks import CHECKS
from tests.faults import FAULTS, INSTALLATION

FEWEST = 30
KINDS = {"values", "manifests", "objects", "network"}


def test_there_are_enough_faults_of_every_kind() -> None:
    assert len(FAULTS) >= FEWEST
    assert set(Counter(fault.kind for fault in FAULTS)) == KINDS


def test_no_two_faults_have_one_name() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_fault_names_a_check_and_a_link_that_exist() -> None:
    assert {fault.check for fault in FAULTS} <= {*CHECKS, INSTALLATION}
    assert {fault.link for fault in FAULTS} <= set(LINKS)


def test_every_pattern_is_one_that_says_something() -> None:
    for fault in FAULTS:
        for pattern in (fault.reason, fault.sentence):
            assert not re.search(pattern, ""), f"{fault.name}: {pattern!r} matches anything"
