import shutil
import sys
from pathlib import Path

import pytest

INFRA = Path(__file__).parents[2] / "infra"
sys.path.insert(0, str(INFRA))


@pytest.fixture(scope="session")
def infra() -> Path:
    """The folder of manifests, scripts and their checks."""
    pytest.importorskip("cel", reason="common-expression-language is not installed")
    pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    return INFRA


@pytest.fixture(scope="session")
def schemas(infra, shared_data):
    """KubeRay's definitions of RayCluster and RayJob."""
    from validation.kubernetes import load_schemas

    return load_schemas(sorted((shared_data / "kuberay").glob("*.yaml.gz")))


@pytest.fixture
def edited(infra, tmp_path):
    """Makes a copy of the folder in which one file reads otherwise."""

    def edit(name: str, old: str, new: str) -> Path:
        copy = shutil.copytree(infra, tmp_path / "infra", ignore=shutil.ignore_patterns("docker"))
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1))
        return copy

    return edit
