import time
from itertools import pairwise

import pytest

from omnimat.base.errors import RunError
from omnimat.sources.materials_project.patience import (
    Missing,
    Patience,
    Patient,
    Refused,
    TooMuch,
    Unavailable,
)

SHORT = Patience(total_s=0.07, first_wait_s=0.01, longest_wait_s=0.04)


class Service:
    """Fails as often as told, then answers; counts what it was asked."""

    def __init__(self, num_failures=0, bad_ids=(), error=Unavailable):
        self.num_failures = num_failures
        self.bad_ids = set(bad_ids)
        self.error = error
        self.requests = []
        self.is_alive = True

    def answer(self):
        self.requests.append("")
        if len(self.requests) <= self.num_failures:
            raise self.error("HTTP 503")
        return "answer"

    def get(self, ids):
        self.requests.append(list(ids))
        if self.bad_ids & set(ids):
            raise self.error("bad")
        return {i: i.upper() for i in ids if i != "absent"}

    def patient(self):
        return Patient("the service", SHORT, lambda: self.is_alive)


def test_waits_grow_no_longer_than_the_longest_and_end():
    service = Service(num_failures=1000)
    patience = Patience(total_s=0.3, first_wait_s=0.01, longest_wait_s=0.02)
    with pytest.raises(Unavailable):
        Patient("the service", patience, lambda: True).call(service.answer)
    # Waits of at most 0.02 s, where doubling without end would come to 5 or 6, and of at least half
    # of 0.01 s.
    assert 1 + 0.3 / 0.02 <= len(service.requests) <= 1 + 0.3 / 0.005


def test_waits_double():
    times = []

    def fails():
        times.append(time.monotonic())
        raise Unavailable("HTTP 503")

    patience = Patience(total_s=0.2, first_wait_s=0.04, longest_wait_s=10)
    with pytest.raises(Unavailable):
        Patient("the service", patience, lambda: True).call(fails)
    assert len(times) in {4, 5}
    waits_s = [after - before for before, after in pairwise(times)]
    assert all(wait >= 0.02 * 2**i for i, wait in enumerate(waits_s))


def test_no_patience_asks_once():
    service = Service(num_failures=1)
    with pytest.raises(Unavailable):
        Patient("the service", Patience(total_s=0), lambda: True).call(service.answer)
    assert len(service.requests) == 1


def test_what_is_unavailable_is_asked_again():
    service = Service(num_failures=3)
    assert service.patient().call(service.answer) == "answer"
    assert len(service.requests) == 4


def test_patience_is_spent_once_until_there_is_an_answer():
    service = Service(num_failures=1000)
    patient = service.patient()
    counts = []
    for _ in range(3):
        with pytest.raises(Unavailable, match="HTTP 503"):
            patient.call(service.answer)
        counts.append(len(service.requests))
    first = counts[0]
    assert first >= 4
    assert counts == [first, first + 1, first + 2]
    service.num_failures = 0
    assert patient.call(service.answer) == "answer"
    service.num_failures = 1000
    with pytest.raises(Unavailable):
        patient.call(service.answer)
    assert len(service.requests) >= first + 3 + 4


def test_a_refusal_is_not_asked_again():
    service = Service(num_failures=1, error=Refused)
    with pytest.raises(Refused):
        service.patient().call(service.answer)
    assert len(service.requests) == 1


def test_a_dead_service_stops_the_run():
    service = Service(num_failures=100)
    service.is_alive = False
    with pytest.raises(RunError, match=r"^the service does not answer \(HTTP 503\); what was"):
        service.patient().by_halves(["a", "b"], lambda _: {"a": service.answer()})


def test_stopping_ends_the_wait():
    service = Service(num_failures=100)
    patient = Patient("the service", Patience(total_s=600, first_wait_s=300), lambda: True)
    patient.stop()
    began = time.monotonic()
    with pytest.raises(RunError, match="stopped"):
        patient.call(service.answer)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("error", [Unavailable, TooMuch, Refused])
def test_bad_ids_are_singled_out_by_halves(error):
    ids = [f"id{n}" for n in range(500)]
    service = Service(bad_ids=["id3", "id499"], error=error)
    found, failed = service.patient().by_halves(["absent", *ids], service.get)
    assert failed == {"id3": "bad", "id499": "bad"}
    assert set(found) == set(ids) - {"id3", "id499"}
    assert len(service.requests) < 60


def test_what_is_too_much_is_halved_without_waiting():
    service = Service(bad_ids=["b"], error=TooMuch)
    patient = Patient("the service", Patience(total_s=600, first_wait_s=300), lambda: True)
    began = time.monotonic()
    assert patient.by_halves(["a", "b", "c", "d"], service.get)[1] == {"b": "bad"}
    assert time.monotonic() - began < 60


def test_but_patience_stays_where_nothing_is_answered():
    service = Service()

    def get(ids):
        service.requests.append(ids)
        if len(service.requests) < 6:  # an outage that looks like slowness
            raise TooMuch("HTTP 504")
        return dict.fromkeys(ids, "found")

    assert service.patient().by_halves(list("abcd"), get) == (dict.fromkeys("abcd", "found"), {})


def test_what_is_missing_altogether_is_not_halved():
    service = Service(bad_ids=["a"], error=Missing)
    assert service.patient().by_halves(["a", "b"], service.get) == ({}, {"a": "bad", "b": "bad"})
    assert len(service.requests) == 1


def test_halving_is_bounded():
    ids = [f"id{n}" for n in range(1000)]
    service = Service(bad_ids=ids, error=Refused)
    found, failed = service.patient().by_halves(ids, service.get)
    assert found == {}
    assert set(failed) == set(ids)
    assert len(service.requests) < 130
