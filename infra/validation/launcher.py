"""Files of ``ray up``, checked by Ray's own schema and EC2's own description of its machines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import ray.autoscaler
import yaml
from botocore.model import Shape
from botocore.session import get_session
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from omnimat.cluster.capacity import LARGEST
from validation import project
from validation.schema import Document, errors, suggestion

_SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
_UNKNOWN = re.compile(
    r'Unknown parameter in (?:input|(?P<where>.+)): "(?P<key>\w+)", .*: (?P<known>.*)'
)

_LARGEST = re.compile(rf"--env {LARGEST}=(\S+)")


def faults(path: Path) -> Iterator[str]:
    """Say what is wrong with a file for ``ray up``."""
    config = yaml.safe_load(path.read_text())
    found = list(errors(config, json.loads(_SCHEMA.read_text()))) or list(_own_faults(config))
    yield from (f"{path}: {fault}" for fault in found)


def _own_faults(config: Document) -> Iterator[str]:
    try:  # as `ray up` does first of all
        prepared = prepare_config(dict(config))
        validate_config(prepared)
    except Exception as error:  # noqa: BLE001  of jsonschema, or whatever else a mistake leads to
        yield f"ray up refuses it: {getattr(error, 'message', error)}"
        return
    node_types, head = prepared["available_node_types"], prepared["head_node_type"]
    yield from project.node_type_faults(node_types, head)
    told = _LARGEST.search(" ".join(config.get("docker", {}).get("run_options", ())))
    yield from project.largest_faults(node_types, told and told[1])
    for name, node_type in node_types.items():
        image = _image(config, name)
        has_gpu = bool(node_type["resources"].get("GPU"))
        yield from project.image_faults(name, image, has_gpu=has_gpu)
        if config["provider"]["type"] == "aws":
            yield from _ec2_faults(name, node_type["node_config"])


def _image(config: Document, node_type: str) -> str:
    own = config["available_node_types"][node_type].get("docker", {})
    return str(own.get("worker_image") or config.get("docker", {}).get("image"))


def _ec2_faults(node_type: str, node_config: Document) -> Iterator[str]:
    """Check the arguments of a machine, and that Ray does not open its SSH port to everybody."""
    where = f"available_node_types.{node_type}.node_config"
    if not node_config.get("SecurityGroupIds"):
        yield f"{where}: without SecurityGroupIds Ray opens port 22 to the whole internet"
    # Ray itself adds the one and takes away the other.
    arguments = dict(node_config) | {"MinCount": 1, "MaxCount": 1}
    arguments.pop("SubnetIds", None)
    report = ParamValidator().validate(arguments, _run_instances()).generate_report()
    for line in report.splitlines():
        if unknown := _UNKNOWN.fullmatch(line):
            inside = ".".join(filter(None, [where, unknown["where"]]))
            hint = suggestion(unknown["key"], unknown["known"].split(", "))
            yield f"{inside}: unknown key {unknown['key']!r}{hint}"
        else:
            yield f"{where}: {line}"


@cache
def _run_instances() -> Shape:
    """Give EC2's description of the arguments that start machines."""
    return get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
