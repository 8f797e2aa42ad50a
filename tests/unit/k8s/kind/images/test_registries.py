"""Mirrors as they are given, and as containerd reads them."""

from __future__ import annotations

import base64
import tomllib

import pytest

from fixtures.core.redaction import REDACTED, redact
from fixtures.k8s.kind.images.registries import CONTAINERD_PATCH, hosts_files, mirrors_of, parse_mirror

EVERY = "http://10.89.0.1:5000"


@pytest.mark.parametrize(
    ("given", "registry", "url", "api"),
    [
        (EVERY, "", EVERY, f"{EVERY}/v2/"),
        (f"ghcr.io={EVERY}/", "ghcr.io", EVERY, f"{EVERY}/v2/"),
        ("localhost:5000=https://mirror.example", "localhost:5000", "https://mirror.example", None),
        ("index.docker.io=https://mirror.example", "docker.io", "https://mirror.example", None),
        ("https://[fd00::1]:5000", "", "https://[fd00::1]:5000", None),
        # a repository of Artifactory's, and a project of Harbor's
        ("https://a.example/api/docker/hub", "", "https://a.example/api/docker/hub", "https://a.example/api/docker/hub/v2/"),
        ("ghcr.io=https://h.example/v2/ghcr", "ghcr.io", "https://h.example/v2/ghcr", "https://h.example/v2/ghcr/"),
    ],
)  # fmt: skip
def test_a_mirror_is_of_one_registry_or_of_all(given: str, registry: str, url: str, api: str | None) -> None:
    found = parse_mirror("--mirror", given)
    assert (found.registry, found.url, found.place.authorization) == (registry, url, "")
    assert found.api == (api or f"{url}/v2/")


@pytest.mark.parametrize(
    "given", ["", "ghcr.io=", "mirror.example:5000", "ftp://mirror.example", "http://", "http://a:b", "http://a/?x=1"]
)
def test_a_mirror_that_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^--mirror .*: the mirror is no http:// or https:// URL") as caught:
        parse_mirror("--mirror", given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("registry", ["https:", "ghcr.io/spiffe", "", "-"])
def test_a_mirror_of_what_is_no_registry_is_refused(registry: str) -> None:
    with pytest.raises(ValueError, match=r"^--mirror .*is no "):
        parse_mirror("--mirror", f"{registry}=https://mirror.example")


def test_the_credentials_of_a_mirror_are_sent_to_it_and_shown_nowhere() -> None:
    found = parse_mirror("--mirror", "https://pull:Tr%40ffic-7@mirror.example")
    assert found.url == "https://mirror.example"
    (file,) = hosts_files([found]).values()
    header = tomllib.loads(file)["host"][found.url]["header"]["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")) == b"pull:Tr@ffic-7"
    assert "Tr" not in repr(found)
    for text in ("Tr@ffic-7", "Tr%40ffic-7", header, file):
        assert REDACTED in redact(f"x {text} y")
    assert "ffic-7" not in redact("mirror https://pull:Tr%40ffic-7@mirror.example refused")
    with pytest.raises(ValueError, match="is no registry's name") as caught:
        parse_mirror("--mirror", "a/b=https://pull:Tr%40ffic-7@mirror.example")
    assert "ffic" not in str(caught.value)


@pytest.mark.parametrize(("given", "sent"), [("Tr%40ffic-7", b"Tr@ffic-7:"), (":Tr%40ffic-7", b":Tr@ffic-7")])
def test_half_of_the_credentials_of_a_mirror_is_sent_as_it_is(given: str, sent: bytes) -> None:
    """A token stands alone, before or after the colon, as its registry wants it."""
    found = parse_mirror("--mirror", f"https://{given}@mirror.example")
    assert base64.b64decode(found.place.authorization.removeprefix("Basic ")) == sent
    assert found.place.authorization in found.section()


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ("https://mirror.example", "mirror.example"),
        ("http://pull:Tr4ffic-7@10.89.1.2:5000/v2/cache", "10.89.1.2:5000/cache"),
        ("https://mirror.example/v2cache", "mirror.example/v2cache"),
        ("https://mirror.example/v2", "mirror.example"),
    ],
)
def test_an_engines_name_of_what_a_mirror_has_begins_with_its_host_and_path(given: str, prefix: str) -> None:
    assert parse_mirror("--mirror", given).image_prefix == prefix


def test_a_registrys_own_mirrors_are_asked_before_those_of_all() -> None:
    given = ["http://all.example", "ghcr.io=https://own.example/v2/ghcr", "docker.io=https://hub.example", EVERY]
    mirrors = [parse_mirror("--mirror", each) for each in given]
    files = {name: tomllib.loads(text)["host"] for name, text in hosts_files(mirrors).items()}
    assert {name: list(hosts) for name, hosts in files.items()} == {
        "_default/hosts.toml": ["http://all.example", EVERY],
        "ghcr.io/hosts.toml": ["https://own.example/v2/ghcr", "http://all.example", EVERY],
        "docker.io/hosts.toml": ["https://hub.example", "http://all.example", EVERY],
    }
    assert files["ghcr.io/hosts.toml"]["https://own.example/v2/ghcr"]["override_path"] is True
    assert "override_path" not in files["_default/hosts.toml"][EVERY]
    assert [each.url for each in mirrors_of("quay.io", mirrors)] == ["http://all.example", EVERY]


def test_a_mirror_that_is_given_twice_is_written_once() -> None:
    """A hosts.toml with a table twice would be no TOML, and containerd would pass over all of it."""
    (file,) = hosts_files([parse_mirror("--mirror", each) for each in (EVERY, EVERY)]).values()
    assert list(tomllib.loads(file)["host"]) == [EVERY]
    own, every = (parse_mirror("--mirror", each) for each in (f"ghcr.io={EVERY}", EVERY))
    assert list(tomllib.loads(hosts_files([own, every])["ghcr.io/hosts.toml"])["host"]) == [EVERY]


def test_containerd_is_led_to_the_folder_in_both_versions_of_its_configuration() -> None:
    """By one patch of no version: Kind before 0.32 applies all patches, whatever version they say."""
    found = tomllib.loads(CONTAINERD_PATCH)
    assert list(found) == ["plugins"]
    folder = {"registry": {"config_path": "/etc/containerd/certs.d"}}
    assert found["plugins"] == {"io.containerd.grpc.v1.cri": folder, "io.containerd.cri.v1.images": folder}
