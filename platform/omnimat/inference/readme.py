"""The model card of a package in the form of the Hugging Face hub, for people to read."""

from __future__ import annotations

from statistics import fmean, stdev

import yaml

from omnimat.base.characters import escaped
from omnimat.inference.card import PackageCard, Predicted, Score, TestedOn, Trained, Withheld

_USE = """\
```python
import omnimat

model = omnimat.load("{name}")
vectors = model.embed(["quartz.cif"]).vectors
{predict}```
"""
_OF_INTERVALS = """\
The width of an interval was measured on the validation split, which also chose the point and the
epoch. So the share that it is to hold is approximate; the share that it held was measured on the
test split, which chose nothing."""
_LICENCES_OF_THE_HUB = ("apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0", "mit", "unknown")
_EMBEDS = ", with the encoders of its first network as they are after its training"


def model_card(card: PackageCard) -> str:
    """Write ``README.md``: what the model is, how it is used, and how far it can be trusted."""
    head: dict[str, object] = {
        "library_name": "omnimat",
        "tags": ["materials-science", "crystals"],
        **_of_licences(card),
        "datasets": list(dict.fromkeys(_plain(one.dataset) for one in card.trained)),
    }
    predict = 'table = model.predict("candidates/*.cif")\n' if card.predictor else ""
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {_plain(card.name)}",
        f"It embeds crystals by {', '.join(card.encoders)}{_EMBEDS if card.predictor else ''}.",
        "## How to use it",
        _USE.format(name=_plain(card.name), predict=predict),
    ]
    if card.predictor is not None:
        seeds = len(card.predictor.network.seeds)
        lines += [
            "## What it predicts",
            f"The mean of {seeds} network{'s' if seeds > 1 else ''}.",
            *(f"- {_plain(_quantity(one))}" for one in card.predictor.predicted),
            *([] if card.tested_on is None else [_tested_on(card.tested_on)]),
            *([_OF_INTERVALS] if any(one.calibration for one in card.predictor.predicted) else []),
            "## For which crystals",
            f"It has learned from {card.predictor.domain.num_materials} materials of at most "
            f"{card.predictor.domain.max_atoms} atoms and of the elements "
            f"{_plain(', '.join(card.predictor.domain.elements))}. Predictions for other crystals "
            "carry a note.",
        ]
    lines += [
        "## What it was trained on",
        *(
            _plain(
                f"- {one.dataset} ({one.dataset_fingerprint}), in the run {one.run}; licences: "
                f"{_licences(one)}"
            )
            for one in card.trained
        ),
        *(_withheld(one) for one in card.withheld),
        *(["## What its makers say", _quoted(card.about)] if card.about else []),
        f"Made by omnimat {_plain(card.omnimat)}.",
    ]
    return "\n\n".join(lines).replace("\n\n- ", "\n- ") + "\n"


def _tested_on(one: TestedOn) -> str:
    where = f"{_plain(one.dataset)} ({_plain(one.dataset_fingerprint)})"
    return f"The test materials are those of another data set than it has learned from: {where}."


def _withheld(one: Withheld) -> str:
    where = f"{_plain(one.dataset)} ({_plain(one.dataset_fingerprint)}; {', '.join(one.splits)})"
    return (
        f"It has seen none of the {one.num_formulas:,} formulas of {where}, so it may be judged by "
        "them."
    )


def _quoted(text: str) -> str:
    """Mark every line as a quotation, so that none passes for the words of this card."""
    return "\n".join(f"> {_plain(line)}".rstrip() for line in text.strip().splitlines())


def _plain(text: str) -> str:
    """Keep a text of a card on its line, and its hidden characters visible."""
    return escaped(text, allowed="")


def _of_licences(card: PackageCard) -> dict[str, str]:
    """Give the licences of the data as the hub writes them: by its word, or as another by name."""
    told = [_plain(name) for one in card.trained for name in one.licences or ("unknown",)]
    known = list(dict.fromkeys(told)) or ["unknown"]
    if len(known) == 1 and known[0].lower() in _LICENCES_OF_THE_HUB:
        return {"license": known[0].lower()}
    return {"license": "other", "license_name": ", ".join(known)}


def _licences(one: Trained) -> str:
    return "not known" if one.licences is None else ", ".join(one.licences) or "not stated"


def _quantity(one: Predicted) -> str:
    score, unit = one.score, f" {one.task.error_unit}" if one.task.unit else ""
    each = f"{fmean(score.of_each):.3g}"
    if len(score.of_each) > 1:
        each += f" ± {stdev(score.of_each):.2g}"
    told = (
        f"**{one.task.target}**: {score.metric} {score.of_mean:.3g}{unit} on {score.num_test} test "
        f"materials (one network: {each})"
    )
    if one.calibration is not None:
        told += f"; intervals are to hold {one.calibration.coverage:.0%} and held {_held(score)}"
    return told


def _held(score: Score) -> str:
    return "an unknown share" if score.coverage is None else f"{score.coverage:.0%} of these"
