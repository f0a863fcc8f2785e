"""Applies a packed model to all rows of an input on Ray Data, part by part; it can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import ray.data
from tqdm import tqdm

from omnimat.base.errors import RunError
from omnimat.base.lease import Fence
from omnimat.base.workspace import Workspace
from omnimat.cluster.metrics import RayMetrics
from omnimat.cluster.pace import paced
from omnimat.cluster.placement import on_labelled
from omnimat.prediction.answering import REPORT, Answer
from omnimat.prediction.featurizing import ERROR, Featurize, block_of, part_of
from omnimat.prediction.origin import remember_origin
from omnimat.prediction.parts import PARTS, PartReport, kept_parts, remove_leftovers
from omnimat.prediction.plan import Plan, make_plan
from omnimat.prediction.progress import Progress, write_result
from omnimat.prediction.rows import Part, parts_of
from omnimat.prediction.settings import AppliedSettings
from omnimat.stream.settings import FEATURIZER_NODES


def predict(
    name: str,
    settings: AppliedSettings,
    workspace: Workspace,
    fence: Fence,
    complete: Callable[[Plan, Progress], None] = lambda plan, progress: None,
) -> None:
    """Make a prediction in the folder that is held; killed and run again, this goes on.

    Args:
        name: name of the prediction.
        settings: what is asked, and of what.
        workspace: where data sets are.
        fence: the right to the folder.
        complete: makes what is made of all parts, before the result is written.

    Raises:
        UserError: model or input are missing, or not those with which the prediction was begun.
        RunError: more materials than ``max_quarantined`` allows are quarantined; what was made
            stays.
        LostError: another process has taken the folder over, and nothing was written since.
    """
    plan = make_plan(settings, workspace)
    remember_origin(fence.folder, plan.origin, plan.rows)
    parts = parts_of(plan.rows, settings.rows_per_part)
    progress = Progress(fence.folder, parts)
    for number, report in kept_parts(fence.folder, parts).items():
        progress.add(number, report)
    if progress.reports:
        print(f"{name}: {len(progress.reports)} of {len(parts)} parts are there", flush=True)
    num_before, started_s = progress.num_done, time.perf_counter()
    _follow(name, progress, settings, _answered(progress.missing, plan, settings, fence))
    num_per_s = (progress.num_done - num_before) / (time.perf_counter() - started_s)
    fence.check()
    quarantined = progress.write_quarantined()
    progress.losses.check(settings.max_quarantined)
    fence.check()
    remove_leftovers(fence.folder)
    complete(plan, progress)
    write_result(progress, settings, plan.origin, quarantined, fence.check)
    print(summary(name, progress, num_per_s), flush=True)


def summary(name: str, progress: Progress, num_per_s: float) -> str:
    """Say in a line what was made, how fast, and what was lost."""
    total_s = progress.seconds.total() or 1.0
    shares = ", ".join(f"{stage} {s / total_s:.0%}" for stage, s in progress.seconds.items())
    num_rows = progress.num_done - progress.num_quarantined
    return (
        f"{name}: {num_rows:,} rows in {len(progress.parts):,} parts under "
        f"{progress.folder / PARTS}, {num_per_s:,.0f} rows/s ({shares}), "
        f"{progress.num_quarantined:,} quarantined"
    )


def _follow(
    name: str,
    progress: Progress,
    settings: AppliedSettings,
    reports: Iterator[tuple[int, PartReport]],
) -> None:
    """Note what becomes of the missing parts, and end early if too much is lost."""
    bar = tqdm(total=progress.num_rows, initial=progress.num_done, desc=name, unit="row")
    with bar, RayMetrics(name) as watch:
        for number, report in reports:
            progress.add(number, report)
            bar.total = progress.num_rows
            bar.update(report.num_rows)
            watch(
                {
                    "featurized_records": progress.num_done,
                    "records_to_featurize": progress.num_rows,
                    "quarantined_records": progress.num_quarantined,
                }
            )
            if progress.num_quarantined > settings.max_quarantined * progress.num_rows:
                return


def _answered(
    parts: Sequence[Part], plan: Plan, settings: AppliedSettings, fence: Fence
) -> Iterator[tuple[int, PartReport]]:
    """Have parts made on two pools of actors, and give the report of each as it is there.

    Raises:
        RunError: the error with which an actor explains itself.
    """
    if not parts:
        return
    features = ray.data.from_blocks([block_of(part) for part in parts]).map_batches(
        Featurize,
        fn_constructor_args=(
            plan.rows,
            plan.featurizers,
            settings.item_limits,
            fence,
            settings.wanted,
        ),
        batch_size=None,  # a part
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=settings.num_featurizer_actors),
        num_cpus=settings.featurizer_num_cpus,
        label_selector=on_labelled(FEATURIZER_NODES),
    )
    resources = settings.model_resources
    written = features.map_batches(
        Answer,
        fn_constructor_args=(plan.package.held(), settings, fence),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=settings.num_models),
        num_cpus=resources["CPU"],
        num_gpus=resources.get("GPU"),
    )
    written.context.enable_progress_bars = False  # ours counts rows
    for block in paced(written).iter_batches(batch_size=None, batch_format="pyarrow"):
        if error := block[ERROR][0].as_py():
            raise RunError(error)
        report = PartReport.model_validate_json(block[REPORT][0].as_py())
        yield part_of(block).number, report
