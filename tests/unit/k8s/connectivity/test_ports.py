"""Ports of this machine: free, or taken by another program."""

from __future__ import annotations

import socket

from fixtures.k8s.connectivity.port_forward import free_port, port_is_free


def test_a_port_on_which_something_listens_is_not_free(taken: int) -> None:
    assert not port_is_free("127.0.0.1", taken)


def test_another_port_is_found_for_one_that_is_taken(taken: int) -> None:
    found = free_port("127.0.0.1", taken)
    assert found != taken
    assert port_is_free("127.0.0.1", found)


def test_the_wanted_port_is_kept_where_it_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert port_is_free("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == port


def test_a_port_on_another_address_of_this_machine_is_free_though_taken_on_one() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen()
        assert port_is_free("127.0.0.1", listener.getsockname()[1])


def test_no_port_is_free_on_an_address_that_is_not_this_machines() -> None:
    assert not port_is_free("203.0.113.1", 8440)
