"""What `spire-server` prints and logs, read from recorded outputs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from fixtures.spire import api_types, logs
from fixtures.spire.api_types import AttestedAgent, RegistrationEntry, Relationship

Read = Callable[[str], str]
AGENT_ID = "spiffe://server.example/spire/agent/k8s_psat/server/b25cdbdd-71b4-4f35-b92a-dc7d9c803210"


def test_an_attested_agent_is_read_with_its_id_attestor_and_expiry(recorded: Read) -> None:
    assert api_types.agents(recorded("agent-list.json")) == [AttestedAgent(AGENT_ID, "k8s_psat", False, 1795496171)]


def test_a_banned_agent_is_distinguished_from_one_that_is_not(recorded: Read) -> None:
    listed = json.loads(recorded("agent-list.json"))
    listed["agents"].append({**listed["agents"][0], "banned": True})
    assert [agent.banned for agent in api_types.agents(json.dumps(listed))] == [False, True]


@pytest.mark.parametrize("parse", [api_types.agents, api_types.entries, api_types.relationships])
@pytest.mark.parametrize("text", ["", "{}", "Error: rpc error: code = Unavailable"])
def test_what_is_no_answer_of_spires_raises_instead_of_counting_as_none(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        parse(text)


def test_entries_are_read_with_selectors_and_the_trust_domains_they_federate_with(recorded: Read) -> None:
    entries = api_types.entries(recorded("entry-show.json"))
    assert entries[0] == RegistrationEntry(
        id="9cf8ac41-da84-4bef-85ab-c645784fe020",
        spiffe_id="spiffe://server.example/ns/demo/sa/default",
        parent_id=AGENT_ID,
        selectors=("k8s:pod-uid:2d6ffaf7-160d-4f95-8387-b296967f60de",),
        federates_with=("client.example",),
    )
    assert len(entries) == 5
    assert {entry.parent_id for entry in entries} == {AGENT_ID}


def test_an_entry_that_federates_with_nobody_says_so(recorded: Read) -> None:
    by_id = {entry.spiffe_id: entry.federates_with for entry in api_types.entries(recorded("entry-show.json"))}
    assert by_id["spiffe://server.example/ns/spire-server/sa/spire-spiffe-oidc-discovery-provider"] == ()
    assert by_id["spiffe://server.example/ns/local-path-storage/sa/local-path-provisioner"] == ("client.example",)


def test_an_https_spiffe_relationship_carries_its_endpoints_id(recorded: Read) -> None:
    assert api_types.relationships(recorded("federation-list.json")) == [
        Relationship(
            "client.example", "https://10.89.0.1:8441", "https_spiffe", "spiffe://client.example/spire/server"
        ),
    ]


def test_an_https_web_relationship_has_no_endpoint_id(recorded: Read) -> None:
    listed = json.loads(recorded("federation-list.json"))
    del listed["federation_relationships"][0]["https_spiffe"]
    listed["federation_relationships"][0]["https_web"] = {}
    assert api_types.relationships(json.dumps(listed)) == [
        Relationship("client.example", "https://10.89.0.1:8441", "https_web", "")
    ]


def test_a_relationship_of_a_profile_that_is_not_known_is_not_taken_for_a_known_one(recorded: Read) -> None:
    listed = json.loads(recorded("federation-list.json"))
    del listed["federation_relationships"][0]["https_spiffe"]
    assert [found.profile for found in api_types.relationships(json.dumps(listed))] == [""]


def test_a_bundles_x509_authority_is_the_fingerprint_of_its_certificate(recorded: Read) -> None:
    document = recorded("bundle-show.json")
    der = base64.b64decode(json.loads(document)["keys"][0]["x5c"][0])
    (authority,) = api_types.bundle(document).x509_authorities
    assert authority == x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()
    assert authority == hashlib.sha256(der).hexdigest()


def test_a_shown_bundle_has_a_sequence_and_a_listed_one_a_refresh_hint(recorded: Read) -> None:
    shown, listed = api_types.bundle(recorded("bundle-show.json")), api_types.bundle(recorded("bundle-list.txt"))
    assert shown.jwt_authorities == {"7hbXGNCN4EUdSf7CfAH6NgKGkJiPbhIi"}
    assert (shown.sequence, shown.refresh_hint) == (1, None)
    assert listed.jwt_authorities == {"SooMGAsT9csYMpNtHyHAIkWcW0qe2XrH"}
    assert (listed.sequence, listed.refresh_hint) == (None, 300)


def test_a_bundle_is_the_same_from_its_text_and_from_its_parsed_document(recorded: Read) -> None:
    text = recorded("bundle-show.json")
    assert api_types.bundle(text) == api_types.bundle(json.loads(text))


def test_keys_are_the_same_whatever_the_sequence_and_the_refresh_hint(recorded: Read) -> None:
    bundle = api_types.bundle(recorded("bundle-show.json"))
    other = replace(bundle, sequence=7, refresh_hint=60)
    assert bundle.same_keys(other)
    assert bundle != other


@pytest.mark.parametrize("kind", ["x509_authorities", "jwt_authorities"])
@pytest.mark.parametrize("authorities", [frozenset(), frozenset({"another"})], ids=["none", "another"])
def test_keys_are_not_the_same_when_an_authority_is_missing_or_replaced(
    recorded: Read, kind: str, authorities: frozenset[str]
) -> None:
    bundle = api_types.bundle(recorded("bundle-show.json"))
    other = (
        replace(bundle, x509_authorities=authorities)
        if kind == "x509_authorities"
        else replace(bundle, jwt_authorities=authorities)
    )
    assert not bundle.same_keys(other)
    assert not other.same_keys(bundle)


def test_two_trust_domains_do_not_have_the_same_keys(recorded: Read) -> None:
    assert not api_types.bundle(recorded("bundle-show.json")).same_keys(api_types.bundle(recorded("bundle-list.txt")))


def test_keys_of_another_use_belong_to_neither_kind_of_authority(recorded: Read) -> None:
    document = json.loads(recorded("bundle-show.json"))
    extended = {**document, "keys": [*document["keys"], {"use": "wit-svid", "kty": "EC", "kid": "another"}]}
    assert api_types.bundle(extended) == api_types.bundle(document)


def test_a_bundle_in_words_names_its_keys_sequence_and_hint(recorded: Read) -> None:
    bundle = api_types.bundle(recorded("bundle-show.json"))
    (authority,) = bundle.x509_authorities
    for part in (authority[:12], "7hbXGNCN4EUdSf7CfAH6NgKGkJiPbhIi", "sequence 1", "refresh hint None"):
        assert part in str(bundle)


def test_the_servers_log_is_read_with_its_times_levels_and_messages(recorded: Read) -> None:
    lines = logs.log_lines(recorded("spire-server.log"))
    assert [line.message for line in lines] == [
        "Starting Server APIs",
        "Starting Server APIs",
        "Agent attestation request completed",
        "Bundle refreshed",
        "Bundle refreshed",
    ]
    assert {line.level for line in lines} == {"info"}
    assert lines[0].at == datetime(2026, 11, 24, 3, 56, 9, tzinfo=UTC).timestamp()
    assert lines[4].at - lines[3].at == 150.0
    assert lines[4].fields == {"subsystem_name": "bundle_client", "trust_domain": "client.example"}


def test_a_log_field_is_read_whether_quoted_or_not_and_when_empty(recorded: Read) -> None:
    attestation = logs.log_lines(recorded("spire-server.log"))[2].fields
    assert attestation["agent_id"] == AGENT_ID
    assert attestation["address"] == "10.244.0.10:46346"
    assert attestation["authorized_as"] == "nobody"
    assert attestation["authorized_via"] == ""
    assert attestation["service"] == "agent.v1.Agent"
    assert not {"time", "level", "msg"} & set(attestation)


def test_escapes_in_a_quoted_log_field_are_undone() -> None:
    line = r'time="2026-11-24T03:56:09Z" level=error msg="Failed" error="no \"key\"=value in C:\\tmp\n\tgiven" next=1'
    (found,) = logs.log_lines(line)
    assert found.fields == {"error": 'no "key"=value in C:\\tmp\n\tgiven', "next": "1"}


def test_escapes_that_go_knows_and_json_does_not_leave_the_rest_of_the_log_readable() -> None:
    # Go quotes what is not printable as \x1b, \a, \v or \U0010ffff, which JSON has no words for.
    odd = r'time="2026-11-24T03:56:09Z" level=error msg="Failed" error="\x1b[31mred\a"'
    plain = 'time="2026-11-24T03:56:10Z" level=info msg="Bundle refreshed"'
    assert [line.message for line in logs.log_lines(f"{odd}\n{plain}")][-1] == "Bundle refreshed"


def test_a_log_in_json_gives_the_same_line_as_one_in_text() -> None:
    text = (
        'time="2026-11-24T03:56:37Z" level=info msg="Bundle refreshed" subsystem_name=bundle_client '
        "trust_domain=client.example"
    )
    data = {
        "time": "2026-11-24T03:56:37Z",
        "level": "info",
        "msg": "Bundle refreshed",
        "subsystem_name": "bundle_client",
        "trust_domain": "client.example",
    }
    assert logs.log_lines(json.dumps(data)) == logs.log_lines(text)


def test_a_json_log_field_that_is_no_text_is_kept_as_json() -> None:
    (line,) = logs.log_lines('{"time":"2026-11-24T03:56:37+01:00","msg":"m","count":3,"banned":true,"ids":["a"]}')
    assert line.fields == {"count": "3", "banned": "true", "ids": '["a"]'}
    assert line.level == ""
    assert line.at == datetime(2026, 11, 24, 2, 56, 37, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "goroutine 1 [running]:",
        '{"time": broken',
        "{}",
        'W1124 03:56:09.000000       1 reflector.go:561] msg="no time"',
        'time="2026-11-24T03:56:09Z" level=info no message',
        'panic: key="never closed',
        'time=yesterday level=info msg="not a time"',
        '{"time": 5, "msg": "not a time"}',
    ],
)
def test_lines_of_other_shapes_are_passed_over(line: str) -> None:
    good = 'time="2026-11-24T03:56:10Z" level=info msg="Bundle refreshed"'
    assert [found.message for found in logs.log_lines(f"{line}\n{good}")] == ["Bundle refreshed"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('time="2026-11-24T03:56:10Z" level=info msg="Starting Server APIs"', True),
        ('{"level":"info","msg":"Starting Server APIs","time":"2026-11-24T03:56:10Z"}', True),
        ('time="2026-11-24T03:56:10Z" level=warning msg="Current umask 0022 is too permissive"', False),
        ("", False),
    ],
)
def test_a_log_of_warnings_alone_does_not_have_what_went_well(line: str, expected: bool) -> None:
    assert logs.has_info_lines(line) is expected


@pytest.fixture
def document(recorded: Read) -> dict[str, Any]:
    """A bundle as `spire-server bundle show -format spiffe` printed it."""
    return dict(json.loads(recorded("bundle-show.json")))


def in_pem(document: dict[str, Any]) -> str:
    certificates = [x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0])) for key in x509_keys(document)]
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def x509_keys(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [key for key in document["keys"] if key["use"] == "x509-svid"]


def test_what_is_published_for_agents_is_read_in_either_format(document: dict[str, Any]) -> None:
    own = api_types.bundle(document).x509_authorities
    assert own
    assert api_types.published_x509_authorities(json.dumps(document)) == own
    assert api_types.published_x509_authorities(in_pem(document)) == own


@pytest.mark.parametrize("text", ["no bundle", "{}", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_published_and_is_no_bundle_is_not_taken_for_an_empty_one(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        api_types.published_x509_authorities(text)


def test_a_bundle_has_all_of_another_with_more_keys_and_not_with_fewer_of_either_kind(document: dict[str, Any]) -> None:
    own = api_types.bundle(document)
    more = replace(own, x509_authorities=own.x509_authorities | {"next"}, jwt_authorities=own.jwt_authorities | {"j"})
    assert more.has_all_of(own)
    assert own.has_all_of(own)
    assert not replace(more, x509_authorities=frozenset({"next"})).has_all_of(own)
    assert not replace(more, jwt_authorities=frozenset({"j"})).has_all_of(own)
