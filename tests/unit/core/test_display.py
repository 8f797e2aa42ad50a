"""What is shown in place of what must not be seen, and of what is too long."""

from __future__ import annotations

import time

from tests.unit.release_examples import manifest, only

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzb21lb25lIn0.c2lnbmF0dXJl"  # noqa: S105 - made up


def test_a_token_anywhere_is_not_shown() -> None:
    old, new = (manifest("Service", metadata={"annotations": {"note": f"x{number} {TOKEN}"}}) for number in (1, 2))
    assert only(old, new, "other") == ("metadata.annotations.note: x1 <redacted> → x2 <redacted>",)


def test_long_values_are_cut_with_a_hash_that_distinguishes_them() -> None:
    old, new = (manifest("Service", spec={"x": "y" * 1000 + end}) for end in "ab")
    (detail,) = only(old, new, "other")
    before, after = detail.removeprefix("spec.x: ").split(" → ")
    assert len(detail) < 900
    assert before != after


def test_a_long_blob_takes_no_time() -> None:
    # An expression that is tried from each of its characters takes minutes for this.
    old, new = (manifest("Service", spec={"caBundle": letter * 200_000}) for letter in "ab")
    began = time.process_time()
    assert len(only(old, new, "other")) == 1
    assert time.process_time() - began < 5
