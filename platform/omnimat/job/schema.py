"""The JSON Schema of job files, for editors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Field, TypeAdapter, create_model

from omnimat.job.header import JobHeader
from omnimat.job.job import KINDS, Job


def json_schema() -> dict[str, Any]:
    """Describe the job files of every kind; ``kind`` tells them apart."""
    files = tuple(_file_of(job) for job in KINDS.load_all().values())
    union: Any = Annotated[Union[files], Field(discriminator="kind")]  # noqa: UP007
    return TypeAdapter(union).json_schema()


def _file_of(job: type[Job[Any]]) -> type[BaseModel]:
    """Make the class of a kind's files, which hold the keys of header and settings side by side."""
    fields: dict[str, Any] = {"kind": (Literal[job.kind], ...)}
    base = (JobHeader, job.settings_type)
    return create_model(job.__name__, __base__=base, __doc__=job.__doc__, **fields)
