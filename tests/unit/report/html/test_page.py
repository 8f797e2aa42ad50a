"""The page of a run: complete, harmless, and readable in each scheme."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fixtures.report.data.document import describe, read_document
from fixtures.report.html import drawing, page, plots
from fixtures.report.html.page import TEMPLATES, duration, render_page
from fixtures.report.run import Report
from tests.unit.report.recorded_runs import RECORDED, recorded

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "br", "link", "img", "path", "line", "rect", "circle", "hr"}
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA


class Page(HTMLParser):
    """The elements of a page: tag and attributes of each, its text, and tags that are not closed rightly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " " if tag in ("td", "th", "dd", "li", "p") else ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data


def texts(node: Any) -> Iterator[tuple[Any, Any]]:
    """Where each text of a document stands: its list or mapping, and its place there."""
    for place, below in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(below, dict | list):
            yield from texts(below)
        elif isinstance(below, str):
            yield node, place


@pytest.fixture(params=RECORDED, ids=lambda file: file.stem)
def run(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read_document(request.param)


def test_the_page_of_every_run_is_whole_and_says_first_what_became_of_it(run: dict[str, Any]) -> None:
    made = Page(render_page(run))
    assert made.wrong == []
    heading = made.text.index(run["verdict"]["sentence"])
    if run["diagnosis"] and run["diagnosis"]["broken"]:
        broken = run["diagnosis"]["broken"]
        sentence = made.text.index(broken["sentence"])
        assert heading < sentence < made.text.index("Timeline")
        assert broken["cause"] in made.text
    for test in run["tests"]:
        assert test["title"] in made.text


def test_it_needs_neither_a_network_nor_a_script(run: dict[str, Any]) -> None:
    made = Page(render_page(run))
    assert not [tag for tag, _ in made.elements if tag in ("script", "link", "iframe", "img", "object", "embed")]
    addresses = [
        value or ""
        for _, attributes in made.elements
        for name, value in attributes.items()
        if name in ("href", "src", "xlink:href", "action")
    ]
    assert addresses
    assert not [each for each in addresses if not each.startswith(("#", "./"))]


def test_every_reference_within_the_page_leads_somewhere_and_every_source_has_one(run: dict[str, Any]) -> None:
    made = Page(render_page(run))
    ids = [attributes["id"] for _, attributes in made.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    addresses = [str(attributes["href"]) for tag, attributes in made.elements if tag == "a"]
    assert {each[1:] for each in addresses if each.startswith("#")} <= set(ids)
    assert {page._file(each["path"]) for each in run["sources"]} <= set(addresses)


def test_every_drawing_and_plot_has_words_for_those_who_do_not_see_it(run: dict[str, Any]) -> None:
    made = Page(render_page(run))
    pictures = [attributes for tag, attributes in made.elements if tag == "svg" and "role" in attributes]
    assert all(each.get("aria-label") for each in pictures)
    assert len(pictures) >= 2 * len(drawing.drawings(run))


def test_whatever_a_run_has_seen_is_text_and_nothing_else(run: dict[str, Any]) -> None:
    hostile = copy.deepcopy(run)
    for node, place in list(texts(hostile)):
        # What is one of several words stays; what chooses a section's look may not be anything.
        if place not in ("result", "outcome", "state", "when", "way", "demo"):
            node[place] += HOSTILE
    made, harmless = Page(render_page(hostile)), Page(render_page(run))
    assert made.wrong == []
    assert not [tag for tag, _ in made.elements if tag in ("script", "img")]
    assert not [name for _, attributes in made.elements for name in attributes if name.startswith("on")]
    assert made.text.count("<script>alert(1)</script>") > harmless.text.count("<script>")


def test_it_is_made_within_a_second(run: dict[str, Any]) -> None:
    render_page(run)
    began = time.process_time()
    render_page(run)
    assert time.process_time() - began < 1.0


def test_a_run_that_came_to_nothing_has_a_page(tmp_path: Path) -> None:
    made = Page(render_page(describe(Report(tmp_path))))
    assert made.wrong == []
    assert "ABORTED: no test ran" in made.text


def test_of_a_broken_link_the_drawing_says_so_by_more_than_colour() -> None:
    made = render_page(recorded("red-relationship"))
    (broken,) = re.findall(r'<svg class="drawing wide".*?</svg>', made, re.DOTALL)
    assert '<g class="broken">' in broken
    assert "✗" in broken
    assert re.search(r'aria-label="[^"]*1 broken', broken)


def test_what_an_error_says_in_several_lines_stands_below_its_first() -> None:
    run = recorded("red-relationship")
    run["diagnosis"]["consequences"][0]["sentence"] = "a container crashes; its last lines:\n    one\n    two"
    made = render_page(run)
    assert "a container crashes; its last lines: …" in made
    assert '<pre tabindex="0">one\ntwo</pre>' in made


def test_a_failure_that_repeats_the_broken_link_refers_to_it() -> None:
    run = recorded("red-relationship")
    sentence = run["diagnosis"]["broken"]["sentence"]
    assert run["verdict"]["first_failure"].endswith(sentence)
    text = Page(render_page(run)).text
    assert re.search(r"cannot come after [\d.]+ s: the broken link, see above", text)
    assert text.count(sentence) == 3, "in the verdict, in the diagnosis, and as that was printed"


def test_a_label_that_has_no_room_keeps_both_its_ends() -> None:
    assert plots._shortened("controller manager of server killed", 22) == "controller…rver killed"
    assert plots._shortened("agent of both away", 22) == "agent of both away"


def test_an_upgrade_is_shown_old_beside_new_with_its_gaps() -> None:
    run = recorded("upgrade")
    text = Page(render_page(run)).text
    old, new = (
        {each["spire"] for each in run["versions"]["releases"] if each["when"] == when}
        for when in ("installed", "upgraded")
    )
    assert old != new
    assert f"{new.copy().pop()} (changed)" in " ".join(text.split())
    wide = dict(plots.gaps(run))["wide"]
    phases = {each["phase"] for each in run["traffic"]["summaries"]}
    assert all(phase in wide for phase in phases)


def test_recovery_times_stand_beside_their_bounds() -> None:
    run = recorded("resilience")
    assert run["recovery_times"]
    wide = dict(plots.recovery(run))["wide"]
    assert all(f"{each['seconds']:.1f} s" in wide for each in run["recovery_times"])


@pytest.mark.parametrize(
    ("bound", "limit", "seconds"),
    [("15 s", 45.0, 15.0), ("refresh hint / 4 = 15 s, and more", 45.0, 15.0), ("", 30.0, 30.0), ("", None, None)],
)
def test_what_spire_promises_bounds_a_time_before_the_timeout_does(
    bound: str, limit: float | None, seconds: float | None
) -> None:
    assert plots.bound_seconds({"bound": bound, "limit": limit}) == seconds


def test_the_faults_of_selftest_are_a_table_with_their_times() -> None:
    run = recorded("selftest")
    text = " ".join(Page(render_page(run)).text.split())
    assert run["trials"]["faults"]
    for each in run["trials"]["faults"]:
        assert f"{each['fault']} ✓ yes ✓ yes {duration(each['seconds_to_red'])}" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (75.2, "75.2 s"), (725.4, "12 min 5 s"), (7300.0, "2 h 1 min"), (None, "not ended")],
)
def test_seconds_are_said_as_a_person_says_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def schemes() -> Mapping[str, Mapping[str, str]]:
    """The colours of each scheme, by their names."""
    light, dark = re.findall(r":root \{(.*?)\}", (TEMPLATES / "style.css").read_text(), re.DOTALL)[:2]
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text)) for name, text in (("light", light), ("dark", dark))
    }


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", schemes().values(), ids=schemes())
@pytest.mark.parametrize(
    ("text", "behind"),
    [
        *((text, "page") for text in ("text", "soft", "link", "good", "bad", "late", "series-1")),
        *((text, "panel") for text in ("text", "soft", "good", "bad", "late")),
        *((text, "good-fill") for text in ("text", "good", "soft")),
        *((text, "bad-fill") for text in ("text", "bad", "soft")),
        ("text", "late-fill"),
        ("text", "quiet-fill"),
        ("phase", "phase-fill"),
        ("page", "bad"),
    ],
)
def test_text_stands_out_from_what_is_behind_it(scheme: Mapping[str, str], text: str, behind: str) -> None:
    darker, lighter = sorted((luminance(scheme[text]), luminance(scheme[behind])))
    assert (lighter + 0.05) / (darker + 0.05) >= LEAST_CONTRAST
