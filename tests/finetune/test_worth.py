import pandas as pd

from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.worth import compared


def test_fractions_of_the_training_split_are_told_apart(settings):
    changes = {"train_fractions": (0.1, 1.0), "variants": ("from_scratch",)}
    curve = FinetuneSettings.model_validate(settings.model_dump() | changes)
    table = pd.DataFrame(
        {
            "place": 0,
            "variant": "from_scratch",
            "train_fraction": [0.1, 0.1, 1.0, 1.0],
            "part": [0, 1, 0, 1],
            "score": [4.0, 6.0, 1.0, 3.0],
            "guess": [4.0, 4.0, 8.0, 8.0],
            "num_test": 6,
        }
    )
    few, many = compared(curve, table)
    assert (few.train_fraction, few.scores, few.is_better) == (0.1, (4.0, 6.0), False)
    assert (many.train_fraction, many.scores, many.is_better) == (1.0, (1.0, 3.0), True)
    assert ", 10 % of the training split: " in few.sentence
    assert "training split" not in many.sentence
