"""What settings are known by: the identity that leaves out defaults, and its hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Discriminator, Field

from omnimat.base.settings import PresetSettings, Settings, fingerprint, identity


class Graph(Settings):
    type: Literal["graph"] = "graph"
    cutoff_angstrom: float = 5


class Curve(Settings):
    type: Literal["curve"] = "curve"
    num_points: int = 601


class Encoder(PresetSettings):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "tiny": {"widths": (8,)}}
    widths: tuple[int, ...] = (512, 512)


class Optimizer(Settings):
    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_threads"})
    lr: float = 1e-3
    num_threads: int = 1


class Job(Settings):
    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_workers"})
    dataset: str
    featurizer: Annotated[Graph | Curve, Discriminator("type")] = Graph()
    encoder: Encoder = Encoder()
    optimizer: Optimizer = Field(default_factory=Optimizer)
    also: tuple[Optimizer, ...] = ()
    by_name: Mapping[str, Optimizer] = {}
    labels: Mapping[str, str] = {"role": "trainer"}
    section: Optimizer | None = None
    grid: tuple[Any, ...] = ()
    num_workers: int = 1


def job(**values: Any) -> Job:
    return Job.model_validate({"dataset": "d", **values})


def test_only_what_is_not_the_default_counts():
    assert identity(job()) == {"dataset": "d"}
    assert identity(job(optimizer={"lr": 0.5})) == {"dataset": "d", "optimizer": {"lr": 0.5}}


@pytest.mark.parametrize(
    "values",
    [
        {"featurizer": {"type": "graph", "cutoff_angstrom": 5.0}},
        {"encoder": {"preset": "paper", "widths": [512, 512]}},
        {"optimizer": {"lr": 0.001}},
        {"also": [], "by_name": {}, "labels": {"role": "trainer"}, "section": None},
        {"num_workers": 8, "optimizer": {"num_threads": 4}},
    ],
)
def test_a_default_that_is_written_out_is_as_if_left_out(values):
    assert job(**values).fingerprint() == job().fingerprint()


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": "e"},
        {"featurizer": {"type": "curve"}},
        {"featurizer": {"type": "graph", "cutoff_angstrom": 5.5}},
        {"encoder": {"preset": "tiny"}},
        {"also": [{}]},
        {"also": [{}, {}]},
        {"by_name": {"a": {}}},
        {"labels": {}},
        {"section": {}},
        {"grid": [0]},
        {"grid": [False]},
        {"grid": ["0"]},
    ],
)
def test_what_decides_the_result_counts(values):
    others = [job(), job(grid=[None]), job(optimizer={"lr": 2})]
    assert job(**values).fingerprint() not in {other.fingerprint() for other in others}


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"encoder": {"preset": "tiny"}}, {"encoder": {"widths": [8]}}),
        ({"optimizer": {"lr": 1}}, {"optimizer": {"lr": 1.0}}),
        ({"grid": [1, 2.0]}, {"grid": (1.0, 2)}),
        ({"section": {"num_threads": 2}}, {"section": {}}),
    ],
)
def test_what_is_written_in_two_ways_is_the_same(one, same):
    assert job(**one).fingerprint() == job(**same).fingerprint()


def test_large_integers_stay_apart():
    assert identity((2**53, 2**53 + 1)) == [2**53, 2**53 + 1]


def test_a_mapping_or_sequence_of_settings():
    assert identity({"a": Curve(), "b": [Graph(cutoff_angstrom=4)]}) == {
        "a": {"type": "curve"},
        "b": [{"type": "graph", "cutoff_angstrom": 4}],
    }


def test_a_new_key_with_a_default_makes_nothing_stale():
    class Longer(Optimizer):
        clip: float = 1.0

    assert Longer().fingerprint() == Optimizer().fingerprint()
    assert Longer(clip=2).fingerprint() != Optimizer(lr=2).fingerprint()


class Listed(Settings):
    graphs: tuple[Graph, ...] = (Graph(),)


class Named(Settings):
    graphs: Mapping[str, Graph] = {"a": Graph()}


@pytest.mark.parametrize("raised", [Job, Graph, Encoder, Optimizer])
def test_a_raised_revision_makes_new_what_it_concerns(raised, monkeypatch):
    """Also where the settings whose revision is raised are a default, however deep it lies."""
    other = {"featurizer": {"type": "graph", "cutoff_angstrom": 3}, "optimizer": {"lr": 1}}
    jobs = [job(), job(**other), *([Listed(), Named()] if raised is Graph else [])]
    before = {one.fingerprint() for one in jobs}
    monkeypatch.setattr(raised, "revision", 2)
    assert before.isdisjoint(one.fingerprint() for one in jobs)


def test_a_raised_revision_concerns_nothing_else(monkeypatch):
    others = [job(), Listed(), Optimizer()]
    before = [one.fingerprint() for one in others]
    monkeypatch.setattr(Curve, "revision", 2)
    assert [one.fingerprint() for one in others] == before


def test_the_hash_is_of_the_content():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert len(fingerprint({})) == 16
