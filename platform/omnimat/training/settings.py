"""What a pretraining run is: model, objective, optimisation and how it is spread."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from omnimat.base.errors import UserError
from omnimat.base.precision import Precision
from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.modalities.choices import ModalityChoices
from omnimat.objectives.registry import AnyObjective
from omnimat.objectives.regression import RegressionSettings
from omnimat.stream.featurize_settings import located_modalities
from omnimat.stream.losses import DEFAULT_MAX_QUARANTINED, MaxQuarantined
from omnimat.stream.settings import ROLE_LABEL, StreamSettings
from omnimat.stream.training_records import training_records
from omnimat.training.held_out import HeldOuts
from omnimat.training.purposes import check_all_are_used, check_regressions


class TrainingSettings(Settings):
    """Optimisation and distribution; names follow Ray Train and DeepSpeed."""

    # A run may go on with other workers than it began with: it computes the same, up to the order
    # in which floats are added and to each worker's own dropout.
    of_the_machine: ClassVar[frozenset[str]] = frozenset(
        {
            "num_workers",
            "min_workers",
            "resize_interval_s",
            "label_selector",
            "resources_per_worker",
            "cpus_per_worker",
            "use_gpu",
            "threads_per_worker",
            "compile",
            "activation_checkpointing",
            "max_failures",
            "report_interval_steps",
            "checkpoint_interval_epochs",
            "checkpoint_interval_steps",
            "checkpoint_interval_minutes",
            "num_checkpoints_kept",
        }
    )

    num_workers: int = Field(default=1, ge=1)
    """Processes that train, each on its share of every batch; each has a GPU or runs on CPUs."""
    min_workers: int | None = Field(default=None, ge=1)
    """Go on with as few as these while the cluster has no more; None: wait for ``num_workers``.

    Any number of workers in between trains on the same batches: if a batch does not divide by it,
    some workers take one material more.
    """
    resize_interval_s: float = Field(default=60.0, gt=0)
    """How often a run with ``min_workers`` looks for room for more; with more it starts again from
    its newest checkpoint."""
    label_selector: Mapping[str, str] = {ROLE_LABEL: "trainer"}
    """Labels of the nodes where workers run; where none carries them, they run anywhere.

    With ``min_workers`` they count for nothing: Ray 2.60 sees how many workers there is room for by
    resources alone, and would wait for nodes of that label without end.
    """
    resources_per_worker: Mapping[str, float] = {}
    """Resources of one's own that nodes were given, which each worker takes besides CPU and GPU."""
    cpus_per_worker: float = Field(default=0.5, gt=0)
    """Logical CPUs that Ray sets aside for a worker."""
    use_gpu: bool | Literal["auto"] = "auto"
    """``auto``: where the cluster has a GPU for each worker."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Threads of torch in a worker."""
    max_failures: int = Field(default=2, ge=0)
    """How many failures of workers a run survives in its whole life."""

    num_epochs: int = Field(default=10, ge=1)
    """How often training goes through the training split."""
    global_batch_size: int = Field(default=64, ge=2)
    """Materials of a step, all workers together."""
    num_micro_batches: int = Field(default=1, ge=1)
    """Parts of a worker's share of the batch that are in memory with their graphs one at a time.

    The loss and its gradient stay those of the whole batch, for one more forward pass; only batch
    normalisation then spans a micro-batch of all workers, not the whole batch. A micro-batch holds
    the same materials for any number of workers.
    """
    max_edges_per_micro_batch: int | None = Field(default=None, ge=1)
    """Cut each batch by the edges of its crystal graphs instead, into as many micro-batches as it
    takes: none has more edges, all workers together, but for a material that alone has more.
    Workers have equal parts of them, up to one material. The cut follows from the batch alone, so a
    resumed run has the same.

    An atom counts for ``max_neighbors`` edges, and with lattice sums every ordered pair of atoms of
    a crystal counts for one more. Graphs have 4 to 16 % more, since several neighbours are
    often equally far away. The triplets of DimeNet++ are in proportion to the edges."""
    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Epochs in which the learning rate rises to its peak; half a cosine follows."""
    final_lr_fraction: float = Field(default=1e-3, ge=0, le=1)
    """The last learning rate as a fraction of the peak."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay of AdamW; biases, norms and the temperature have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """The betas of AdamW."""
    gradient_clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0 clips nothing."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """What DeepSpeed divides among workers: nothing (0), the state of the optimizer (1), gradients
    too (2), weights too (3). The result is the same up to rounding."""
    precision: Precision = "fp32"
    """bf16 is autocast over fp32 parameters: basis functions and the loss stay in fp32. A processor
    without instructions for it takes several times as long as in fp32, which a line then says.
    fast_fp32 keeps all numbers in fp32 and only multiplies matrices in bfloat16 or TF32."""
    compile: bool = False
    """Have torch compile the encoders whose arrays have a fixed shape (charge density, DOS, XRD,
    composition): after minutes at the start they take less time on a GPU. Graphs of crystals differ
    in size and are left as they are. The numbers are the same up to rounding."""
    activation_checkpointing: bool = False
    """Keep of each layer of the encoders only what goes in, and compute the rest again in the
    backward pass. A step takes about a third more time and less memory, which pays for deep and
    wide networks: half of it for PaiNN, three quarters for PotNet. The numbers are the same. Layers
    are the members of an encoder's ``nn.ModuleList``s."""
    seed: int = Field(default=0, ge=0)
    """Decides the initial weights, the order of training, augmentation and dropout."""

    report_interval_steps: int = Field(default=10, ge=1)
    """Steps between two reports of loss and speed."""
    checkpoint_interval_epochs: int | None = Field(default=5, ge=1)
    """A checkpoint is written after every so many epochs, steps and minutes, whichever are given,
    and at the end of the run."""
    checkpoint_interval_steps: int | None = Field(default=None, ge=1)
    """See ``checkpoint_interval_epochs``."""
    checkpoint_interval_minutes: float | None = Field(default=None, gt=0)
    """By the clock of rank 0, which is looked at when a report is due."""
    num_checkpoints_kept: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept."""

    @property
    def world_sizes(self) -> range:
        """Numbers of workers that the run may have."""
        return range(self.min_workers or self.num_workers, self.num_workers + 1)

    @property
    def is_elastic(self) -> bool:
        """Whether workers may come and go."""
        return len(self.world_sizes) > 1

    @property
    def on_gpu(self) -> bool:
        """Whether workers train on GPUs; not while it is left open."""
        return self.use_gpu is True

    @property
    def worker_labels(self) -> Mapping[str, str]:
        """Labels of the nodes where workers run."""
        return {} if self.is_elastic else self.label_selector

    @property
    def worker_resources(self) -> dict[str, float]:
        """What Ray sets aside for a worker."""
        own = {"CPU": self.cpus_per_worker, "GPU": float(self.on_gpu), **self.resources_per_worker}
        return {name: amount for name, amount in own.items() if amount}

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainingSettings:
        if self.warmup_epochs > self.num_epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs:g} is more than num_epochs {self.num_epochs}; "
                "the learning rate would never reach lr"
            )
        return self

    @model_validator(mode="after")
    def _can_be_compiled(self) -> TrainingSettings:
        if self.compile and self.zero_stage == 3:
            raise ValueError(
                "compile needs whole weights, which zero_stage 3 divides; set zero_stage to 2, or "
                "compile to false"
            )
        return self

    @model_validator(mode="after")
    def _workers_have_work(self) -> TrainingSettings:
        if not self.world_sizes:
            raise ValueError(
                f"min_workers {self.min_workers} is more than num_workers {self.num_workers}"
            )
        self.check_batch_is_enough_for(self.num_workers)
        return self

    @model_validator(mode="after")
    def _one_way_to_cut(self) -> TrainingSettings:
        if self.max_edges_per_micro_batch is not None and self.num_micro_batches > 1:
            raise ValueError(
                f"max_edges_per_micro_batch {self.max_edges_per_micro_batch} and num_micro_batches "
                f"{self.num_micro_batches} both say how a batch is cut; leave one of them out"
            )
        return self

    def check_batch_is_enough_for(self, num_workers: int) -> None:
        """Refuse a number of workers of which some would have no material in some micro-batch.

        Raises:
            UserError: the batch is too small.
        """
        fewest = num_workers * self.num_micro_batches
        if self.global_batch_size < fewest:
            raise UserError(
                f"global_batch_size {self.global_batch_size} is less than num_workers "
                f"{num_workers} x num_micro_batches {self.num_micro_batches}, so that some workers "
                f"would have nothing to do; set it to {fewest} or more, or take fewer workers"
            )


class PretrainSettings(Settings):
    """What a pretraining run learns from what, how, and on which machines.

    Attributes:
        embedding_dim: width of the embeddings of every modality.
        objective: what is made alike, and how.
    """

    # Whether a run ends early does not change what it computes.
    of_the_machine: ClassVar[frozenset[str]] = frozenset({"max_quarantined"})

    dataset: str
    """Name of an ingested data set."""
    held_out: HeldOuts = ()
    """What other data sets keep for judging."""
    modalities: ModalityChoices
    embedding_dim: int = Field(default=128, ge=1)
    objective: AnyObjective
    regression: tuple[RegressionSettings, ...] = ()
    """What is predicted beside or instead of the contrast; a modality that is only predicted has
    ``encoder: null``."""
    training: TrainingSettings = TrainingSettings()
    stream: StreamSettings = StreamSettings()
    max_quarantined: MaxQuarantined = DEFAULT_MAX_QUARANTINED
    """The largest share of the training records that may be quarantined; with more the run fails,
    and goes on from its newest checkpoint once this was raised."""

    @model_validator(mode="after")
    def _objective_fits(self) -> PretrainSettings:
        self.objective.groups(self.modalities.encoders())
        return self

    @model_validator(mode="after")
    def _regressions_fit(self) -> PretrainSettings:
        check_regressions(self.regression, self.modalities)
        check_all_are_used(self.objective, self.regression, self.modalities)
        return self

    @model_validator(mode="after")
    def _views_can_be_made(self) -> PretrainSettings:
        augmented = self.modalities.augmentations()
        same = [name for name in self.modalities.encoders() if name not in augmented]
        if self.objective.num_views > 1 and same:
            raise UserError(
                f"objective.type {self.objective.type!r} compares {self.objective.num_views} "
                f"random views of each modality: set modalities.{same[0]}.augmentation, or take "
                "a modality that has one"
            )
        if augmented and self.stream.read_from == "store":
            raise UserError(
                "stream.read_from: a store holds records as they are; set it to shards, or "
                f"remove modalities.{next(iter(augmented))}.augmentation"
            )
        return self

    @model_validator(mode="after")
    def _can_be_cut_by_edges(self) -> PretrainSettings:
        limit = self.training.max_edges_per_micro_batch
        if limit is not None and not self.num_edges(np.ones(1, np.int64)).any():
            raise UserError(
                f"training.max_edges_per_micro_batch is {limit}, but no modality of the run is a "
                "crystal graph; set num_micro_batches instead"
            )
        return self

    def num_edges(self, num_atoms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Say about how many edges crystals of so many atoms have in all modalities, shape (n,)."""
        featurizers = self.modalities.featurizers().values()
        counts = [featurizer.num_edges(num_atoms) for featurizer in featurizers]
        total: NDArray[np.int64] = np.sum([np.zeros_like(num_atoms), *counts], axis=0)
        return total

    def located(self, workspace: Workspace) -> Self:
        """Give the same settings holding the files they name, so that these count as settings.

        Raises:
            UserError: a file is not to be had.
        """
        modalities = located_modalities(self.modalities, self.dataset, workspace)
        training = functools.partial(training_records, workspace.dataset(self.dataset))
        featurizers = modalities.featurizers()
        regression = tuple(
            term.located(featurizers[term.target], training) for term in self.regression
        )
        return self.model_copy(update={"modalities": modalities, "regression": regression})


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a run's settings, as its files hold them, what decides the numbers.

    Defaults stay: this is for people to read.
    """
    rooms: dict[str, type[Settings]] = {"training": TrainingSettings, "stream": StreamSettings}
    kept = {k: value for k, value in settings.items() if k not in PretrainSettings.of_the_machine}
    for name, room in rooms.items():
        values = kept[name].items()
        kept[name] = {key: value for key, value in values if key not in room.of_the_machine}
    return kept
