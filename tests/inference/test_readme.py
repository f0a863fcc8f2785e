from omnimat.inference.package import Package
from omnimat.inference.readme import model_card


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
