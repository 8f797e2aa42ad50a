"""The page in Chromium, where it is installed: nothing is wider than the window, in any width and scheme."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.report.data.document import read_document
from fixtures.report.html.page import render_page
from tests.unit.report.recorded_runs import RECORDED, recorded

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
# What of the page reaches beyond the window, but what scrolls by itself; and texts of drawings that leave them.
MEASURE = """
<script>
const wide = document.documentElement.clientWidth, beyond = [];
for (const each of document.querySelectorAll("body *")) {
  if (each.closest(".scroll, .skip") || each.closest("svg svg")) continue;
  const box = each.getBoundingClientRect();
  const name = each.tagName + "." + (each.getAttribute("class") || "");
  if (box.width && box.right > wide + 1) beyond.push(name + " " + box.right);
}
for (const text of document.querySelectorAll("svg.drawing text, svg.pygal-chart .axis text")) {
  const own = text.getBoundingClientRect(), all = text.closest("svg").getBoundingClientRect();
  if (own.width && (own.left < all.left - 1 || own.right > all.right + 1)) beyond.push("text " + text.textContent);
}
if (document.documentElement.scrollWidth > wide) beyond.push("the page");
parent.postMessage(wide + ":" + beyond.join("; "), "*");
</script>
"""
# A window of Chromium is 500 pixels wide at the least; a frame may be narrower.
FRAME = """<!doctype html><title></title><body style="margin: 0">
<script>addEventListener("message", each => document.title += each.data + "|")</script>
"""
FRAMED = '<iframe src="page.html" width="{width}" height="2000" style="border: 0"></iframe>'
WIDTHS = (390, 1280)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_nothing_is_wider_than_the_window(tmp_path: Path, file: Path) -> None:
    _check_widths(tmp_path, read_document(file))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_long_words_of_an_error_are_broken(tmp_path: Path) -> None:
    run, long = recorded("red-relationship"), f'Head "https://localhost/{"v2/nowhere/manifests/" * 9}0"\n{"x" * 200}'
    for each in (run["diagnosis"]["broken"], *run["diagnosis"]["consequences"], *run["tests"]):
        each["sentence"] = long
    run["verdict"]["first_failure"] = run["diagnosis"]["broken"]["evidence"] = long
    _check_widths(tmp_path, run)


def _check_widths(tmp_path: Path, run: dict[str, Any]) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME + "".join(FRAMED.format(width=width) for width in WIDTHS))
    text = render_page(run).replace("</body>", f"{MEASURE}</body>")
    (tmp_path / "page.html").write_text(re.sub(r"<details\b(?! open)", "<details open", text))
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,2000"]
    command += ["--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*)</title>", done.stdout)
    assert found
    assert sorted(filter(None, found[1].split("|"))) == sorted(f"{width}:" for width in WIDTHS)
