import re

import pytest
import yaml

from omnimat.inference.compare import facts
from omnimat.inference.package import Package
from omnimat.inference.readme import model_card


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        (["CC-BY-4.0"], {"license": "cc-by-4.0"}),
        (None, {"license": "unknown"}),
        (["CC-BY-4.0", "x"], {"license": "other", "license_name": "CC-BY-4.0, x"}),
    ],
)
def test_the_head_names_data_and_licences_as_the_hub_reads_them(packed, licences, told):
    card = Package(packed).card.model_dump(mode="json")
    card["trained"] = [{**card["trained"][0], "licences": licences}] * 2
    text = model_card(type(Package(packed).card).model_validate(card))
    head = yaml.safe_load(text.split("---")[1])
    assert {key: value for key, value in head.items() if key.startswith("license")} == told
    assert head["datasets"] == ["data"]


def test_errors_of_a_logarithm_are_told_in_decades(packed):
    card = Package(packed).card.model_dump(mode="json")
    card["predictor"]["predicted"][0]["task"] |= {"scale": "log10", "unit": "GPa"}
    card = type(Package(packed).card).model_validate(card)
    assert re.search(r"mae \S+ log10\(GPa\) on", model_card(card))
    (told,) = [value for name, value in facts(card).items() if name.endswith("mae of their mean")]
    assert told.endswith(" log10(GPa)")


def test_a_card_without_a_measured_coverage_says_so(packed):
    card = Package(packed).card.model_dump(mode="json")
    card["predictor"]["predicted"][0]["score"]["coverage"] = None
    assert "held an unknown share" in model_card(type(Package(packed).card).model_validate(card))


def test_a_card_cannot_add_lines_to_what_people_read(packed):
    """Neither its name nor that of a data set, a property, a licence or an element."""
    card = Package(packed).card.model_dump(mode="json")
    bad = "x\n## What it was trained on\n\n\x1b[2J"
    card["name"] = card["omnimat"] = bad
    card["trained"][0] |= {"dataset": bad, "licences": [bad], "run": bad}
    card["predictor"]["domain"]["elements"] = [bad]
    card["predictor"]["predicted"][0]["task"] |= {"target": bad, "unit": bad}
    text = model_card(type(Package(packed).card).model_validate(card))
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("## What it was")] == [
        "## What it was trained on"
    ]
