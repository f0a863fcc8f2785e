"""The training loop of one trial, in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from omnimat.base.errors import RunError
from omnimat.finetune.codec import JointCodec, Learned
from omnimat.finetune.examples import EmbeddingInputs, Examples, apply_in_batches
from omnimat.finetune.heads.tokens import Tokens
from omnimat.finetune.model import PropertyModel, autocast
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial_settings import FROZEN, TrialSettings
from omnimat.nn.precision import fast_products
from omnimat.training.schedule import warmup_cosine

_LR_FRACTION = "lr_fraction"  # the key of a group of parameters


def validation_key(task: TaskSettings) -> str:
    """Give the key of a task's validation metric in a history."""
    return f"validation {task.name}"


@dataclass(slots=True)
class Fit:
    """The state of training.

    Attributes:
        tasks: what is predicted.
        settings: the settings of the trial.
        codec: maps targets to what is learned.
        model: the network, which is trained in place.
        train: what it learns from.
        validation: what decides which epoch is best.
        history: an entry for each epoch, with the keys ``epoch``, ``train_loss``,
            ``validation_error``, ``lr`` and each task's metric under its ``validation_key``. The
            validation error is the error of the task divided by that of guessing the training mean
            or the most frequent class, averaged over tasks: 0 is perfect, 1 is no better than
            guessing.
        best: the entry of the best epoch, the first of equal ones.
        learned: the training targets of each task as they are learned, on the device.
        guessed: the error of each task on the validation part if one guesses; 1 where that is 0,
            since there is nothing to compare with.
    """

    tasks: Sequence[TaskSettings]
    settings: TrialSettings
    codec: JointCodec
    model: PropertyModel
    train: Examples
    validation: Examples
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    learned: Sequence[Learned] = ()
    guessed: Sequence[float] = ()

    def run(self, report: Callable[[dict[str, float]], None]) -> None:
        """Train, and leave the weights of the best epoch in the model.

        Args:
            report: called with each new entry of the history.

        Raises:
            RunError: if training diverges.
        """
        network = self._trained_network()
        optimizer = torch.optim.AdamW(
            self._groups(network),
            lr=self.settings.lr,
            weight_decay=self.settings.weight_decay,
            fused=self._device.type == "cuda",
        )
        self.learned = [one.to(self._device) for one in self.codec.encode(self.train.targets)]
        self.guessed = self._guessed()
        best_state = _weights(network)
        for epoch in range(self.settings.num_epochs):
            self.history.append(self._epoch(network, optimizer, epoch))
            report(self.history[-1])
            if self._is_best(self.history[-1]):
                self.best, best_state = self.history[-1], _weights(network)
            elif self._is_out_of_patience():
                break
        network.load_state_dict(best_state)

    def _trained_network(self) -> nn.Module:
        """Give the part that learns; frozen encoders run once, before the head learns."""
        is_frozen = self.settings.variant in FROZEN
        prepared = self._embedded if is_frozen else _kept
        self.train, self.validation = prepared(self.train), prepared(self.validation)
        return self.model.head if is_frozen else self.model

    def _groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Give the parameters in groups, each with its fraction of the learning rate."""
        if self.settings.variant != "finetuned" or self.settings.encoder_lr_fraction == 1:
            return [{"params": list(network.parameters()), _LR_FRACTION: 1.0}]
        parts = ((self.model.encoder, self.settings.encoder_lr_fraction), (self.model.head, 1.0))
        return [{"params": list(part.parameters()), _LR_FRACTION: own} for part, own in parts]

    def _embedded(self, examples: Examples) -> Examples:
        parts = apply_in_batches(self.model.encoder, examples.inputs, len(examples), self.settings)
        tokens = Tokens(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return replace(examples, inputs=EmbeddingInputs(tokens))

    def _epoch(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int
    ) -> dict[str, float]:
        with fast_products(self.settings.precision == "fast_fp32"):
            train_loss, lr = self._learn(network, optimizer, epoch)
        return {
            "epoch": epoch + 1,
            "train_loss": self._finite(train_loss, epoch),
            "lr": lr,
            **self._validate(network, epoch),
        }

    def _learn(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int
    ) -> tuple[float, float]:
        """Learn for one epoch, and give the mean loss and the last learning rate."""
        generator = np.random.default_rng([self.settings.seed, epoch])
        num_batches = -(-len(self.train) // self.settings.batch_size)
        batches = np.array_split(generator.permutation(len(self.train)), num_batches)
        network.train()
        inputs = self.train.inputs.in_epoch(epoch).batches(batches)
        device = self._device
        in_precision = autocast(self.settings.precision, device)
        total = torch.zeros((), device=device)
        for index, (rows, batch) in enumerate(zip(batches, inputs, strict=True)):
            lr = self._set_lr(optimizer, epoch * num_batches + index, num_batches)
            with in_precision:
                outputs = network(batch).float()
            places = torch.from_numpy(rows).to(device, non_blocking=True)
            wanted = [one[places] for one in self.learned]
            loss = self.codec.losses(outputs, wanted, self.settings.regression_loss).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.settings.gradient_clip:
                nn.utils.clip_grad_norm_(network.parameters(), self.settings.gradient_clip)
            optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(self.train), lr

    def _set_lr(self, optimizer: torch.optim.Optimizer, step: int, num_batches: int) -> float:
        num_steps = self.settings.num_epochs * num_batches
        lr = self.settings.lr * warmup_cosine(
            step,
            num_steps=num_steps,
            warmup_steps=round(self.settings.warmup_fraction * num_steps),
            final_fraction=self.settings.final_lr_fraction,
        )
        for group in optimizer.param_groups:
            group["lr"] = lr * group[_LR_FRACTION]
        return lr

    def _validate(self, network: nn.Module, epoch: int) -> dict[str, float]:
        """Score each task, and give all of them one number."""
        parts = apply_in_batches(
            network, self.validation.inputs, len(self.validation), self.settings
        )
        outputs = torch.cat(parts).float()
        self._finite(float(outputs.sum()), epoch)
        predictions = self.codec.decode(outputs.cpu().numpy())
        scores, errors = {}, []
        tasks = zip(self.tasks, self.guessed, self.validation.targets, predictions, strict=True)
        for task, guessed, targets, predicted in tasks:
            kept = predicted[targets.is_known]
            if task.kind == "regression":  # a power of ten may overflow where its exponent does not
                self._finite(float(np.abs(kept).max()), epoch)
            scores[validation_key(task)] = task.scoring.function(targets.known, kept)
            errors.append(task.scoring.error(targets.known, kept) / guessed)
        return {"validation_error": fmean(errors), **scores}

    def _guessed(self) -> list[float]:
        """Give the error of guessing for each task."""
        each = zip(self.tasks, self.codec.codecs, self.validation.targets, strict=True)
        return [
            task.scoring.error(targets.known, codec.guess(len(targets.known))) or 1.0
            for task, codec, targets in each
        ]

    def _finite(self, value: float, epoch: int) -> float:
        if not np.isfinite(value):
            raise RunError(
                f"training diverged in epoch {epoch + 1}; "
                f"take {self.settings.lr:g} out of learning_rates"
            )
        return value

    def _is_best(self, entry: dict[str, float]) -> bool:
        return not self.best or entry["validation_error"] < self.best["validation_error"]

    def _is_out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.history) - self.best["epoch"] >= patience

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _weights(network: nn.Module) -> dict[str, Any]:
    """Copy what a network has learned so far."""
    state: dict[str, Any] = network.state_dict()
    state.update({name: value.clone() for name, value in state.items()})
    return state


def _kept(examples: Examples) -> Examples:
    return replace(examples, inputs=examples.inputs.kept())
