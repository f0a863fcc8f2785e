"""The command that makes a model of one's own out of a packed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.cli.data import Asked, checked_name, ingested, looked, of_materials
from omnimat.cli.terminal import say

if TYPE_CHECKING:
    from omnimat.base.workspace import Workspace
    from omnimat.finetune.tasks import Transform
    from omnimat.job.drafts.finetune import Target
    from omnimat.job.drafts.holdings import Holdings
    from omnimat.job.drafts.look import LabelsLook, Look
    from omnimat.materials.values import LabelKind
    from omnimat.sources.tables.told import Labelled

_EXAMPLES = """\b
Examples:
  omnimat finetune model.zip crystals/ --labels measured.csv --target hardness_gpa
  omnimat finetune model.zip oxides.csv --target 'Band gap (eV)' --log10
  omnimat finetune model.zip mp20 --target band_gap_ev --set trial.num_epochs=5
"""


@click.command(epilog=_EXAMPLES)
@click.argument("model")
@click.argument("data")
@click.option("--target", metavar="LABEL", required=True, help="Label or column to predict.")
@click.option("--unit", metavar="UNIT", default="", help="Unit of LABEL, where its name has none.")
@click.option("--log10", is_flag=True, help="Learn the logarithm, so that ratios count.")
@of_materials
@click.option(
    "--folds",
    "num_folds",
    type=click.IntRange(0, 100),
    metavar="N",
    show_default="5 for fewer than 500 labels, else 0",
    help="Folds, made of formulas, that measure the error; 0 leaves it to the test split.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one key of the job, as in trial.num_epochs=5; may be given several times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    show_default="the name of the run",
    help="Folder to write, or a zip where the name ends in .zip.",
)
def finetune(
    model: str,
    data: str,
    target: str,
    unit: str,
    log10: bool,
    num_folds: int | None,
    overrides: tuple[str, ...],
    out: Path | None,
    **of_data: Any,
) -> None:
    """Tune the packed MODEL to the labels of DATA, and pack what comes out.

    DATA is a folder, a pattern or a file of crystals with --labels FILE, a table of materials and
    labels, or the name of a data set of the storage. Files are ingested as by `omnimat ingest`.
    This says what it chose and why, and keeps the job files that it runs. It asks nothing.
    """
    from omnimat.base.workspace import Workspace
    from omnimat.inference.build import package
    from omnimat.inference.package import check_free
    from omnimat.inference.start import opened
    from omnimat.job.run import run

    if num_folds == 1:
        raise UserError("--folds: one fold would leave nothing to train on; give 0, or 2 or more")
    modalities = tuple(opened(model).card.encoders)
    workspace = Workspace.open()
    asked = Asked(data, **of_data)
    found = _found(asked, workspace, target, unit, log10=log10)
    name = checked_name(found.target.run(asked.name or found.dataset))
    out = out or Path(name)
    check_free(out)
    held = _held(asked, workspace, found)
    files = _drafted(held, (model, modalities), found, name, num_folds, overrides)
    run(Path(files[-1]))
    package(name, workspace, out)
    _say_worth(Path(files[0]).stem, workspace, out)


@dataclass(frozen=True, slots=True)
class _Found:
    """The data that a user points to.

    Attributes:
        dataset: name of the data set.
        target: what is predicted; of a data set that is there, as far as the user says it.
        looks: what its files hold; None where it is a data set already.
    """

    dataset: str
    target: Target
    looks: tuple[Look, LabelsLook | None] | None = None

    @property
    def needs(self) -> list[str]:
        """The job file of the data set, if this command wrote it."""
        return [] if self.looks is None else [f"{self.dataset}.yaml"]


def _found(asked: Asked, workspace: Workspace, label: str, unit: str, *, log10: bool) -> _Found:
    """Look at the data, before anything is made of it."""
    from omnimat.job.drafts.finetune import Target
    from omnimat.job.drafts.holdings import known_holdings
    from omnimat.job.drafts.look import default_name
    from omnimat.shards.manifest import MANIFEST_NAME

    transform: Transform = "log10" if log10 else "none"
    if Path(asked.path).exists() or not (workspace.dataset(asked.path) / MANIFEST_NAME).exists():
        looks = looked(asked)
        chosen = _chosen(label, looks)
        _check_kind(chosen.name, chosen.kind, unit, log10=log10)
        target = Target(chosen.name, _unit(chosen.name, chosen.unit, unit), transform)
        return _Found(checked_name(asked.name or default_name(asked.path)), target, looks)
    if asked.labels is not None:
        raise UserError(
            f"--labels: {asked.path} is a data set already; ingest its files with these labels"
        )
    held = known_holdings(workspace, asked.path)
    _check_kind(label, held.kinds.get(label), unit, log10=log10)
    told = _unit(label, held.units.get(label, ""), unit)
    return _Found(asked.path, Target(label, told, transform))


def _held(asked: Asked, workspace: Workspace, found: _Found) -> Holdings:
    """Give what the data set holds, once it is there, and insist that it holds the target."""
    from omnimat.job.drafts.finetune import chosen_target
    from omnimat.job.drafts.holdings import holdings

    if found.looks is None:
        held = holdings(workspace, found.dataset)
    else:
        held = ingested(asked, found.looks)
    chosen_target(held, found.target.name)
    return held


def _check_kind(name: str, kind: LabelKind | None, unit: str, *, log10: bool) -> None:
    """Refuse what only a number has."""
    if kind == "class" and (log10 or unit):
        option, what = ("--log10", "logarithm") if log10 else ("--unit", "unit")
        raise UserError(f"{option}: {name} is a class, which has no {what}; leave {option} out")


def _unit(name: str, known: str, told: str) -> str:
    if known and told and known != told:
        raise UserError(f"--unit: {name} is in {known}, and not in {told}; leave --unit out")
    return known or told


def _chosen(label: str, looks: tuple[Look, LabelsLook | None]) -> Labelled:
    """Find a label by its name or by that of its column."""
    look, labels = looks
    in_table = () if look.table is None else look.table.labels
    known = in_table if labels is None else (*labels.labels, *in_table)
    for one in known:
        if label in {one.name, one.column}:
            return one
    names = [one.name for one in known]
    raise UserError(
        f"--target: there is no label {label!r}{suggestion(label, names)}"
        if names
        else "--target: no column of labels was found; give a table of them with --labels FILE"
    )


def _drafted(
    held: Holdings,
    model: tuple[str, tuple[str, ...]],
    found: _Found,
    name: str,
    num_folds: int | None,
    overrides: tuple[str, ...],
) -> list[str]:
    """Write the job files, and say what they say and why."""
    from omnimat.job.drafts.files import tuning_jobs
    from omnimat.job.drafts.finetune import Start
    from omnimat.job.drafts.text import check_free, write_job_file
    from omnimat.job.drafts.tuning import Labels, tuned

    target = found.target
    counts = held.properties[target.name]
    labels = Labels(sum(counts.values()), counts["train"], held.kinds[target.name])
    tuning = tuned(labels, num_folds)
    start = Start.of_model(*model, held)
    files = tuning_jobs(held, start, target, tuning, found.needs, name, overrides)
    for file, text in files.items():
        check_free(Path(file), text, "take another --name, or remove it")
    say(f"{target.name}: {labels.num_known} labels, {labels.num_train} of them for training")
    say("\n".join(f"  {reason}" for reason in tuning.reasons))
    for file, text in files.items():
        write_job_file(Path(file), text)
        say(f"wrote {file}")
    return list(files)


def _say_worth(name: str, workspace: Workspace, out: Path) -> None:
    """Say what the model is worth, where it lies, and what to do with it."""
    from omnimat.finetune.worth import worth

    for one in worth(name, workspace):
        say(
            f"{one.sentence}; the model lies in {out}; next: "
            f"omnimat predict {out} 'candidates/*.cif' -o table.csv"
        )
