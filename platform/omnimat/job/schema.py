"""The JSON Schema of job files, for editors and for the pages that list every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from omnimat.job import told_keys
from omnimat.job.header import JobHeader
from omnimat.job.job import KINDS, Job


class _Described(GenerateJsonSchema):
    """Says of settings and of each key what their docstrings say."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Describe one class of settings."""
        described = super().model_schema(schema)
        settings: type[BaseModel] = schema["cls"]
        described["description"] = told_keys.of_class(settings)
        for key, text in told_keys.of_keys(settings).items():
            name = settings.model_fields[key].alias or key
            described["properties"][name].setdefault("description", text)
        return described


def json_schema() -> dict[str, Any]:
    """Describe the job files of every kind; ``kind`` tells them apart."""
    files = tuple(_file_of(job) for job in KINDS.load_all().values())
    union: Any = Annotated[Union[files], Field(discriminator="kind")]  # noqa: UP007
    return TypeAdapter(union).json_schema(schema_generator=_Described)


def _file_of(job: type[Job[Any]]) -> type[BaseModel]:
    """Make the class of a kind's files, which hold the keys of header and settings side by side."""
    fields: dict[str, Any] = {"kind": (Literal[job.kind], ...)}
    base = (JobHeader, job.settings_type)
    return create_model(job.__name__, __base__=base, __doc__=job.__doc__, **fields)
