"""The pages that are made of what they describe leave nothing out."""

import re

import click
import pytest
from documentation.commands import below
from documentation.job_files import pages as job_pages
from documentation.keys import KeyTables
from documentation.parts import kinds_of, page_of, parts_of

from omnimat.cli.main import main
from omnimat.job.header import JobHeader
from omnimat.job.job import KINDS
from omnimat.job.schema import json_schema


@pytest.fixture(scope="module")
def schema():
    return json_schema()


@pytest.fixture(scope="module")
def reference(schema):
    return job_pages(schema, frozenset(JobHeader.model_fields), {"pretrain": "kind: pretrain"})


def rows(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_every_kind_has_a_page_with_every_key(schema, reference):
    assert set(kinds_of(schema)) == set(KINDS.names)
    for kind, name in kinds_of(schema).items():
        keys = set(schema["$defs"][name]["properties"]) - set(JobHeader.model_fields)
        page = reference[page_of(kind)]
        assert keys <= rows(page.partition("\n## ")[2].partition("\n## ")[0])
    assert set(JobHeader.model_fields) <= rows(reference["reference/job-files/index.md"])


def test_every_part_has_one_section_with_every_key(schema, reference):
    """Whatever the schema defines, and it defines nothing that no kind has."""
    parts = parts_of(schema)
    assert set(parts) == set(schema["$defs"]) - set(kinds_of(schema).values())
    for name, part in parts.items():
        held = [text for text in reference.values() if f"{{ #{part.anchor} }}" in text]
        assert held == [reference[part.page]], name
        section = held[0].partition(f"{{ #{part.anchor} }}")[2].partition("\n## ")[0]
        assert rows(section) == set(schema["$defs"][name]["properties"]), name


def test_every_key_is_told_in_words(reference):
    """By the docstring of its class, or by that of the settings that it holds."""
    told_by_value = {"kind", "type"}
    empty = re.findall(r"^\| `([^`]+)` \|.*\|  \|$", "\n".join(reference.values()), re.MULTILINE)
    assert set(empty) <= told_by_value


def test_links_between_keys_and_parts_lead_to_sections(reference):
    for address, text in reference.items():
        for page, anchor in re.findall(r"\]\(([a-z_]*(?:\.md)?)#([a-z_]+)\)", text):
            where = f"reference/job-files/{page}" if page else address
            assert f"{{ #{anchor} }}" in reference[where], (address, page, anchor)


def test_what_a_row_says(schema):
    tables = KeyTables(schema["$defs"], parts_of(schema))
    training = schema["$defs"]["TrainingSettings"]["properties"]
    address = "reference/job-files/pretrain.md"
    (row,) = tables.table({"gradient_clip": training["gradient_clip"]}, (), address)[2:]
    told = "Largest norm of the gradient; 0 clips nothing."
    assert row == f"| `gradient_clip` | number ≥ 0 | `1.0` | {told} |"
    read_from = schema["$defs"]["StreamSettings"]["properties"]["read_from"]
    assert tables.value(read_from, address) == "`shards`, `store`"
    assert tables.value(training["min_workers"], address) == "integer ≥ 1 or `null`"
    assert tables.value(training["betas"], address) == "list: number, number"
    assert tables.default(training["label_selector"]) == "`{omnimat.io/role: trainer}`"


def test_default_settings_tell_where_they_differ_from_their_class(schema):
    tables = KeyTables(schema["$defs"], parts_of(schema))
    source = schema["$defs"]["IngestJob"]["properties"]["source"]
    assert tables.default(source) == "`{type: prototypes}`"
    changed = source | {"default": source["default"] | {"num_materials": 7}}
    assert tables.default(changed) == "`{type: prototypes, num_materials: 7}`"
    whole = schema["$defs"]["PretrainJob"]["properties"]["training"]
    assert tables.default(whole) == "its defaults"


def test_every_command_has_its_help_on_the_page(pages):
    contexts = list(below(click.Context(main, info_name="omnimat")))
    assert len(contexts) > len(main.commands)
    page = pages["reference/commands.md"]
    for context in contexts:
        section = page.partition(f"## `{context.command_path}`\n")[2].partition("\n## ")[0]
        assert f"Usage: {context.command_path}" in section
        assert "--help" in section


def test_every_public_name_and_every_file_of_a_room_is_told(pages):
    import omnimat

    for name in {*omnimat.__all__} - {"__version__"}:
        assert f"::: omnimat.{name}\n" in pages["reference/python.md"]
    assert "| `loop.py` |" in pages["reference/rooms.md"]
