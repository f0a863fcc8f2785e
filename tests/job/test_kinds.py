"""A kind of job is one class in one file, which whoever only checks a job file imports lightly."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from omnimat.base.errors import UserError
from omnimat.base.registry import OneOf, Registry
from omnimat.base.settings import Settings
from omnimat.job.header import JobHeader
from omnimat.job.job import KINDS, Job
from omnimat.job.load import load, load_as, load_tree


class Round(Settings):
    type: Literal["round", "oval"] = "round"
    radius: int = 1


class Square(Settings):
    type: Literal["square"]
    edge: int = 1


SHAPES: Registry[Any] = Registry(
    "omnimat.tests", {"round": f"{__name__}:Round", "square": f"{__name__}:Square"}
)
Shape = Annotated[Any, OneOf(SHAPES)]


class DrawSettings(Settings):
    shape: Annotated[Any, OneOf(SHAPES, default="round")] = Round()
    only: Annotated[Any, OneOf((Square,))] = Square(type="square")
    maybe: Shape | None = None
    many: tuple[Shape, ...] = ()
    named: Mapping[str, Shape] = {}


class DrawJob(Job[DrawSettings]):
    """A kind of a package of somebody's own."""

    kind = "draw"
    settings_type = DrawSettings

    def run(self, *, is_asked_for=False, fresh=False):
        print(self.settings.shape)


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Write a job file of that kind."""
    monkeypatch.setattr(
        "omnimat.job.load.KINDS", Registry("omnimat.tests", {"draw": f"{__name__}:DrawJob"})
    )

    def draw(**values: object) -> Path:
        path = tmp_path / "draw.yaml"
        path.write_text(yaml.safe_dump({"kind": "draw", "name": "picture"} | values))
        return path

    return draw


def test_header_and_settings_are_told_apart(draw):
    job = load(draw(needs=["a.yaml"], shape={"type": "oval", "radius": 3}))
    assert job.header == JobHeader(name="picture", needs=("a.yaml",))
    assert job.settings == DrawSettings(shape={"type": "oval", "radius": 3})
    assert (job.kind, job.name, job.needs) == ("draw", "picture", ("a.yaml",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"shape": {"radios": 3}}, "unknown key 'shape.radios'; did you mean 'radius'?"),
        (
            {"shape": {"type": "oval", "edges": 3}},
            "unknown key 'shape.edges'; known here: radius, type",
        ),
        ({"only": {"type": "square", "edges": 3}}, "unknown key 'only.edges'; did you mean 'edge'"),
        ({"maybe": {"type": "square", "edges": 3}}, "unknown key 'maybe.edges'; did you mean"),
        ({"many": [{"type": "square", "edges": 3}]}, "unknown key 'many.0.edges'; did you mean"),
        (
            {"named": {"radius": {"type": "round", "radios": 3}}},
            "'named.radius.radios'; did you mean",
        ),
        ({"named": {"a": {"type": "round", "radius": "x"}}}, "named.a.radius: Input should be"),
        ({"named": {"a": {"type": "star"}}}, "named.a.type: "),
        ({"maybe": {"type": "square", "edge": "long"}}, "maybe.edge: Input should be a valid int"),
        ({"many": [{"type": "star"}]}, "many.0.type: "),
        ({"many": [{}]}, "many.0.type: Field required"),
    ],
)
def test_mistakes_in_parts_of_a_registry_are_located(values, expected, draw):
    path = draw(**values)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


def test_keys_of_header_and_settings_are_all_known_at_the_top(draw):
    for written, meant in (("nmae", "name"), ("shap", "shape"), ("knid", "kind")):
        with pytest.raises(UserError, match=f"unknown key '{written}'; did you mean '{meant}'"):
            load(draw(**{written: 1}))
    with pytest.raises(UserError, match="known here: kind, leaderboard_url, many, maybe, name"):
        load(draw(xyzzy=1))


def test_mistakes_of_both_parts_are_counted_and_the_unknown_key_goes_first(draw):
    path = draw(name="../up", needs=3, shap=1, many=4)
    with pytest.raises(UserError, match=r"unknown key 'shap'.* \(and 3 more\)$"):
        load(path)


def test_every_kind_keeps_its_keys_apart_from_the_header():
    for name, kind in KINDS.load_all().items():
        assert kind.kind == name
        assert not {"kind", *JobHeader.model_fields} & set(kind.settings_type.model_fields)


def test_a_file_of_another_kind_than_asked_for_is_refused(tiny_jobs):
    pretrain = KINDS.load("pretrain")
    assert load_as(pretrain, tiny_jobs / "jobs" / "pretrain.yaml").name == "tiny"
    with pytest.raises(UserError, match=r"kind ingest .* pretrain"):
        load_as(pretrain, tiny_jobs / "jobs" / "data.yaml")


def test_a_pipeline_needs_its_jobs_after_those_of_its_header(tiny_jobs):
    path = tiny_jobs / "jobs" / "all.yaml"
    values = {"kind": "pipeline", "name": "all", "needs": ["data.yaml"], "jobs": ["pretrain.yaml"]}
    path.write_text(yaml.safe_dump(values))
    assert [job.name for job in load_tree(path)] == ["tiny-data", "tiny", "all"]


FILES = {
    "tokenizer": "dataset: data",
    "pipeline": "jobs: [job.yaml]",
    "pretrain": "{dataset: data, modalities: {dos: {}, text: {}}, objective: {type: clip}}",
}
CHECK = """
import sys
from pathlib import Path
from omnimat.job.load import load

for path in sys.argv[1:]:
    load(Path(path)).check()
print(*sys.modules)
"""


def test_to_check_job_files_only_their_kinds_are_imported(tmp_path):
    paths = [tmp_path / f"{kind}.yaml" for kind in FILES]
    for path in paths:
        values = yaml.safe_load(FILES[path.stem]) | {"kind": path.stem, "name": "x"}
        path.write_text(yaml.safe_dump(values | {"storage_path": str(tmp_path)}))
    done = subprocess.run([sys.executable, "-c", CHECK, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = "omnimat.job.kinds."
    loaded = {name.removeprefix(here) for name in done.stdout.split() if name.startswith(here)}
    assert loaded == set(FILES)
