"""JSON Schema as Kubernetes means it, applied strictly, with one sentence for each error."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import cel
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

Document = Mapping[str, Any]


def errors(document: Any, schema: Document) -> Iterator[str]:
    """Say where a document breaks a schema; a key that the schema does not know is an error.

    These keywords of Kubernetes are known: ``int-or-string``, ``validations`` (rules in CEL),
    ``list-map-keys`` and ``preserve-unknown-fields``.
    """
    for error in KUBERNETES(schema).iter_errors(document):
        yield sentence(error)


def sentence(error: ValidationError) -> str:
    """Describe one error: the path, what is wrong, and what may have been meant."""
    path = ".".join(map(str, error.absolute_path))
    return f"{path}: {_what(error)}" if path else _what(error)


def suggestion(name: str, known: Collection[str]) -> str:
    """Give the end of a sentence about an unknown name, which suggests a known one."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _what(error: ValidationError) -> str:
    if error.validator in ("properties", "additionalProperties"):
        known = error.schema.get("properties", {})
        unknown = sorted(error.instance.keys() - known.keys())
        return ", ".join(f"unknown key {key!r}{suggestion(key, known)}" for key in unknown)
    if error.validator == "required":
        return str(error.message).replace(" is a required property", " is missing")
    if error.validator == "type":
        return f"{reprlib.repr(error.instance)} is not of type {error.validator_value!r}"
    return str(error.message)


def _closed_properties(
    validator: Validator, properties: Document, instance: Any, schema: Document
) -> Iterator[ValidationError]:
    """Check the known keys, and refuse others unless the schema says that it takes them."""
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )
    opened = {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & schema.keys()
    if isinstance(instance, dict) and not opened and instance.keys() - properties.keys():
        yield ValidationError("unknown keys")


def _int_or_string(
    _validator: Validator, wanted: bool, instance: Any, _schema: Document
) -> Iterator[ValidationError]:
    is_either = isinstance(instance, int | str) and not isinstance(instance, bool)
    if wanted and not is_either:
        yield ValidationError(f"{reprlib.repr(instance)} is neither an integer nor a string")


def _rules(
    _validator: Validator, rules: list[Document], instance: Any, _schema: Document
) -> Iterator[ValidationError]:
    """Check rules in CEL, except those of updates, since there is no older document here."""
    for rule in rules:
        if "oldSelf" not in rule["rule"] and not cel.evaluate(rule["rule"], {"self": instance}):
            yield ValidationError(rule.get("message") or f"breaks the rule {rule['rule']}")


def _unique_keys(
    _validator: Validator, keys: list[str], instance: Any, _schema: Document
) -> Iterator[ValidationError]:
    seen = set()
    for item in instance:
        name = tuple(str(item.get(key)) for key in keys)
        if name in seen:
            yield ValidationError(f"two items with the {' and '.join(keys)} {', '.join(name)}")
        seen.add(name)


KUBERNETES = extend(
    Draft202012Validator,
    {
        "properties": _closed_properties,
        "x-kubernetes-int-or-string": _int_or_string,
        "x-kubernetes-validations": _rules,
        "x-kubernetes-list-map-keys": _unique_keys,
    },
)
