"""The image: what its Dockerfile may and may not do, and the wheel that is installed in it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "infra" / "docker" / "Dockerfile"
SOURCE_ROOTS = (Path("platform"), Path("dashboards/leaderboard"))


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, after those before the first; continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    stages = [[]]
    for line in filter(None, text.splitlines()):
        instruction, _, arguments = line.partition(" ")
        stages += [[]] if instruction == "FROM" else []
        stages[-1].append((instruction, " ".join(arguments.split())))
    return stages


def arguments(stage, instruction):
    return [text for name, text in stage if name == instruction]


def test_every_stage_is_of_one_pinned_base(stages):
    (_, base), *rest = stages[0]
    assert not rest
    assert re.fullmatch(r"BASE_IMAGE=[\w./-]+:[\d.]+-[\w-]+@sha256:[0-9a-f]{64}", base)
    names = [text.split(" AS ") for stage in stages[1:] for text in arguments(stage, "FROM")]
    known = {"${BASE_IMAGE}"} | {name[1] for name in names if name[1:]}
    assert {name[0] for name in names} <= known


def test_the_image_runs_as_a_user_without_rights_and_whatever_ray_starts_in_it(stages):
    final = stages[-1]
    (user,) = arguments(final, "USER")
    assert int(user) == 1000  # by number, or Kubernetes' runAsNonRoot refuses it
    assert "useradd --uid 1000" in " ".join(arguments(final, "RUN"))
    assert arguments(final, "WORKDIR") == ["/home/ray/omnimat"]
    everything = {name for stage in stages for name, _ in stage}
    assert everything <= {"ARG", "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "LABEL"}


def test_no_build_argument_or_variable_is_a_secret(stages):
    """Either would stay readable in the image's history."""
    texts = [text for stage in stages for name, text in stage if name in {"ARG", "ENV"}]
    names = re.findall(r"(\w+)(?==|$)", "\n".join(texts), flags=re.MULTILINE)
    assert {"BASE_IMAGE", "ACCELERATOR", "COMMIT"} <= set(names)
    assert not [name for name in names if re.search("KEY|TOKEN|PASSW|SECRET|CREDENTIAL", name)]


def test_all_that_is_copied_is_there_and_enters_the_build(stages):
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    entering = [line[1:] for line in ignored if line.startswith("!")]
    for text in [text for stage in stages for text in arguments(stage, "COPY")]:
        *sources, _ = [word for word in text.split() if not word.startswith("--")]
        for source in sources if "--from" not in text else []:
            assert list(REPOSITORY.glob(source)), source
            assert any(f"{source}/".startswith(f"{path}/") for path in entering), source


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this tree, built as the image's is, from a copy as clean as a checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for root in SOURCE_ROOTS:
        leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / root, source / root, ignore=leave_out)
    pip("wheel", "--no-build-isolation", f"--wheel-dir={source}", source)
    return next(source.glob("*.whl"))


def pip(command, *options):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", command]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", *options], check=True)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    """But for the guides, which are read in the repository."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(root).as_posix()
        for root in (REPOSITORY / root for root in SOURCE_ROOTS)
        for path in root.glob("omnimat*/**/*")
        if path.is_file() and not {"__pycache__", "docs"} & set(path.parts)
    }
    expected = {name for name in expected if ".egg-info/" not in name}
    assert expected - held == set()
    assert {"omnimat/finetune/tasks.yaml", "omnimat_dashboard/static/site.css"} < held
    assert "omnimat/leaderboard/migrations/versions/v0001_initial.py" in held
    assert "omnimat/inference/shipped/mp-small/card.json" in held
    assert held - expected == set()


def test_omnimat_runs_from_the_installed_wheel(wheel, tmp_path):
    pip("install", f"--target={tmp_path / 'site'}", wheel)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}

    def python(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.check_output(command, text=True, env=environment, cwd=tmp_path)

    assert "Usage: " in python("-m", "omnimat.cli", "--help")
    where = python(
        "-c", "import omnimat, omnimat_dashboard as d; print(omnimat.__file__, d.__file__)"
    )
    assert [Path(path).parents[1] for path in where.split()] == [tmp_path / "site"] * 2
    salt = REPOSITORY / "jobs/crystals/NaCl.cif"
    assert "formation_energy" in python("-m", "omnimat.cli", "predict", "mp-small", salt)
