"""The Materials Project's public buckets: objects and Delta tables, without a key.

They are not read through mp-api, whose reader calls every refusal "No object found".
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.sources.materials_project.catalogue import PARSED_BUCKET
from omnimat.sources.materials_project.patience import Missing, Refused, Unavailable

_REGION = "us-east-1"
_TIMEOUT_S = 60
_ROWS_AT_ONCE = 500
_MAX_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class OpenData:
    """The public buckets; can be sent to other processes.

    Attributes:
        endpoint_url: the address of a mirror; None for AWS.
    """

    endpoint_url: str | None = None

    @classmethod
    def from_environment(cls) -> OpenData:
        """Use ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, as boto3 does."""
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        return cls(next((os.environ[name] for name in variables if os.environ.get(name)), None))

    def is_alive(self) -> bool:
        """Say whether S3 answers with anything but a failure of its own."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            _client(self.endpoint_url).head_bucket(Bucket=PARSED_BUCKET)
        except ClientError as error:
            return _status(error) < 500
        except BotoCoreError:
            return False
        return True

    def object(self, bucket: str, key: str) -> bytes:
        """Download an object.

        Raises:
            Missing: there is no such object.
            Refused: S3 answers 403 or another 4xx.
            Unavailable: it should be tried again.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        name = f"s3://{bucket}/{key}"
        try:
            response = _client(self.endpoint_url).get_object(Bucket=bucket, Key=key)
            data: bytes = response["Body"].read()
        except ClientError as error:
            status = _status(error)
            reason = f"S3 {status}: {name}"
            if status == 404:
                raise Missing(reason) from error
            if status == 429 or status >= 500:
                raise Unavailable(reason) from error
            raise Refused(reason) from error
        except (BotoCoreError, HTTPError) as error:
            raise Unavailable(f"S3: {type(error).__name__}: {name}") from error
        return data

    def table_version(self, bucket: str, prefix: str) -> str | None:
        """Give the newest database version that a Delta table holds, or None if it has no versions.

        Raises:
            Missing: there is no such table.
            Refused: S3 answers 403.
            Unavailable: it should be tried again.
        """
        table = self._table(bucket, prefix)
        if "version" not in table.metadata().partition_columns:
            return None
        return max(str(partition["version"]) for partition in table.partitions())

    def rows(
        self, bucket: str, prefix: str, columns: Sequence[str], condition: str = "true"
    ) -> Iterator[dict[str, Any]]:
        """Stream rows of a Delta table, a few at a time in memory.

        Args:
            bucket: the bucket of the table.
            prefix: where the table lies in it.
            columns: what to read; a dotted column is taken out of its struct and keeps its name.
            condition: which rows, in SQL.

        Raises:
            Missing: there is no such table.
            Refused: S3 answers 403.
            Unavailable: it should be tried again.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        builder = QueryBuilder().register("documents", self._table(bucket, prefix))
        selected = ", ".join(f'{column} AS "{column}"' for column in columns)
        try:
            for page in builder.execute(f"SELECT {selected} FROM documents WHERE {condition}"):
                batch = pa.record_batch(page)
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    rows = batch.slice(start, _ROWS_AT_ONCE)
                    yield from rows.to_pylist(maps_as_pydicts="strict")
        except Exception as error:  # deltalake raises Exception itself, with the reason as text
            raise _of_delta(error, f"s3://{bucket}/{prefix}") from error

    def _table(self, bucket: str, prefix: str) -> Any:
        from deltalake import DeltaTable

        options = {
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_REGION": _REGION,
            "max_retries": "3",
            "timeout": f"{_TIMEOUT_S}s",
            "connect_timeout": f"{_TIMEOUT_S}s",
        }
        if self.endpoint_url is not None:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
            options["AWS_ALLOW_HTTP"] = "true"
        uri = f"s3a://{bucket}/{prefix}"
        try:
            return DeltaTable(uri, storage_options=options)
        except Exception as error:  # as above, and OSError
            raise _of_delta(error, f"s3://{bucket}/{prefix}") from error


@functools.cache
def _client(endpoint_url: str | None) -> Any:
    """Make the one client of this process; threads may share it."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        signature_version=UNSIGNED,
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    return boto3.client("s3", endpoint_url=endpoint_url, region_name=_REGION, config=config)


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _of_delta(error: Exception, name: str) -> Refused | Unavailable:
    from deltalake.exceptions import TableNotFoundError

    text = " ".join(str(error).split())
    if isinstance(error, TableNotFoundError):
        return Missing(f"S3 has no table {name}")
    if "necessary privileges" in text or "403 Forbidden" in text:
        return Refused(f"S3 403: {name}")
    return Unavailable(f"S3: {name}: {text[-_MAX_REASON_LENGTH:]}")
