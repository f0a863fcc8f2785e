"""By which network interface the workers of a machine meet the others."""

import socket
from types import SimpleNamespace

import psutil
import pytest

from omnimat.training.ray_process_group import _interface_of


def of(address, family=socket.AF_INET, netmask="255.0.0.0"):
    return SimpleNamespace(family=family, address=address, netmask=netmask)


# The bridge's network holds the addresses of both cards.
INTERFACES = {
    "lo": [of("127.0.0.1"), of("::1", socket.AF_INET6, None)],
    "bridge": [of("10.0.0.1")],
    "eth0": [of("10.1.0.2"), of("fe80::1%eth0", socket.AF_INET6, None)],
    "eth1": [of("10.1.0.3"), of("fd00::3", socket.AF_INET6, None)],
}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.1.0.2", "eth0"),
        ("10.1.0.3", "eth1"),
        ("fd00::3", "eth1"),
        ("127.0.0.1", "lo"),
        ("127.0.0.2", "lo"),
        ("10.9.9.9", None),
    ],
)
def test_the_interface_is_the_one_that_has_the_address(address, name, monkeypatch):
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: INTERFACES)
    assert _interface_of(address) == name
