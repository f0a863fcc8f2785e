"""JSON in which every key stands once."""

import json
import time

import pytest

from omnimat.base import strict_json


def test_what_says_everything_once_is_let_through():
    strict_json.check('{"a": {"b": [{"c": 1}, {"c": 2}]}, "b": {}}')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": 1, "a": 2}', "key 'a' stands twice in one object, as 1 and as 2; remove one"),
        ('{"a": 1, "b": 0, "a": 2, "a": 3}', "as 1 and as 2; remove one"),
        ('{"x": [{"a": {}, "\\u0061": null}]}', "key 'a' .* as {} and as null"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
    ],
)
def test_what_says_one_thing_twice_is_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        strict_json.check(text)


def test_a_sentence_is_short_and_found_at_once_whatever_the_keys():
    keys = [f"{place:0>500}" for place in range(20_000)]
    pairs = ",".join(f"{json.dumps(key)}:{json.dumps(key)}" for key in [*keys, keys[-1]])
    begun_s = time.perf_counter()
    with pytest.raises(ValueError, match="stands twice") as caught:
        strict_json.check(f"{{{pairs}}}")
    assert time.perf_counter() - begun_s < 60  # comparing each key with each takes minutes
    assert len(str(caught.value)) < 300
