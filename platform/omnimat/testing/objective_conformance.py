"""The rules that every objective must follow, as tests that a new objective's test inherits.

>>> class TestMyObjective(ObjectiveConformance):
...     objective = MyObjectiveSettings()
...     modalities = ("structure", "text")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from omnimat.base.errors import UserError
from omnimat.objectives.contrastive import GroupObjective, mean_over_groups
from omnimat.objectives.embeddings import Embeddings
from omnimat.testing.sent import sent

NUM_MATERIALS, DIM = 12, 5
# For sums of at most a few thousand float64 terms in another order.
EXACT = 1e-11
# For float32 rounding, amplified by a variance in some; bfloat16 would be off by about 1e-2.
SINGLE = 1e-4
# Logarithms of the inverse temperature; e^20 is 5e8, far beyond any useful value.
EXTREME_LOGIT_SCALES = (-20.0, 20.0)


class ObjectiveConformance:
    """Tests of an objective, which a subclass names.

    Attributes:
        objective: the objective that is tested.
        modalities: modalities with which it can be computed.
    """

    objective: ClassVar[GroupObjective]
    modalities: ClassVar[tuple[str, ...]]

    def test_is_an_objective_that_refuses_a_single_modality(self) -> None:
        """A wrong number of modalities is reported to the user before training starts."""
        groups = self.objective.groups(self.modalities)
        assert groups
        assert groups == self.objective.groups(self.modalities[::-1])
        for few in ((), self.modalities[:1]):
            reason = ""
            try:
                self.objective.groups(few)
            except UserError as error:
                reason = str(error)
            assert "objective" in reason

    def test_survives_pickling_and_json(self) -> None:
        """Workers and checkpoints get the same objective."""
        objective = self.objective
        assert sent(objective) == objective
        adapter = TypeAdapter(type(objective))
        assert adapter.validate_json(adapter.dump_json(objective)) == objective

    def test_masked_rows_have_zero_gradient_and_no_influence(self) -> None:
        """The values of a missing row have no influence and get no gradient."""
        leaves, present = self._leaves(), self._present()
        loss, *gradients = self._loss_and_gradients(leaves, present)
        for modality, gradient in zip(self.modalities, gradients, strict=False):
            missing = ~present[modality]
            assert bool(missing.any())
            assert not gradient[missing].any()
            assert bool(gradient[~missing].any())
        for modality in self.modalities:
            leaves[modality] = leaves[modality].detach().clone()
            leaves[modality][~present[modality]] = 100.0
            leaves[modality].requires_grad_()
        assert torch.equal(self._loss_and_gradients(leaves, present)[0], loss)

    def test_a_group_without_rows_is_zero_and_connected(self) -> None:
        """Without any rows the loss is zero, never NaN, and every worker still has a graph."""
        for num_valid in (0, 1):
            leaves, present = self._leaves(), self._present()
            for modality in self.modalities:
                present[modality] = torch.arange(self._num_rows()) < num_valid
            everyone = Embeddings(leaves, present)
            shares = self.objective(everyone, everyone, 0, _logit_scale())
            _, *gradients = self._loss_and_gradients(leaves, present)
            for share in shares.values():
                assert share.requires_grad
                assert bool(share.isfinite())
                assert num_valid or share.item() == 0.0
            assert all(bool(gradient.isfinite().all()) for gradient in gradients)
            assert num_valid or not any(bool(gradient.any()) for gradient in gradients)

    def test_blocks_change_nothing(self) -> None:
        """Blocks of any size give the same value and gradient as the whole matrix."""
        leaves, present = self._leaves(), self._present()
        whole = self._loss_and_gradients(leaves, present)
        for block_size in (1, 3, 8):
            blocked = self.objective.model_copy(update={"block_size": block_size})
            result = self._loss_and_gradients(leaves, present, objective=blocked)
            _assert_close(result, whole, EXACT)

    def test_shares_sum_to_one_process(self) -> None:
        """Workers with unequal shares and other rows missing equal one in value and gradient."""
        leaves, present = self._leaves(), self._present()
        for modality in self.modalities[1:]:
            present[modality][: self._num_rows() // 4] = False  # the first of five workers has none
        alone = self._loss_and_gradients(leaves, present)
        for num_workers in (2, 3, 5):
            together = self._loss_and_gradients(leaves, present, num_workers)
            _assert_close(together, alone, EXACT)

    def test_half_precision_embeddings_are_computed_in_single(self) -> None:
        """Under bfloat16 autocast, the loss of the rounded embeddings is computed in float32."""
        present = self._present()
        rounded = {m: leaf.detach().bfloat16() for m, leaf in self._leaves().items()}
        exact = {m: value.double().requires_grad_() for m, value in rounded.items()}
        everyone = Embeddings(rounded, present)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shares = self.objective(everyone, everyone, 0, _logit_scale().float())
            loss = mean_over_groups(shares)
        assert loss.dtype == torch.float32
        expected = self._loss_and_gradients(exact, present)[0]
        _assert_close(loss.double(), expected, SINGLE)

    def test_finite_at_extreme_temperatures(self) -> None:
        """No extreme temperature overflows, with or without blocks, even with equal rows."""
        present = self._present()
        random = {m: leaf.detach().float().requires_grad_() for m, leaf in self._leaves().items()}
        equal = {m: torch.full_like(v, DIM**-0.5).requires_grad_() for m, v in random.items()}
        for logit_scale in EXTREME_LOGIT_SCALES:
            for leaves in (random, equal):
                for block_size in (3, NUM_MATERIALS):
                    objective = self.objective.model_copy(update={"block_size": block_size})
                    scale = torch.tensor([logit_scale], requires_grad=True)
                    results = self._loss_and_gradients(leaves, present, 1, objective, scale)
                    assert all(bool(result.isfinite().all()) for result in results)

    def test_the_order_of_materials_does_not_matter(self) -> None:
        """Permuting the materials leaves the loss unchanged and permutes the gradients."""
        leaves, present = self._leaves(), self._present()
        loss, *gradients = self._loss_and_gradients(leaves, present)
        views = self.objective.num_views
        order = torch.randperm(NUM_MATERIALS, generator=torch.Generator().manual_seed(3))
        rows = (order[:, None] * views + torch.arange(views)).flatten()
        permuted = {m: leaf.detach()[rows].requires_grad_() for m, leaf in leaves.items()}
        shuffled = {m: mask[rows] for m, mask in present.items()}
        again, *moved = self._loss_and_gradients(permuted, shuffled)
        _assert_close(again, loss, EXACT)
        expected = [gradient[rows] for gradient in gradients[:-1]]
        _assert_close(moved[:-1], expected, EXACT)

    def test_inputs_are_left_alone(self) -> None:
        """Neither the forward nor the backward pass writes to the embeddings."""
        leaves, present = self._leaves(), self._present()
        blocked = self.objective.model_copy(update={"block_size": 3})
        self._loss_and_gradients(leaves, present, objective=blocked)
        torch.testing.assert_close(leaves, self._leaves(), rtol=0, atol=0)

    def _num_rows(self) -> int:
        return NUM_MATERIALS * self.objective.num_views

    def _leaves(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(7)
        heads = [self.objective.num_heads] if self.objective.num_heads > 1 else []
        shape = (len(self.modalities), self._num_rows(), *heads, DIM)
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        unit = functional.normalize(values, dim=-1)
        rows = zip(self.modalities, unit, strict=True)
        return {modality: row.clone().requires_grad_() for modality, row in rows}

    def _present(self) -> dict[str, Tensor]:
        """Return masks: each modality lacks other rows, and at least five materials have all."""
        absent = torch.arange(self._num_rows()) // self.objective.num_views
        return {m: absent % 7 != place + 1 for place, m in enumerate(self.modalities)}

    def _loss_and_gradients(
        self,
        leaves: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        num_workers: int = 1,
        objective: GroupObjective | None = None,
        logit_scale: Tensor | None = None,
    ) -> Sequence[Tensor]:
        """Return the loss summed over workers and its gradients: of the leaves, then the scale."""
        objective = objective or self.objective
        logit_scale = _logit_scale() if logit_scale is None else logit_scale
        everyone = Embeddings(leaves, present)
        views = self.objective.num_views
        cuts = [views * (NUM_MATERIALS * rank // num_workers) for rank in range(num_workers + 1)]
        shares = [
            mean_over_groups(objective(_rows(everyone, *part), everyone, part[0], logit_scale))
            for part in pairwise(cuts)
        ]
        loss = torch.stack(shares).sum()
        inputs = [*leaves.values(), logit_scale]
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        return [loss.detach(), *gradients]


def _rows(embeddings: Embeddings, first: int, end: int) -> Embeddings:
    rows = slice(first, end)
    return Embeddings(
        {modality: values[rows] for modality, values in embeddings.values.items()},
        {modality: mask[rows] for modality, mask in embeddings.present.items()},
    )


def _assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance / 10)


def _logit_scale() -> Tensor:
    return torch.tensor([1.3], dtype=torch.float64, requires_grad=True)
