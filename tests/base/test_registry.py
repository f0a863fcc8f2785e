from importlib.metadata import EntryPoint
from typing import Annotated, Any, Literal

import pytest
from pydantic import ValidationError

from omnimat.base import registry as module
from omnimat.base.errors import UserError
from omnimat.base.registry import OneOf, Registry
from omnimat.base.settings import Settings

GROUP = "omnimat.tests"


class Round(Settings):
    type: Literal["round"] = "round"
    radius: int = 1


class Square(Settings):
    type: Literal["square"] = "square"
    edge: int = 1


SHAPES: Registry[Any] = Registry(GROUP, {"round": f"{__name__}:Round"})


class Drawing(Settings):
    shape: Annotated[Any, OneOf((Round, Square), default="round")] = Round()
    only: Annotated[Any, OneOf((Round,))] = Round()


def others(monkeypatch, *points):
    monkeypatch.setattr(
        module, "entry_points", lambda group: [EntryPoint(*one, group) for one in points]
    )


def test_parts_of_other_packages_join_ours(monkeypatch):
    others(monkeypatch, ("counter", "collections:Counter"))
    shapes: Registry[Any] = Registry(GROUP, {"path": "pathlib:Path"})
    assert shapes.names == ("path", "counter")
    assert [part.__name__ for part in shapes.load_all().values()] == ["Path", "Counter"]


def test_two_parts_of_one_name_are_refused(monkeypatch):
    others(monkeypatch, ("path", "collections:Counter"))
    shapes: Registry[Any] = Registry(GROUP, {"path": "pathlib:Path"})
    with pytest.raises(UserError, match=r"'path'.*pathlib:Path and collections:Counter"):
        _ = shapes.names


@pytest.mark.parametrize("target", ["no_such_package:Part", "collections:NoSuchName"])
def test_a_part_that_cannot_be_imported_is_named(monkeypatch, target):
    others(monkeypatch, ("broken", target))
    with pytest.raises(UserError, match=f"'broken' of {GROUP} \\({target}\\)"):
        Registry(GROUP, {}).load("broken")


def test_an_unknown_part_is_told_which_there_are(monkeypatch):
    others(monkeypatch)
    with pytest.raises(UserError, match=r"'oval'.*path"):
        Registry(GROUP, {"path": "pathlib:Path"}).load("oval")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Round()),
        ({"radius": 3}, Round(radius=3)),
        ({"type": "square", "edge": 2}, Square(edge=2)),
        (Square(), Square()),
    ],
)
def test_one_of_several_settings_is_told_by_its_type(given, expected):
    assert Drawing(shape=given).shape == expected


@pytest.mark.parametrize(
    ("values", "location"),
    [
        ({"shape": {"edge": 1}}, ("shape", "round", "edge")),
        ({"shape": {"type": "oval"}}, ("shape",)),
        ({"only": {"type": "square"}}, ("only", "type")),
    ],
)
def test_a_mistake_is_told_with_its_place(values, location):
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(values)
    assert caught.value.errors()[0]["loc"] == location


def test_the_schema_of_a_job_file_knows_all():
    schema = Drawing.model_json_schema()["properties"]["shape"]
    assert set(schema["discriminator"]["mapping"]) == {"round", "square"}
