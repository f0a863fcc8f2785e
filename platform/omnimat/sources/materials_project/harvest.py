"""The harvest: list the materials once, then fetch what is missing of each collection."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm
from upath import UPath

from omnimat.sources.base import Run
from omnimat.sources.materials_project.catalogue import (
    CALCULATIONS,
    ELASTICITY,
    ELECTRONIC_STRUCTURE,
    STATIC_CALCULATIONS,
    SUMMARY,
    TEXT,
    Collection,
    batches_of,
    canonical_id,
    dos_key,
)
from omnimat.sources.materials_project.fetch import (
    CHARGE_DENSITY,
    DOS,
    fetch_charge_densities,
    fetch_collection,
    fetch_dos,
)
from omnimat.sources.materials_project.listing import list_materials
from omnimat.sources.materials_project.open_data import OpenData
from omnimat.sources.materials_project.parts import Document
from omnimat.sources.materials_project.rest import IDS_PER_REQUEST, Rest
from omnimat.sources.materials_project.settings import Request
from omnimat.sources.materials_project.snapshot import Snapshot

_ORDER = "calculation_order"
_ORDERS_PER_REQUEST = 50  # of some five calculations each
_DOS_PER_TASK = 256
_CHARGE_DENSITIES_PER_TASK = 32

Reasons = dict[str, str]


class Harvest:
    """One harvest, which goes on from where it was stopped."""

    def __init__(self, request: Request, directory: UPath, run: Run, report_progress: bool) -> None:
        self._request = request
        self._directory = directory
        self._snapshot = Snapshot(directory)
        self._run = run
        self._open_data = OpenData.from_environment()
        self._progress = functools.partial(tqdm, disable=not report_progress)

    @functools.cached_property
    def _rest(self) -> Rest:
        return Rest(self._request.access.patience)

    def run(self) -> UPath:
        """Fetch what is missing and give the path of the index.

        Raises:
            UserError: there is no key, the key is refused, or no material meets the filters.
            RunError: the Materials Project does not answer at all.
        """
        self._snapshot.remove_temporaries()
        try:
            return self._run_to_index()
        finally:
            if "_rest" in vars(self):
                self._rest.close()

    def _run_to_index(self) -> UPath:
        if not self._snapshot.is_listed:
            listing = list_materials(self._request, self._open_data, self._rest)
            self._snapshot.save_listing(listing)
        modalities = set(self._request.modalities)
        reasons = {SUMMARY.name: self._documents(SUMMARY)}
        for collection in (TEXT, ELASTICITY):
            if collection.name in modalities:
                reasons[collection.name] = self._documents(collection)
        if DOS in modalities:
            reasons[DOS] = self._dos(self._reasons_of(ELECTRONIC_STRUCTURE))
        if CHARGE_DENSITY in modalities:
            reasons[CHARGE_DENSITY] = self._charge_densities(self._reasons_of(CALCULATIONS))
        for name, failed in reasons.items():
            if failed:
                first = next(iter(failed.values()))
                tqdm.write(f"{name}: {len(failed)} could not be had, the first since {first}")
        return self._snapshot.write_index(reasons)

    def _reasons_of(self, collection: Collection) -> Reasons:
        """Fetch the collection that says where to find another modality."""
        failed = self._documents(collection)
        return {i: f"{collection.name}: {reason}" for i, reason in failed.items()}

    def _pending(self, name: str) -> list[str]:
        settled = self._snapshot.settled(name)
        return [i for i in self._snapshot.listing().material_ids if i not in settled]

    def _documents(self, collection: Collection) -> Reasons:
        """Fetch a collection: from its table if all of it is wanted, and by REST if not."""
        pending = self._pending(collection.name)
        if pending and self._request.is_whole:
            call = (self._directory, self._open_data, self._request.access.patience, collection)
            name, num_pending = f"{collection.name} from its table", len(pending)
            with self._progress(total=num_pending, desc=name) as progress:
                ((_, reason),) = self._run(fetch_collection, {collection.name: call})
                pending = self._pending(collection.name)
                progress.update(num_pending - len(pending))
            if reason is not None:
                tqdm.write(f"{reason}: {collection.name} by REST")
        return self._by_rest(
            collection.name,
            pending,
            lambda ids: self._rest.documents(collection, ids),
            IDS_PER_REQUEST,
        )

    def _by_rest(
        self,
        name: str,
        pending: Sequence[str],
        get: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]],
        num_ids: int,
    ) -> Reasons:
        """Fetch and store documents in batches, in a few threads."""
        if not pending:
            return {}
        rest = self._rest

        def store(batch: Sequence[str]) -> Reasons:
            found, failed = rest.patient.by_halves(batch, get)
            documents: dict[str, Document | None] = dict.fromkeys(set(batch) - failed.keys())
            for i in documents.keys() & found.keys():
                documents[i] = Document(found[i], database_version=rest.database_version)
            self._snapshot.add(name, documents)
            return failed

        reasons: Reasons = {}
        batches = batches_of(pending, num_ids)
        pool = ThreadPoolExecutor(self._request.access.max_parallel_requests)
        try:
            with self._progress(total=len(pending), desc=name) as progress:
                for batch, failed in zip(batches, pool.map(store, batches), strict=True):
                    reasons |= failed
                    progress.update(len(batch))
        except BaseException:  # an interrupt as well: nobody should wait for patience to end
            rest.patient.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return reasons

    def _dos(self, reasons_before: Reasons) -> Reasons:
        pending = self._pending(DOS)
        documents = self._snapshot.documents(ELECTRONIC_STRUCTURE.name, pending)
        task_of = {i: task for i, d in documents if (task := d.values.get("dos.task_id"))}
        reasons = self._settle(DOS, pending, task_of, reasons_before)
        in_table_order = sorted(task_of, key=lambda i: dos_key(task_of[i]))
        calls = [
            ({i: task_of[i] for i in batch},) for batch in batches_of(in_table_order, _DOS_PER_TASK)
        ]
        return reasons | self._in_tasks(DOS, fetch_dos, calls)

    def _charge_densities(self, reasons_before: Reasons) -> Reasons:
        pending = self._pending(CHARGE_DENSITY)
        tasks_of = self._static_calculations(pending)
        reasons = self._settle(CHARGE_DENSITY, pending, tasks_of, reasons_before)
        several = [i for i in self._pending(_ORDER) if len(tasks_of.get(i, ())) > 1]

        def get(ids: Sequence[str]) -> dict[str, dict[str, Any]]:
            times = self._rest.last_updated([task for i in ids for task in tasks_of[i]])
            return {i: {"task_ids": _newest_first(tasks_of[i], times)} for i in ids}

        for i, reason in self._by_rest(_ORDER, several, get, _ORDERS_PER_REQUEST).items():
            reasons[i] = f"calculations: {reason}"
        for i, document in self._snapshot.documents(_ORDER, tasks_of):
            tasks_of[i] = document.values["task_ids"]
        wanted = [i for i in tasks_of if i not in reasons]
        calls = [
            ({i: tasks_of[i] for i in batch}, self._request.charge_density_points)
            for batch in batches_of(wanted, _CHARGE_DENSITIES_PER_TASK)
        ]
        return reasons | self._in_tasks(CHARGE_DENSITY, fetch_charge_densities, calls)

    def _static_calculations(self, pending: Sequence[str]) -> dict[str, list[str]]:
        """Give the calculations that may hold a charge density, by material."""
        without = {
            i
            for i, document in self._snapshot.documents(SUMMARY.name, pending)
            if (document.values.get("has_props") or {}).get(CHARGE_DENSITY) is False
        }
        calculations = self._snapshot.documents(CALCULATIONS.name, set(pending) - without)
        tasks_of = {
            i: [
                canonical_id(task)
                for task, kind in (document.values.get("calc_types") or {}).items()
                if kind in STATIC_CALCULATIONS
            ]
            for i, document in calculations
        }
        return {i: tasks for i, tasks in tasks_of.items() if tasks}

    def _settle(
        self, name: str, pending: Sequence[str], known: Iterable[str], reasons_before: Reasons
    ) -> Reasons:
        """Note which materials have no such document; say why that is not known of some."""
        reasons = {i: reasons_before[i] for i in pending if i in reasons_before}
        none = set(pending) - set(known) - set(reasons)
        if none:
            self._snapshot.add(name, dict.fromkeys(i for i in pending if i in none))
        return reasons

    def _in_tasks(
        self,
        name: str,
        function: Callable[..., Reasons],
        calls: Sequence[tuple[Mapping[str, Any], *tuple[Any, ...]]],
    ) -> Reasons:
        access = (self._directory, self._open_data, self._request.access.patience)
        numbered = dict(enumerate((*access, *call) for call in calls))
        reasons: Reasons = {}
        if not calls:
            return reasons
        with self._progress(total=sum(len(call[0]) for call in calls), desc=name) as progress:
            for number, failed in self._run(function, numbered):
                reasons |= failed
                progress.update(len(calls[number][0]))
                if name == CHARGE_DENSITY:  # not in the task, which may outlive a killed run
                    self._snapshot.merge(name, [i for i in calls[number][0] if i not in failed])
        return reasons


def _newest_first(task_ids: Sequence[str], last_updated: Mapping[str, str]) -> list[str]:
    """Order calculations by when they were last updated; among equals the higher id is first."""
    return sorted(task_ids, key=lambda task: (last_updated.get(task, ""), task), reverse=True)
