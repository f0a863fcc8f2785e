"""The loss of a batch: what workers exchange for it."""

import pytest
import torch
from upath import UPath

from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.targets import Targets
from omnimat.stream.timing import StreamMeter
from omnimat.training.context import WorkerContext
from omnimat.training.loss import BatchLoss
from omnimat.training.meter import Meter
from omnimat.training.settings import PretrainSettings
from omnimat.training.stopwatch import Stopwatch

NAME = "structure->text"
KEYS = {
    "dataset": "any",
    "modalities": {"structure": {}, "text": {"featurizer": {"source": "hashed"}}},
    "regression": [{"from": "structure", "to": "text"}],
}


@pytest.mark.parametrize(("objective", "num_exchanges"), [("none", 0), ("clip", 1)])
def test_only_what_is_compared_is_exchanged(objective, num_exchanges, monkeypatch):
    exchanges = []
    monkeypatch.setattr(
        "omnimat.training.loss.gather_embeddings",
        lambda local, num_rows: exchanges.append(num_rows) or local,
    )
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    modalities = dict(KEYS["modalities"])
    if objective == "none":
        modalities["text"] = modalities["text"] | {"encoder": None}
    settings = PretrainSettings.model_validate(
        KEYS | {"modalities": modalities, "objective": {"type": objective}}
    )
    values = torch.nn.functional.normalize(torch.ones(4, 3), dim=1)
    present = torch.ones(4, dtype=torch.bool)
    encoded = settings.modalities.encoders()
    local = Embeddings(
        dict.fromkeys(encoded, values), dict.fromkeys(encoded, present), {NAME: torch.ones(4, 2)}
    )
    targets = Targets(torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.bool), torch.tensor(8))
    cpu = torch.device("cpu")
    loss_of = BatchLoss(
        settings,
        {NAME: targets},
        {NAME: targets.num_known},
        [4],
        WorkerContext(UPath("run"), cpu),
        Meter(4, Stopwatch(cpu), StreamMeter()),
    )
    assert torch.isfinite(loss_of(local, torch.zeros(1)))
    assert len(exchanges) == num_exchanges
