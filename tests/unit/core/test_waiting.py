"""The one way to wait, on a clock of its own: no test here takes the time that it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.core import waiting
from fixtures.core.concurrency import map_concurrently
from fixtures.core.progress import Observation, observing
from fixtures.core.waiting import (
    STALL_AFTER,
    Condition,
    Look,
    UnrecoverableError,
    WaitError,
    ask_when_stalled,
    time_limit,
    time_limits_scaled,
    unasked,
    wait_for,
)


class Clock:
    """Stands in for `time`: sleeping only moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) > 10_000:
            raise AssertionError("the wait does not end")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    return made


def counting(*looks: Look[str] | Exception) -> tuple[Condition[str], list[int]]:
    """A condition that shows these looks in turn, the last one always, and how often it was looked at."""
    seen: list[int] = []

    def look() -> Look[str]:
        found = looks[min(len(seen), len(looks) - 1)]
        seen.append(len(seen))
        if isinstance(found, Exception):
            raise found
        return found

    return Condition("the bundle", look), seen


def test_a_value_that_is_there_is_returned_at_once(clock: Clock) -> None:
    condition, looks = counting(Look("here", "seen"))
    assert wait_for(condition, 60.0) == "here"
    assert (len(looks), clock.slept) == (1, [])


def test_a_value_that_is_there_is_returned_even_with_no_time_and_a_state_that_is_hopeless(clock: Clock) -> None:
    condition, _ = counting(Look("here", "seen"))
    assert wait_for(condition, 0.0, fails_if=lambda: "too late") == "here"
    assert clock.slept == []


@pytest.mark.parametrize("value", [0, False, "", ()])
def test_a_value_that_counts_as_false_is_a_value_all_the_same(clock: Clock, value: object) -> None:
    assert wait_for(Condition("a number", lambda: Look(value, "seen")), 5.0) == value
    assert clock.slept == []


def test_a_value_that_comes_later_is_returned_after_as_many_looks(clock: Clock) -> None:
    condition, looks = counting(Look(None, "1"), Look(None, "2"), Look("here", "3"))
    assert wait_for(condition, 60.0, interval=2.0) == "here"
    assert (len(looks), clock.slept) == (3, [2.0, 2.0])


@pytest.mark.usefixtures("clock")
def test_an_expired_wait_says_what_how_long_how_many_looks_and_what_was_last_seen() -> None:
    condition, looks = counting(Look(None, "0 of 2 ready"), Look(None, "1 of 2 ready"))
    with pytest.raises(WaitError) as caught:
        wait_for(condition, 7.5, interval=1.0)
    assert not isinstance(caught.value, UnrecoverableError)
    assert str(caught.value) == f"the bundle did not come in 7.5 s ({len(looks)} looks); last seen: 1 of 2 ready"
    assert len(looks) == 9


def test_a_wait_looks_a_last_time_when_time_is_up_and_not_later(clock: Clock) -> None:
    condition, _ = counting(*[Look[str](None, "not yet")] * 4, Look("here", "just in time"))
    assert wait_for(condition, 3.5, interval=1.0) == "here"
    assert sum(clock.slept) == pytest.approx(3.5)


def test_a_state_that_cannot_heal_ends_the_wait_at_once_with_its_sentence(clock: Clock) -> None:
    condition, looks = counting(Look(None, "0 of 1 ready"))
    with pytest.raises(UnrecoverableError, match=r"the bundle cannot come after 0\.0 s: container server crashes"):
        wait_for(condition, 3600.0, fails_if=lambda: "container server crashes")
    assert (len(looks), clock.slept) == (1, [])


@pytest.mark.usefixtures("clock")
def test_a_state_that_turns_hopeless_ends_the_wait_at_the_next_look() -> None:
    condition, looks = counting(Look(None, "0 of 1 ready"))
    with pytest.raises(UnrecoverableError, match=r"after 2\.0 s"):
        wait_for(condition, 3600.0, fails_if=lambda: "it crashes" if len(looks) == 3 else None, interval=1.0)
    assert len(looks) == 3


def test_a_state_that_cannot_heal_is_looked_for_once_a_second_and_when_time_is_up(clock: Clock) -> None:
    condition, looks = counting(Look(None, "0 of 1 ready"))
    asked: list[float] = []

    def fails_if() -> str | None:
        asked.append(clock.now - 1000.0)
        return "it crashes" if clock.now >= 1002.5 else None

    with pytest.raises(UnrecoverableError, match=r"after 2\.5 s: it crashes"):
        wait_for(condition, 2.5, fails_if=fails_if)
    assert asked == [0.0, 1.0, 2.0, 2.5]
    assert len(looks) == 11


def test_what_a_look_raises_is_what_was_last_seen(clock: Clock) -> None:
    condition, _ = counting(ConnectionError("the API refuses connections"))
    with pytest.raises(WaitError, match="last seen: ConnectionError: the API refuses connections"):
        wait_for(condition, 2.0)
    assert sum(clock.slept) == pytest.approx(2.0)


