"""A Ray that does not answer, start or fit is said in one sentence, and soon."""

import os
import signal
import time

import pytest
from ray.exceptions import GetTimeoutError, LocalRayletDiedError, RaySystemError

from omnimat.base.errors import RunError
from omnimat.cluster.session import _is_of_lost_cluster, session


def sentence() -> str:
    with pytest.raises(RunError) as caught, session():
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "[::1]:1"])
def test_an_address_where_nothing_answers_is_named_at_once(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    start_s = time.monotonic()
    assert f"the Ray at {address}, which RAY_ADDRESS names, cannot be used" in sentence()
    assert time.monotonic() - start_s < 30  # Ray itself takes minutes


def test_a_ray_that_cannot_start_is_a_sentence(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", f"{os.devnull}/ray")
    assert "Ray does not start on this machine: " in sentence()


@pytest.fixture
def on_head(ray_head, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, ray_head.environment[name])
    on_signal = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, on_signal)


@pytest.mark.ray
def test_a_head_of_another_version_is_named(on_head, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ray.__version__", "2.1.0")
        assert "Version mismatch" in sentence()


def test_only_a_ray_that_has_ended_is_called_so():
    assert _is_of_lost_cluster(LocalRayletDiedError())
    assert _is_of_lost_cluster(RaySystemError("Broken pipe"))
    assert not _is_of_lost_cluster(RaySystemError(TypeError("a bug"), "Traceback: ..."))
    assert not _is_of_lost_cluster(GetTimeoutError())


@pytest.mark.ray
def test_a_raylet_that_dies_meanwhile_is_a_sentence(on_head):
    with (
        pytest.raises(RunError, match=r"Ray ended while it was needed: .*run the command again"),
        session(),
    ):
        raise LocalRayletDiedError
