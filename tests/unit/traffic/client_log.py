"""Lines as the client of the live traffic writes them."""

from __future__ import annotations

import json

BEGINNING = 1795428000.0  # 2026-11-23T10:00:00Z


def line(sequence: int, **changes: object) -> str:
    """A line of the log; requests begin five times a second."""
    start = f"2026-11-23T10:{(sequence - 1) // 300:02}:{(sequence - 1) // 5 % 60:02}.{(sequence - 1) % 5 * 2}Z"
    found = {
        "sequence": sequence,
        "start": start,
        "milliseconds": 20.0,
        "ok": True,
        "stage": "",
        "status": 200,
        "error": "",
    }
    return json.dumps(found | changes, separators=(",", ":"))
