"""What ends a stalled wait: the link that stays the first broken one, on a clock of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from fixtures.core.waiting import STALL_AFTER, Condition, Look, time_limits_scaled, wait_for
from fixtures.diagnosis import stalls
from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.stalls import (
    BROKEN_FOR,
    CONFIGURED_FOR,
    ON_ITS_WAY_FOR,
    PULLED_FOR,
    WALK_INTERVAL,
    StallWatch,
)
from fixtures.k8s.failures.unready import WAITS_FOR_IMAGE

SOON = 60.0  # seconds, at the most, for what a thread does at once
NEVER = 0.2  # seconds in which a thread does not do what it should not


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Walks:
    """A walk that takes its time on the clock, and finds what it is given."""

    def __init__(self, clock: Clock, seconds: float = stalls.WALK_INTERVAL) -> None:
        self.clock, self.seconds = clock, seconds
        self.found = Diagnosis(None)
        self.during: Callable[[], object] = lambda: None
        self.number = 0
        self._made = threading.Semaphore(0)

    def __call__(self) -> Diagnosis:
        self.number += 1
        self.clock.now += self.seconds
        self.during()
        self._made.release()
        return self.found

    def another(self, within: float) -> bool:
        """Whether one more has been made within so many seconds."""
        return self._made.acquire(timeout=within)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def walks(clock: Clock) -> Walks:
    return Walks(clock)


@pytest.fixture
def watch(walks: Walks, clock: Clock) -> Iterator[StallWatch]:
    made = StallWatch(walks, clock)
    yield made
    made.stop()


def broken(sentence: str = "0 of 1 ready", *, on_its_way: bool = False, link: str = "component ready") -> Finding:
    return Finding(link, "server", sentence, "usually so", on_its_way=on_its_way)


def note(watch: StallWatch, at: float, *found: Finding) -> bool:
    """Whether waits end after a walk at this time that finds this."""
    watch.note(at, Diagnosis(found[0] if found else None, found[1:]))
    ending = watch.ending
    assert ending is None or ending.broken == found[0]
    assert watch() == (None if ending is None else str(found[0]))
    return ending is not None


def test_a_wait_does_not_end_for_one_walk(watch: StallWatch) -> None:
    assert watch() is None
    assert not note(watch, 0.0, broken())


def test_an_image_on_a_slow_line_has_minutes(watch: StallWatch) -> None:
    found = broken(f"StatefulSet server: container a of pod b {WAITS_FOR_IMAGE}: Pulling image c", on_its_way=True)
    assert not note(watch, 0.0, found)
    assert not note(watch, PULLED_FOR - 0.1, found)
    assert note(watch, PULLED_FOR, found)


def test_what_its_own_specification_lets_be_on_its_way_has_that_time(
    watch: StallWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that waits for its load balancers before it ends.
    now = 5000.0
    monkeypatch.setattr(stalls, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
    found = replace(broken(on_its_way=True), until=5090.0)
    assert not note(watch, 0.0, found)
    now = 5089.0
    assert not note(watch, 89.0, found)
    now = 5090.0
    assert note(watch, 90.0, found)
    # What is not on its way does not come by that time either.
    assert not note(watch, 200.0, replace(broken("crashes"), until=9999.0))
    assert note(watch, 200.0 + BROKEN_FOR, replace(broken("crashes"), until=9999.0))


@pytest.mark.parametrize(("on_its_way", "seconds"), [(False, BROKEN_FOR), (True, ON_ITS_WAY_FOR)])
def test_a_wait_ends_once_the_same_link_has_been_broken_for_long(
    watch: StallWatch, on_its_way: bool, seconds: float
) -> None:
    found = broken(on_its_way=on_its_way)
    assert not note(watch, 100.0, found)
    assert not note(watch, 100.0 + seconds - 0.1, found)
    assert note(watch, 100.0 + seconds, found)


def test_on_a_slow_machine_what_may_be_slow_has_more_time_and_what_is_configured_wrongly_none(
    watch: StallWatch,
) -> None:
    slow, wrong = broken(), Finding("federation relationship", "server", "none", OF_A_CLASS)
    with time_limits_scaled(3.0):
        assert not note(watch, 0.0, slow)
        assert not note(watch, 3 * BROKEN_FOR - 0.1, slow)
        assert note(watch, 3 * BROKEN_FOR, slow)
        assert not note(watch, 100.0, wrong)
        assert note(watch, 100.0 + CONFIGURED_FOR, wrong)


def test_healthy_variants_have_their_time() -> None:
    # A minute for what is on its way, and more than a controller manager's wait for a lease of 15 s for the rest.
    assert 58.0 <= STALL_AFTER + ON_ITS_WAY_FOR <= 62.0
    assert 20.0 <= STALL_AFTER + BROKEN_FOR <= 25.0
    # One walk alone is no evidence.
    assert WALK_INTERVAL <= CONFIGURED_FOR < BROKEN_FOR


OF_A_CLASS = "the controller manager acts only on objects of its own class (spire-mgmt-spire), and ignores others"


@pytest.mark.parametrize(
    ("on_its_way", "follows", "seconds"),
    [(False, False, CONFIGURED_FOR), (False, True, BROKEN_FOR), (True, False, ON_ITS_WAY_FOR)],
)
def test_what_is_configured_wrongly_needs_two_walks_unless_something_else_may_be_the_reason(
    watch: StallWatch, on_its_way: bool, follows: bool, seconds: float
) -> None:
    found = Finding("federation relationship", "server", "none", OF_A_CLASS, on_its_way=on_its_way, follows=follows)
    assert not note(watch, 100.0, found)
    assert not note(watch, 100.0 + seconds - 0.1, found)
    assert note(watch, 100.0 + seconds, found)


def test_a_sentence_whose_numbers_change_is_the_same(watch: StallWatch) -> None:
    note(watch, 0.0, broken("the bundle is 5 s old: 10.89.0.1:8440 refuses connections"))
    assert note(watch, BROKEN_FOR, broken("the bundle is 15 s old: 10.89.0.1:30412 refuses connections"))


@pytest.mark.parametrize(
    "other",
    [
        broken("1 of 1 restarted"),
        broken(link="agent attested"),
        Finding("component ready", "client", "0 of 1 ready", "usually so"),
        # What was on its way for as long has not been broken for as long.
        broken(on_its_way=True),
    ],
    ids=["sentence", "link", "cluster", "on its way"],
)
def test_another_broken_link_starts_the_time_again(watch: StallWatch, other: Finding) -> None:
    found = broken()
    note(watch, 0.0, other)
    assert not note(watch, ON_ITS_WAY_FOR, found)
    assert not note(watch, ON_ITS_WAY_FOR + BROKEN_FOR - 0.1, found)
    assert note(watch, ON_ITS_WAY_FOR + BROKEN_FOR, found)
    assert not note(watch, 2 * ON_ITS_WAY_FOR, other)
    assert not note(watch, 2 * ON_ITS_WAY_FOR + 1, found)


def test_a_consequence_has_its_time_from_when_it_is_the_first_broken_link(watch: StallWatch) -> None:
    first, consequence = broken(on_its_way=True), broken("its endpoint refuses connections", link="endpoint reachable")
    note(watch, 0.0, first, consequence)
    note(watch, 30.0, first, consequence)
    assert not note(watch, 35.0, consequence)
    assert not note(watch, 35.0 + BROKEN_FOR - 0.1, consequence)
    assert note(watch, 35.0 + BROKEN_FOR, consequence)


def test_what_is_mended_in_between_starts_again(watch: StallWatch) -> None:
    note(watch, 0.0, broken())
    assert not note(watch, BROKEN_FOR / 2)
    assert not note(watch, BROKEN_FOR, broken())
    assert note(watch, 2 * BROKEN_FOR, broken())
    assert not note(watch, 2 * BROKEN_FOR + 1)


def test_while_it_is_paused_nothing_is_named_but_within_a_block_that_resumes_it(watch: StallWatch) -> None:
    note(watch, 0.0, broken())
    note(watch, BROKEN_FOR, broken())
    watch.pause()
    assert watch() is None
    with watch.resumed():
        assert watch() == "component ready (server): 0 of 1 ready"
    assert watch() is None
    with pytest.raises(ValueError, match="in the block"), watch.resumed():
        raise ValueError("in the block")
    assert watch() is None


def test_nothing_is_walked_before_a_wait_asks_nor_while_paused(watch: StallWatch, walks: Walks) -> None:
    watch.start()
    assert not walks.another(NEVER)
    watch.pause()
    watch()
    assert not walks.another(NEVER)
    with watch.resumed():
        watch()
        assert walks.another(SOON)


def test_walks_end_when_nothing_asks_any_more(watch: StallWatch, walks: Walks) -> None:
    watch.start()
    for number in (1, 2):
        watch()
        assert walks.another(SOON)
        assert not walks.another(NEVER)
        assert walks.number == number


def test_a_wait_that_goes_on_asking_ends_and_its_findings_are_discarded_after_it(
    watch: StallWatch, walks: Walks
) -> None:
    walks.found = Diagnosis(broken())
    asked: list[str | None] = []
    ended = threading.Event()

    def ask() -> None:
        asked.append(watch())
        if len(asked) == 5:
            ended.set()
            walks.during = lambda: None

    walks.during = ask
    watch.start()
    watch()
    assert ended.wait(SOON)
    # Walks that began 0, 5, 10 and 15 s after the first question; the fifth asks after the fourth is noted.
    assert asked == [None, None, None, None, "component ready (server): 0 of 1 ready"]
    # Now nobody asks, and what was seen says nothing of the next wait.
    wait_for(Condition("nothing to end for", lambda: Look(watch.ending is None or None, "")), SOON, interval=0.01)
    number = walks.number
    assert watch() is None
    wait_for(Condition("a walk", lambda: Look(walks.number > number or None, "")), SOON, interval=0.01)
    assert watch.ending is None


def test_a_slow_walk_delays_no_wait(watch: StallWatch, walks: Walks) -> None:
    release = threading.Event()
    walks.during = lambda: release.wait(SOON)
    watch.start()
    watch()
    began = time.monotonic()
    assert watch() is None
    assert time.monotonic() - began < SOON / 3
    release.set()
    assert walks.another(SOON)


class AskedMeanwhile(threading.Event):
    """An event whose first reset is met by a question from another thread, where that may come in between."""

    def __init__(self) -> None:
        super().__init__()
        self.ask: threading.Thread | None = None

    def clear(self) -> None:
        asking, self.ask = self.ask, None
        if asking is not None:
            asking.start()
            asking.join(0.5)
        super().clear()


def test_a_wait_that_asks_while_the_one_before_it_is_forgotten_gets_its_walk(watch: StallWatch, walks: Walks) -> None:
    wake = AskedMeanwhile()
    wake.ask = threading.Thread(target=watch)
    watch._wake = wake
    watch.start()
    wake.set()  # as a question does of which the thread sees nothing for `ASKED_WITHIN`
    assert walks.another(SOON)


def test_a_wait_that_asks_while_a_walk_is_taken_into_account_gets_the_diagnosis_of_the_one_before(
    watch: StallWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(watch, 0.0, broken())
    assert note(watch, BROKEN_FOR, broken())
    seen: list[Diagnosis | None] = []
    enough = stalls._enough

    def look(finding: Finding) -> float:
        seen.append(watch.ending)
        return enough(finding)

    monkeypatch.setattr(stalls, "_enough", look)
    assert note(watch, BROKEN_FOR + WALK_INTERVAL, broken())
    assert [each is not None and each.broken == broken() for each in seen] == [True]


def test_two_walks_do_not_begin_closer_together_than_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "WALK_INTERVAL", 0.3)
    began: list[float] = []
    enough = threading.Event()

    def note(_: StallWatch, at: float, _diagnosis: Diagnosis) -> None:
        # What the walk itself would read of a clock may be later than its beginning by any pause of its thread.
        began.append(at)
        if len(began) == 3:
            enough.set()

    monkeypatch.setattr(StallWatch, "note", note)
    watch = StallWatch(lambda: Diagnosis(None))
    watch.start()
    watch()
    assert enough.wait(SOON)
    watch.stop()
    assert all(later - earlier >= 0.29 for earlier, later in pairwise(began))


@pytest.mark.parametrize("asks", [False, True])
def test_a_watch_that_is_stopped_walks_no_more(watch: StallWatch, walks: Walks, asks: bool) -> None:
    others = threading.enumerate()
    watch.start()
    (thread,) = (each for each in threading.enumerate() if each not in others)
    if asks:
        walks.during = watch.stop
        watch()
        assert walks.another(SOON)
    else:
        watch.stop()
    thread.join(SOON)
    assert not thread.is_alive()
    watch()
    assert walks.number == int(asks)
