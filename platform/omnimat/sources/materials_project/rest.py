"""The Materials Project's REST routes through mp-api, for a batch of ids at a time."""

from __future__ import annotations

import functools
import json
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omnimat.base.errors import RunError, UserError
from omnimat.sources.materials_project.catalogue import (
    CALCULATIONS,
    ELASTICITY,
    ELECTRONIC_STRUCTURE,
    SUMMARY,
    TEXT,
    Collection,
    canonical_id,
)
from omnimat.sources.materials_project.patience import (
    Patience,
    Patient,
    Refused,
    TooMuch,
    Unavailable,
)

API_KEY_VARIABLE = "MP_API_KEY"
# The URL of a batch stays below 8 kB, which web servers commonly accept.
IDS_PER_REQUEST = 500
PAGE_SIZE = 1000
_KEY_LENGTH = 32
_TIMEOUT_S = 60
_MAX_REASON_LENGTH = 300
_STATUS = re.compile(r"error status code (\d{3})|too many (\d{3}) error responses")


def api_key() -> str:
    """Read the key of the API.

    Raises:
        UserError: it is not set, or it cannot be a key.
    """
    key = os.environ.get(API_KEY_VARIABLE, "")
    if len(key) != _KEY_LENGTH:
        raise UserError(
            f"{API_KEY_VARIABLE} {'is not set' if not key else 'does not hold 32 characters'}: "
            "set it to your key from https://next-gen.materialsproject.org/api"
        )
    return key


class Rest:
    """The routes, asked patiently.

    Attributes:
        database_version: the version of the database when the service was first asked.
        patient: the one who asks.
    """

    def __init__(self, patience: Patience) -> None:
        """Connect with the key and to the endpoint that the environment names.

        Raises:
            UserError: there is no key.
            RunError: the service does not answer.
        """
        from mp_api.client import MPRester
        from mp_api.client.core.utils import validate_endpoint

        key = api_key()
        self._endpoint = validate_endpoint(os.environ.get("MP_API_ENDPOINT"))
        self.patient = Patient("the Materials Project", patience, self._is_alive)
        self.database_version = self.patient.call(self._heartbeat)
        with warnings.catch_warnings():
            # It warns of versions that may not fit; if they do not, the routes say so.
            warnings.simplefilter("ignore")
            rester = self.patient.call(
                functools.partial(
                    _translated,
                    MPRester,
                    key,
                    endpoint=self._endpoint,
                    use_document_model=False,
                    mute_progress_bars=True,
                )
            )
        self._session = rester.session
        routes = rester.materials
        self._summary = routes.summary
        self._tasks = routes.tasks
        # Looked up once, since threads share them.
        self._search: Mapping[str, Callable[..., Any]] = {
            SUMMARY.name: routes.summary.search,
            TEXT.name: routes.robocrys.search_docs,
            ELASTICITY.name: routes.elasticity.search,
            ELECTRONIC_STRUCTURE.name: routes.electronic_structure.search,
            CALCULATIONS.name: routes.search,
        }

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def summary_page(self, criteria: Mapping[str, Any], page: int) -> list[str]:
        """Give one page, counted from 1, of the ids of materials that meet mp-api's criteria."""
        documents = self._ask(
            self._summary.search,
            **criteria,
            fields=["material_id"],
            chunk_size=PAGE_SIZE,
            num_chunks=1,
            _page=page,
            _sort_fields="material_id",
        )
        return [canonical_id(document["material_id"]) for document in documents]

    def summary_ids(self, criteria: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
        """Give those of ``ids`` that meet mp-api's criteria."""
        documents = self._ask(
            self._summary.search, **criteria, material_ids=list(ids), fields=["material_id"]
        )
        return [canonical_id(document["material_id"]) for document in documents]

    def documents(self, collection: Collection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Give the documents that some materials have by id, each flat.

        Raises:
            Refused: the service will not give them.
            Unavailable: it should be tried again.
        """
        search = self._search[collection.name]
        documents = _translated(search, material_ids=list(ids), fields=collection.rest_fields)
        return {
            canonical_id(document["material_id"]): collection.flat(document)
            for document in documents
        }

    def last_updated(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Give by canonical id when calculations were last updated, as text that sorts.

        Raises:
            Refused: the service will not give them.
            Unavailable: it should be tried again.
        """
        fields = ["task_id", "last_updated"]
        documents = _translated(
            self._tasks.search, task_ids=list(task_ids), fields=fields, chunk_size=100
        )
        return {canonical_id(doc["task_id"]): _instant(doc["last_updated"]) for doc in documents}

    def gives_non_commercial(self) -> bool:
        """Say whether the key's owner has accepted the terms of the GNoME data."""
        return bool(self._ask(self._summary.count, {"batch_id": "gnome_r2scan_statics"}))

    def _ask(self, function: Callable[..., Any], *args: Any, **values: Any) -> Any:
        """Ask for what the harvest cannot do without."""
        try:
            return self.patient.call(lambda: _translated(function, *args, **values))
        except (Refused, Unavailable) as error:
            raise RunError(
                f"the Materials Project's summary route gives nothing ({error}); "
                "run the job again later to go on"
            ) from error

    def _heartbeat(self) -> str:
        """Give the version of the database; mp-api's own heartbeat has no timeout."""
        import requests

        try:
            response = requests.get(f"{self._endpoint}heartbeat", timeout=_TIMEOUT_S)
            response.raise_for_status()
            return str(response.json()["db_version"])
        except (requests.RequestException, KeyError) as error:
            raise Unavailable(_short(error)) from error

    def _is_alive(self) -> bool:
        try:
            self._heartbeat()
        except Unavailable:
            return False
        return True


def _translated(function: Callable[..., Any], *args: Any, **values: Any) -> Any:
    """Call something of mp-api, and translate what a failure of it means."""
    from mp_api.client.core.exceptions import MPRestError
    from requests.exceptions import RequestException

    try:
        return function(*args, **values)
    except MPRestError as error:
        status = _STATUS.search(str(error))
        if status is None:
            if "does not support the request" in str(error):
                raise Refused("HTTP 400") from error
            kind = TooMuch if "timed out" in str(error) else Unavailable
            raise kind(_short(error)) from error
        raise _of_status(int(status[1] or status[2])) from error
    except (RequestException, json.JSONDecodeError) as error:
        raise Unavailable(_short(error)) from error


def _instant(value: Any) -> str:
    """Give a time as text; the routes write it plainly, or as MongoDB does."""
    return str(value["$date"] if isinstance(value, Mapping) else value)


def _of_status(status: int) -> Exception:
    if status in {401, 403}:
        return UserError(
            f"{API_KEY_VARIABLE}: the Materials Project refuses it (HTTP {status}); check the key, "
            "and whether this address is blocked"
        )
    if status in {429, 503}:
        return Unavailable(f"HTTP {status}")
    if status == 408 or status >= 500:
        return TooMuch(f"HTTP {status}")
    return Refused(f"HTTP {status}")


def _short(error: Exception) -> str:
    """Say what went wrong, without the ids that a URL contains."""
    text = re.sub(r"\?\S+", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:_MAX_REASON_LENGTH]