def test_a_look_that_raises_is_followed_by_others(clock: Clock) -> None:
    condition, looks = counting(ConnectionError("not yet"), Look("here", "seen"))
    assert wait_for(condition, 60.0) == "here"
    assert (len(looks), len(clock.slept)) == (2, 1)


def test_an_interrupt_during_a_look_ends_the_wait(clock: Clock) -> None:
    def look() -> Look[str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for(Condition("the bundle", look), 60.0)
    assert clock.slept == []


def test_a_failure_check_that_itself_fails_ends_nothing(clock: Clock) -> None:
    def fails_if() -> str | None:
        raise ConnectionError("the API refuses connections")

    condition, looks = counting(Look(None, "1"), Look("here", "2"))
    assert wait_for(condition, 60.0, fails_if=fails_if) == "here"
    assert (len(looks), len(clock.slept)) == (2, 1)


@pytest.mark.parametrize("answer", [lambda: None, lambda: "", None])
def test_a_failure_check_that_finds_nothing_lets_the_wait_expire(
    clock: Clock, answer: Callable[[], str | None] | None
) -> None:
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with pytest.raises(WaitError, match=r"did not come in 1 s") as caught:
        wait_for(condition, 1.0, fails_if=answer)
    assert not isinstance(caught.value, UnrecoverableError)
    assert clock.slept


def test_a_text_that_is_a_function_is_called_once_and_only_when_the_wait_fails(clock: Clock) -> None:
    asked: list[str] = []

    def words() -> str:
        asked.append("once")
        return "2 of 3 ready"

    condition, looks = counting(Look(None, words), Look(None, words), Look("here", words))
    assert (wait_for(condition, 60.0), len(looks), asked) == ("here", 3, [])
    condition, _ = counting(Look(None, words))
    with pytest.raises(WaitError, match=r"last seen: 2 of 3 ready$"):
        wait_for(condition, 1.0)
    assert asked == ["once"]
    assert clock.slept


def test_words_that_cannot_be_found_do_not_hide_what_did_not_come(clock: Clock) -> None:
    def words() -> str:
        raise ConnectionError("refused")

    condition, _ = counting(Look(None, words))
    with pytest.raises(WaitError, match=r"the bundle did not come in 1 s .*last seen: ConnectionError: refused$"):
        wait_for(condition, 1.0)
    assert clock.slept


class Asked:
    """What is asked for what holds up a wait: notes when, and answers as it is to."""

    def __init__(self, clock: Clock, answer: Callable[[], str | None] = lambda: None) -> None:
        self.clock, self.answer = clock, answer
        self.times: list[float] = []

    def __call__(self) -> str | None:
        self.times.append(self.clock.now - 1000.0)
        return self.answer()


def test_a_wait_that_has_stalled_asks_what_holds_it_up_once_a_second(clock: Clock) -> None:
    why = Asked(clock)
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with ask_when_stalled(why), pytest.raises(WaitError, match="did not come in 11 s"):
        wait_for(condition, STALL_AFTER + 3)
    assert why.times == [STALL_AFTER, STALL_AFTER + 1, STALL_AFTER + 2, STALL_AFTER + 3]


def test_a_wait_asks_no_watcher_while_none_is_to_be_asked(clock: Clock) -> None:
    why = Asked(clock, lambda: "it is broken")
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with ask_when_stalled(why):
        with unasked(), pytest.raises(WaitError, match="did not come"):
            wait_for(condition, STALL_AFTER + 3)
        assert why.times == []
        with pytest.raises(UnrecoverableError, match="it is broken"):
            wait_for(condition, STALL_AFTER + 3)


def test_a_wait_that_ends_before_it_stalls_asks_no_watcher(clock: Clock) -> None:
    why = Asked(clock)
    with ask_when_stalled(why):
        condition, _ = counting(*[Look[str](None, "not yet")] * 31, Look("here", "seen"))
        assert wait_for(condition, 60.0) == "here"
        condition, _ = counting(Look(None, "0 of 1 ready"))
        with pytest.raises(WaitError):
            wait_for(condition, STALL_AFTER - 0.25)
    assert why.times == []


def test_a_stalled_wait_ends_with_what_holds_it_up(clock: Clock) -> None:
    why = Asked(clock, lambda: "component ready (server): 0 of 1 ready" if clock.now >= 1020.0 else None)
    condition, _ = counting(Look(None, "0 of 1 ready"))
    expected = r"^the bundle cannot come after 20\.0 s: component ready \(server\): 0 of 1 ready$"
    with ask_when_stalled(why), pytest.raises(UnrecoverableError, match=expected):
        wait_for(condition, 3600.0)


def test_a_waits_own_reason_comes_before_what_holds_it_up(clock: Clock) -> None:
    why = Asked(clock, lambda: "a link is broken")
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with ask_when_stalled(why), pytest.raises(UnrecoverableError, match="it crashes"):
        wait_for(condition, 3600.0, fails_if=lambda: "it crashes" if clock.now >= 1000.0 + STALL_AFTER else None)
    assert why.times == []


@pytest.mark.parametrize("answer", [lambda: None, lambda: ""])
def test_the_first_watcher_with_a_reason_ends_the_wait(clock: Clock, answer: Callable[[], str | None]) -> None:
    def fail() -> str | None:
        raise ConnectionError("the API refuses connections")

    condition, _ = counting(Look(None, "0 of 1 ready"))
    with (
        ask_when_stalled(fail),
        ask_when_stalled(answer),
        ask_when_stalled(lambda: "first"),
        ask_when_stalled(lambda: "second"),
        pytest.raises(UnrecoverableError, match=r": first$"),
    ):
        wait_for(condition, 3600.0)
    assert clock.slept


def test_after_the_block_no_watcher_is_asked_even_if_it_ended_in_an_error(clock: Clock) -> None:
    why = Asked(clock, lambda: "a link is broken")
    with pytest.raises(ValueError, match="in the block"), ask_when_stalled(why):
        raise ValueError("in the block")
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with pytest.raises(WaitError) as caught:
        wait_for(condition, 2 * STALL_AFTER)
    assert not isinstance(caught.value, UnrecoverableError)
    assert why.times == []


def test_waits_in_other_threads_ask_too(clock: Clock) -> None:
    condition, _ = counting(Look(None, "0 of 1 ready"))
    with ask_when_stalled(lambda: "a link is broken"), ThreadPoolExecutor(1) as pool:
        ended = pool.submit(wait_for, condition, 3600.0).exception()
    assert isinstance(ended, UnrecoverableError)
    assert sum(clock.slept) == pytest.approx(STALL_AFTER)


@pytest.mark.parametrize(
    ("look", "seen"),
    [
        (Look(True, "2 of 2 ready"), "2 of 2 ready"),
        (Look(True, lambda: "asked for only where it fails"), ""),
        (Look("spiffe://a", "listed: b"), "spiffe://a"),
        (Look(3, ""), "3"),
        (Look(["a", "b"], "listed"), "a; b"),
        (Look(list("abcdefgh"), "listed"), "a; b; c; d; e; f; and 2 more"),
        (Look(2, "not ready: none"), "2"),
        (Look(Look(None, "inner"), "outer"), "outer"),
        (Look(object(), "of whatever"), "of whatever"),
    ],
)
def test_what_a_condition_that_is_met_shows_is_observed(look: Look[object], seen: str) -> None:
    observed: list[Observation] = []
    with observing(observed.append):
        wait_for(Condition("the bundle", lambda: look), 1)
    assert [(each.what, each.seen, each.met) for each in observed] == [("the bundle", seen, True)]
    wait_for(Condition("the bundle", lambda: look), 1)
    assert len(observed) == 1, "observed outside the block"


def test_what_was_seen_of_a_condition_that_is_not_met_is_observed_too(clock: Clock) -> None:
    observed: list[Observation] = []
    condition, _ = counting(Look(None, "no key"))
    with observing(observed.append):
        with pytest.raises(WaitError):
            wait_for(condition, 2)
        with pytest.raises(UnrecoverableError):
            wait_for(condition, 2, fails_if=lambda: "it crashed")
    assert [(each.seen, each.met) for each in observed] == [("no key", False), ("it crashed", False)]
    assert observed[0].seconds >= 2
    assert clock.slept


def test_waits_side_by_side_are_observed_and_those_in_the_background_are_not() -> None:
    observed: list[Observation] = []

    def wait(name: str) -> None:
        wait_for(Condition(name, lambda: Look(True, "")), 1)

    with ThreadPoolExecutor(1) as background, observing(observed.append):
        background.submit(wait, "another's").result()
        map_concurrently(wait, ("server", "client"))
    assert sorted(each.what for each in observed) == ["client", "server"]


def test_within_a_block_every_time_limit_is_so_many_times_as_long_in_any_thread(clock: Clock) -> None:
    condition, _ = counting(Look(None, "nothing"))
    with time_limits_scaled(2.5):
        assert map_concurrently(time_limit, [4.0]) == [10.0]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(time_limit, 4.0).result() == 10.0
        with pytest.raises(WaitError, match=r"^the bundle did not come in 10 s"):
            wait_for(condition, 4.0)
    assert (clock.now, time_limit(4.0)) == (1010.0, 4.0)


def test_what_cannot_recover_ends_a_wait_as_soon_as_ever(clock: Clock) -> None:
    condition, _ = counting(Look(None, "nothing"))
    with time_limits_scaled(10.0), ask_when_stalled(lambda: "broken"), pytest.raises(UnrecoverableError):
        wait_for(condition, 60.0)
    assert clock.now == 1000.0 + STALL_AFTER
