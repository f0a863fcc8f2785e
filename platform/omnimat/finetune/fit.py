"""The training loop of one trial, in plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.encoders.fusion import Tokens
from omnimat.finetune.examples import EmbeddingInputs, Examples, apply_in_batches
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.settings import TrialSettings
from omnimat.finetune.tasks import ClassIndex, TargetCodec, TaskSettings
from omnimat.materials.errors import RunError
from omnimat.training.schedule import warmup_cosine


@dataclass(slots=True)
class Fit:
    """The state of training.

    Attributes:
        task: what is predicted.
        settings: of the trial.
        codec: maps targets to what is learned.
        model: trained in place.
        train: learned from.
        validation: decides which epoch is best.
        history: one entry an epoch.
        best: the entry of the best epoch; of equal ones the first.
    """

    task: TaskSettings
    settings: TrialSettings
    codec: TargetCodec
    model: PropertyModel
    train: Examples
    validation: Examples
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    def run(self, report: Callable[[dict[str, float]], None]) -> None:
        """Train to the last epoch, and leave the best epoch's weights in the model.

        Args:
            report: called with each entry of the history.

        Raises:
            RunError: if training diverges.
        """
        network = self._trained_network()
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        best_state = copy.deepcopy(network.state_dict())
        for epoch in range(self.settings.num_epochs):
            self.history.append(self._epoch(network, optimizer, epoch))
            report(self.history[-1])
            if self._is_best(self.history[-1]):
                self.best, best_state = self.history[-1], copy.deepcopy(network.state_dict())
            elif self._is_out_of_patience():
                break
        network.load_state_dict(best_state)

    def _trained_network(self) -> nn.Module:
        """Give the part that learns; frozen encoders run once, and the head on what they gave."""
        if self.settings.variant != "frozen":
            return self.model
        self.train = self._embedded(self.train)
        self.validation = self._embedded(self.validation)
        return self.model.head

    def _embedded(self, examples: Examples) -> Examples:
        parts = apply_in_batches(
            self.model.encoder, examples.inputs, len(examples), self.settings.batch_size
        )
        tokens = Tokens(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return replace(examples, inputs=EmbeddingInputs(tokens))

    def _epoch(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int
    ) -> dict[str, float]:
        generator = np.random.default_rng([self.settings.seed, epoch])
        num_batches = -(-len(self.train) // self.settings.batch_size)
        batches = np.array_split(generator.permutation(len(self.train)), num_batches)
        targets = torch.from_numpy(self.codec.encode(self.train.targets)).to(self._device)
        network.train()
        total = torch.zeros((), device=self._device)
        for index, rows in enumerate(batches):
            lr = self._set_lr(optimizer, epoch * num_batches + index, num_batches)
            loss = self._loss(network(self.train.inputs.batch(rows)), targets[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        return {
            "epoch": epoch + 1,
            "train_loss": self._finite(float(total) / len(self.train), epoch),
            "validation_metric": self._validate(network, epoch),
            "lr": lr,
        }

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.codec, ClassIndex):
            return F.cross_entropy(outputs, targets)
        return F.mse_loss(outputs, targets)

    def _set_lr(self, optimizer: torch.optim.Optimizer, step: int, num_batches: int) -> float:
        num_steps = self.settings.num_epochs * num_batches
        lr = self.settings.lr * warmup_cosine(
            step,
            num_steps=num_steps,
            warmup_steps=round(self.settings.warmup_fraction * num_steps),
            final_fraction=self.settings.final_lr_fraction,
        )
        for group in optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _validate(self, network: nn.Module, epoch: int) -> float:
        parts = apply_in_batches(
            network, self.validation.inputs, len(self.validation), self.settings.batch_size
        )
        outputs = torch.cat(parts)
        self._finite(float(outputs.sum()), epoch)
        predictions = self.codec.decode(outputs.cpu().numpy())
        if self.task.kind == "regression":  # a power of ten may overflow where its exponent did not
            self._finite(float(np.abs(predictions).max()), epoch)
        return self.task.metric.function(self.validation.targets, predictions)

    def _finite(self, value: float, epoch: int) -> float:
        if not np.isfinite(value):
            raise RunError(
                f"training diverged in epoch {epoch + 1}; "
                f"take {self.settings.lr:g} out of learning_rates"
            )
        return value

    def _is_best(self, entry: dict[str, float]) -> bool:
        if not self.best:
            return True
        sign = 1 if self.task.metric.higher_is_better else -1
        return sign * entry["validation_metric"] > sign * self.best["validation_metric"]

    def _is_out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.history) - self.best["epoch"] >= patience

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
