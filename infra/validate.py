"""Check the files of this folder as the programs that read them would, without cluster or cloud.

``python infra/validate.py --crds crds.yaml``, in the developers' environment, checks this folder;
with another folder as an argument it checks a copy that you have edited. It exits with 2 and a
sentence for each error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from validation import kubernetes, launcher, project, shell, skypilot

from omnimat.base.errors import UserError

INFRA = Path(__file__).resolve().parent


def faults(folder: Path, schemas: kubernetes.Schemas) -> Iterator[str]:
    """Say what is wrong with the files of a folder that is laid out like this one."""
    for kustomization in sorted(folder.glob("kuberay/overlays/*/*/kustomization.yaml")):
        yield from kubernetes.faults(kustomization.parent, schemas)
    for name in ("aws.yaml", "gcp.yaml"):
        yield from launcher.faults(folder / name)
    yield from skypilot.faults(folder / "skypilot.yaml")
    for name in ("slurm.sh", "ray_cluster.sh"):
        yield from shell.faults(folder / name)
    for pattern in ("kuberay/**/*.yaml", "kuberay/*.md", "*.yaml", "*.sh", "*.md"):
        for path in sorted(folder.glob(pattern)):
            yield from project.text_faults(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong, and give the exit status."""
    parser = argparse.ArgumentParser(description="Check the files of this folder.")
    parser.add_argument("folder", type=Path, nargs="?", default=INFRA)
    parser.add_argument(
        "--crds",
        type=Path,
        nargs="+",
        default=[],
        help="KubeRay's CustomResourceDefinitions, as files or as 'kubectl get crd -o yaml' prints",
    )
    options = parser.parse_args(arguments)
    schemas = kubernetes.load_schemas(options.crds)
    try:
        found = list(faults(options.folder, schemas))
    except UserError as error:
        found = [str(error)]
    print("\n".join(found) or f"{options.folder}: ok")
    if not schemas:
        print("RayCluster and RayJob were not held against KubeRay's definitions: give --crds")
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
