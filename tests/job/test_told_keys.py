"""What editors and pages are told of the keys of job files."""

from omnimat.base.settings import Settings
from omnimat.job import told_keys
from omnimat.job.schema import json_schema


class _Base(Settings):
    """Words of the base.

    Attributes:
        shared: told by the base.
        changed: told by
            the base.

            In two paragraphs.
    """

    shared: int = 1
    changed: int = 1


class _Told(_Base):
    """Words of the class, with ``code``.

    Attributes:
        changed: told by the class.

    A word after the list.
    """

    own: int = 1
    """Told below the key,
    on two lines."""
    untold: int = 1


def test_keys_are_told_by_their_class_and_those_above():
    assert told_keys.of_keys(_Told) == {
        "shared": "told by the base.",
        "changed": "told by the class.",
        "own": "Told below the key, on two lines.",
    }
    assert told_keys.of_keys(_Base)["changed"] == "told by the base.\n\nIn two paragraphs."


def test_a_class_is_told_without_the_list_of_its_keys():
    assert told_keys.of_class(_Told) == "Words of the class, with `code`.\n\nA word after the list."


def test_a_class_that_a_program_made_is_told_by_what_it_was_made_of():
    from pydantic import create_model

    made = create_model("Made", __base__=_Told, extra=(int, 1))
    assert told_keys.of_keys(made) == told_keys.of_keys(_Told)


def test_the_schema_tells_keys_by_their_names_in_files():
    definitions = json_schema()["$defs"]
    column = definitions["LabelColumn"]["properties"]
    assert column["from"]["description"].startswith("name of the column in the table")
    assert "Attributes" not in definitions["LabelColumn"]["description"]
    header = definitions["FinetuneJob"]["properties"]["name"]["description"]
    assert header.startswith("Name of the data set, tokenizer or run")
