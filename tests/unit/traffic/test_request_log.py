"""What the client's log says, and when it tells nothing."""

from __future__ import annotations

import json
import re

import pytest

from fixtures.traffic import request_log
from fixtures.traffic.request_log import Request, parse_requests
from fixtures.workloads import manifests
from tests.unit.traffic.client_log import BEGINNING, line

# As the client prints it: Go's time.RFC3339Nano drops zeros at the end, and with them the point.
LOG = """\
{"sequence":1,"start":"2026-11-23T10:00:00Z","milliseconds":31.52,"ok":true,"stage":"","status":200,"error":""}
2026/11/23 10:00:00 the Workload API said: rpc error: code = Unavailable desc = connection error
{"sequence":3,"start":"2026-11-23T10:00:00.400012345Z","milliseconds":12.5,"ok":true,"stage":"","status":200,"error":""}
{"sequence":4,"start":"2026-11-23T10:00:00.6Z","milliseconds":0,"ok":false,"stage":"overload","status":0,\
"error":"32 requests are still under way"}
{"sequence":5,"start":"2026-11-23T10:00:00.800001Z","milliseconds":3.25,"ok":false,"stage":"http","status":401,\
"error":"Invalid token"}
{"sequence":2,"start":"2026-11-23T10:00:00.200007Z","milliseconds":2000.125,"ok":false,"stage":"svid","status":0,\
"error":"rpc error: code = DeadlineExceeded desc = context deadline exceeded"}
"""


def test_the_log_is_read_as_the_client_writes_it() -> None:
    found = parse_requests(LOG)
    assert [each.sequence for each in found] == [1, 2, 3, 4, 5], "lines come in the order in which requests end"
    assert found[0] == Request(1, BEGINNING, 0.03152, True, "", 200, "")
    assert found[1].ended == pytest.approx(BEGINNING + 2.200132)
    assert found[2].start == pytest.approx(BEGINNING + 0.400012, abs=1e-6)
    assert found[3] == Request(4, BEGINNING + 0.6, 0.0, False, "overload", 0, "32 requests are still under way")
    assert (found[4].ok, found[4].stage, found[4].status, found[4].error) == (False, "http", 401, "Invalid token")


def test_the_fields_are_those_that_the_client_declares() -> None:
    # Fails when the client renames a field, which Go's tests and these would each take for right.
    source = (manifests.WORKLOADS / "client" / "traffic.go").read_text()
    declared = re.search(r"type record struct \{(.*?)\n\}", source, re.DOTALL)
    assert declared
    assert set(re.findall(r'json:"(\w+)"', declared[1])) == set(json.loads(line(1)))
    # And when a request may take longer than the log is waited for.
    (manifest,) = manifests.load_manifests("traffic.yaml")
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    timeouts = [item["value"] for item in container["env"] if item["name"] == "REQUEST_TIMEOUT"]
    assert timeouts == ["2s"]
    assert request_log.REQUEST_LOG_DELAY > 2.0


def test_a_last_line_that_is_cut_off_is_no_request_yet() -> None:
    assert [each.sequence for each in parse_requests(f"{line(1)}\n{line(2)}\n{line(3)[:40]}")] == [1, 2]


def test_a_broken_line_elsewhere_is_an_error() -> None:
    with pytest.raises(ValueError, match="no line of the traffic's log"):
        parse_requests(f"{line(1)}\n{line(2)[:40]}\n{line(3)}\n")


@pytest.mark.parametrize(
    "broken", ['{"sequence":2}', line(2, start=None), line(2, start="yesterday"), line(2, status="x")]
)
def test_json_that_is_no_request_is_an_error(broken: str) -> None:
    with pytest.raises(ValueError, match="no line of the traffic's log"):
        parse_requests(f"{line(1)}\n{broken}\n{line(3)}\n")


def test_a_log_with_a_hole_names_the_first_request_that_is_missing() -> None:
    log = "\n".join(line(number) for number in range(1, 100) if number not in (7, 8, 20))
    with pytest.raises(ValueError, match="request 7 is missing from the log, which goes on with 9 up to 99"):
        parse_requests(log)
    assert len(parse_requests(log, partial=True)) == 96


def test_a_log_without_its_beginning_is_one_with_a_hole() -> None:
    log = "\n".join(line(number) for number in range(50, 100))
    with pytest.raises(ValueError, match="request 1 is missing"):
        parse_requests(log)
    assert parse_requests(log, partial=True)[0].sequence == 50


def test_a_request_that_is_still_under_way_is_no_hole() -> None:
    # The log is read while the pod writes it: 95 has not been answered yet, and its line comes only then.
    log = "\n".join(line(number) for number in range(1, 100) if number != 95)
    assert len(parse_requests(log)) == 98


def test_the_logs_of_two_clients_are_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="request 2 is there twice"):
        parse_requests("\n".join([line(1), line(2), line(2), line(3)]))


def test_an_empty_log_has_no_requests() -> None:
    assert parse_requests("unable to create X509Source: no identity issued\n") == []
