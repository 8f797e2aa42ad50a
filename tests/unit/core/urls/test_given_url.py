"""URLs as users give them: taken apart once, credentials and all, and what is none."""

from __future__ import annotations

import base64

import pytest

from fixtures.core.redaction import redact
from fixtures.core.urls.given_url import parse_url, request

SECRET = "Tr@ffic-7"  # noqa: S105
QUOTED = "Tr%40ffic-7"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://mirror.example", "https://mirror.example"),
        ("http://Mirror.example:5000/a/b/", "http://mirror.example:5000/a/b"),
        ("https://[fd00::1]:5000", "https://[fd00::1]:5000"),
        ("https://10.89.0.1/", "https://10.89.0.1"),
        ("http://my_registry", "http://my_registry"),
        (f"https://pull:{QUOTED}@mirror.example:443/v2", "https://mirror.example:443/v2"),
    ],
)
def test_a_url_is_shown_without_credentials_and_parsed_again_as_the_same(given: str, shown: str) -> None:
    found = parse_url(given)
    assert str(found) == shown
    assert str(parse_url(shown)) == shown


@pytest.mark.parametrize(
    ("credentials", "username", "password", "sent"),
    [
        ("", "", "", ""),
        (f"pull:{QUOTED}@", "pull", SECRET, f"pull:{SECRET}"),
        (f":{QUOTED}@", "", SECRET, f":{SECRET}"),
        (f"{QUOTED}@", SECRET, "", f"{SECRET}:"),
        ("@", "", "", ""),
        (":@", "", "", ""),
    ],
)
def test_credentials_are_a_name_a_password_or_both(credentials: str, username: str, password: str, sent: str) -> None:
    found = parse_url(f"https://{credentials}mirror.example")
    assert (found.username, found.password) == (username, password)
    assert found.has_credentials == bool(sent)
    assert found.authorization == (f"Basic {base64.b64encode(sent.encode()).decode()}" if sent else "")
    for text in (str(found), repr(found)):
        assert "ffic-7" not in text
    if sent:
        shown = redact(f"x {SECRET} {QUOTED} {found.authorization}")
        assert "ffic-7" not in shown
        assert base64.b64encode(sent.encode()).decode() not in shown


@pytest.mark.parametrize(
    "given",
    [
        "",
        "mirror.example",
        "mirror.example:5000",
        "ftp://mirror.example",
        "oci://mirror.example/charts",
        "file:///srv/charts",
        "http://",
        "http://:5000",
        "http://a:b",
        "http://a:0",
        "http://a:65536",
        "http://a b",
        " http://a",
        "http://a\n",
        "http://a/?x=1",
        "http://a/#x",
        "http://[::1",
        "http://[fd00::x]",
        "http://-a",
        "http://a/b c",
    ],
)
def test_what_is_no_url_is_refused_without_its_words(given: str) -> None:
    with pytest.raises(ValueError, match=r"^no URL$"):
        parse_url(given)


@pytest.mark.parametrize("given", ["https://pull:half/of-it@mirror.example", "http://half/of-it@mirror.example:x"])
def test_the_secret_of_what_is_no_url_is_hidden_too(given: str) -> None:
    with pytest.raises(ValueError, match=r"^no URL$"):
        parse_url(given)
    assert "half/of-it" not in redact(f"the option {given} was refused")


def test_credentials_go_to_no_place_to_which_a_request_is_redirected() -> None:
    found = parse_url(f"https://pull:{QUOTED}@mirror.example")
    asked = request(str(found), found.authorization)
    assert asked.full_url == "https://mirror.example"
    assert asked.unredirected_hdrs == {"Authorization": found.authorization}
    assert not asked.headers
    assert not request("https://mirror.example").unredirected_hdrs
