"""``CodatExtractOperator`` reads records into files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_codat.api.data_types import did_you_mean, known_data_type
from airflow_provider_codat.api.errors import CodatDataTypeNotSupported, CodatInputError
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.asset_events import AssetEvents
from airflow_provider_codat.tasks.templates import read_flag, task_instance

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.reading.subject import Subject
    from airflow_provider_codat.operators.extract_files import RunFiles

CHOICES = {"mode": ("incremental", "full"), "on_not_supported": ("skip", "fail")}
"""Argument -> its values."""

STAND_INS = {"company_id": "id", "connection_id": "id", "account_id": "id", "start_month": None}
"""The values that replace templates while the literals are checked."""


class CodatExtractOperator(AssetEvents):
    """Reads the records of one data type of a company from Codat into files, and loses none.

    The files are lines of JSON, compressed with gzip, below ``path`` on any storage that Airflow's
    ``ObjectStoragePath`` knows: a local folder, S3, GCS, Azure and others. Each record is as Codat has it, deleted ones
    included, with ``companyId``, ``connectionId`` and ``dataType``. Together with the ``id`` they are its key. A record
    can come again, in the same run and in later ones: keep the one with the latest ``modifiedDate`` of each key.
    Records without an ``id``, such as ``banking-accountBalances``, come once in a run, and equal ones as often as Codat
    has them: read them in the mode ``full``, and keep those of the latest run.

    In the mode ``incremental``, a run reads what Codat has changed since the last run. The time from which it reads is
    the watermark, in a file beside the runs. It is the time at which Codat's latest successful refresh was requested,
    less the ``overlap``. If an earlier refresh on another connection still runs, its time counts instead; the first run
    looks for one a week back. The watermark moves only once all files of a run are there, and never back. The first run
    reads everything. So does every run for data types without a ``modifiedDate``: reports, company information,
    ``commerce-products`` and ``commerce-locations``.

    If a refresh changes records while they are read, they are read again, up to five times. While a refresh may be
    changing them, the task pauses before it reads again, in the worker: 30, 60, 120, 240 and 300 seconds, 12.5 minutes
    in all. To wait longer, put a ``CodatRefreshOperator`` before it.

    Nothing is complete without its ``manifest.json``, which is written last and names the files of the run. A retry
    begins again. A run that is complete, and is cleared, returns its manifest and reads nothing. To read a run again,
    delete its manifest and clear the task.

    The XCom is ``{companyId, connectionId, dataType, manifest, paths, records, since, watermark}``, never a record.

    :param company_id: the company. Templated.
    :param data_type: such as ``invoices``, ``chartOfAccounts``, ``commerce-orders`` or ``balanceSheet``. A literal that
        is unknown is an error, a rendered one a warning. Templated.
    :param path: the folder or URI below which the files are, such as ``s3://aws_default@bucket/codat``. A task needs
        one of its own, except for data of other companies, connections, types, bank accounts and periods. Templated.
    :param storage_conn_id: the Airflow connection of the storage, unless the ``path`` names it; default none.
        Templated.
    :param connection_id: the data connection, for data types that Codat serves by connection, such as ``directCosts``
        and all banking and commerce types; default none. Templated.
    :param account_id: the bank account, for ``bankTransactions``; default none. Templated.
    :param mode: ``incremental`` (the default) or ``full``, which reads everything in every run.
    :param full_refresh: read everything in this run of an incremental task; default ``False``. Codat advises it now and
        then: an incremental read does not show records that Codat has removed from its data. Templated.
    :param overlap: how much earlier than the latest refresh the watermark is, a ``timedelta`` or seconds; default one
        hour. It has to cover differences between Codat's clocks, and the time until Codat lists a refresh.
    :param page_size: items on a page, 1 to 5000; default 1000. The task needs memory for one page.
    :param file_size: compressed bytes with which a file ends, counted after each page; default 8,000,000; 0 writes a
        file for each page. The task needs memory for one file.
    :param period_length: the months in one period of a report; required for reports, default none.
    :param periods_to_compare: the number of periods of a report; required for reports, default none.
    :param start_month: a day of the month with which a report begins, a date or ISO 8601 text; default Codat's own.
        Templated.
    :param on_not_supported: ``skip`` (the default) skips the task if the platform does not have the data type,
        ``fail`` fails it without a retry, as ``AirflowFailException``.
    :param asset_events: tell Airflow which assets the task has changed, so that DAGs are scheduled on them: see the
        README beside this module; default ``False``.
    :param codat_conn_id: the id of the Airflow connection to Codat; default ``codat_default``. Templated.
    :param kwargs: what every operator takes.
    :raises CodatInputError: an argument is wrong; nothing was sent. A literal raises this at DAG parse.
    :raises CodatExtractionIncomplete: no refresh of the data type has succeeded yet, or refreshes changed records each
        time that they were read. The watermark has not moved.
    :raises CodatError: Codat did not answer a request, or answered with an error. The watermark has not moved.

    Source: https://docs.codat.io/using-the-api/get-data and https://docs.codat.io/using-the-api/paging.
    """

    template_fields: Sequence[str] = (
        "company_id",
        "data_type",
        "path",
        "storage_conn_id",
        "connection_id",
        "account_id",
        "full_refresh",
        "start_month",
        "codat_conn_id",
    )
    lineage = "extraction"
    ui_color = "#e3eefc"

    def __init__(
        self,
        *,
        company_id: str,
        data_type: str,
        path: str,
        storage_conn_id: str | None = None,
        connection_id: str | None = None,
        account_id: str | None = None,
        mode: str = "incremental",
        full_refresh: bool | str = False,
        overlap: timedelta | float = timedelta(hours=1),
        page_size: int = 1000,
        file_size: int = 8_000_000,
        period_length: int | None = None,
        periods_to_compare: int | None = None,
        start_month: date | str | None = None,
        on_not_supported: str = "skip",
        asset_events: bool = False,
        codat_conn_id: str = "codat_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(asset_events=asset_events, **kwargs)
        self.company_id = company_id
        self.data_type = data_type
        self.path = path
        self.storage_conn_id = storage_conn_id
        self.connection_id = connection_id
        self.account_id = account_id
        self.mode = mode
        self.full_refresh = full_refresh
        self.overlap = overlap
        self.page_size = page_size
        self.file_size = file_size
        self.period_length = period_length
        self.periods_to_compare = periods_to_compare
        self.start_month = start_month
        self.on_not_supported = on_not_supported
        self.codat_conn_id = codat_conn_id
        self.check_ids("company_id", "data_type")
        self._check_literals()

    def _check_literals(self) -> None:
        """Raise at DAG parse for each wrong argument that no template can correct."""
        from airflow_provider_codat.api.endpoints.read_records import start_month_text
        from airflow_provider_codat.api.http.paging import check_page_size

        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                raise CodatInputError(f"{name} is {getattr(self, name)!r}: give {' or '.join(map(repr, values))}")
        if not isinstance(self.file_size, int) or isinstance(self.file_size, bool) or self.file_size < 0:
            raise CodatInputError(
                f"file_size is {self.file_size!r}: give a number of bytes, 0 for a file for each page"
            )
        check_page_size(self.page_size)
        _ = self._overlap
        if self.is_literal("path"):
            self._check_path()
        if self.is_literal("full_refresh"):
            read_flag("full_refresh", self.full_refresh)
        if self.is_literal("data_type"):
            if known_data_type(self.data_type) is None:
                raise CodatInputError(
                    f"data_type is {self.data_type!r}, which is not a data type of Codat.{did_you_mean(self.data_type)}"
                    " If it is newer than this version of the provider, give it as a template"
                )
            stand_ins = {name: value for name, value in STAND_INS.items() if not self.is_literal(name)}
            self._subject(stand_ins).request({"page": 1, "page_size": self.page_size}, None)
        elif self.start_month is not None and self.is_literal("start_month"):
            start_month_text(self.start_month)

    @property
    def _overlap(self) -> timedelta:
        overlap = self.overlap
        if isinstance(overlap, int | float) and not isinstance(overlap, bool):
            overlap = timedelta(seconds=overlap)
        if not isinstance(overlap, timedelta) or overlap < timedelta():
            raise CodatInputError(f"overlap is {self.overlap!r}: give a timedelta or seconds, at least 0")
        return overlap

    def _check_path(self) -> None:
        if not isinstance(self.path, str) or self.path.strip() in {"", "None"}:
            raise CodatInputError(
                f"path is {self.path!r}: give the text of a folder or URI, such as 's3://aws_default@bucket/codat'; if"
                " it comes from a template, the upstream value is missing"
            )

    def _subject(self, stand_ins: dict[str, Any] | None = None) -> Subject:
        """Return what is extracted. ``stand_ins`` replace arguments that are not rendered yet."""
        from airflow_provider_codat.api.reading.subject import Subject

        names = "company_id", "data_type", "connection_id", "account_id", "period_length", "periods_to_compare"
        given = {name: getattr(self, name) for name in (*names, "start_month")} | (stand_ins or {})
        return Subject(**given | {"data_type": known_data_type(given["data_type"]) or given["data_type"]})

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the records into files, unless the run is complete, and return the XCom.

        :raises CodatInputError: an argument is wrong, or the context has no task instance; nothing was sent.
        """
        store_company_link(context.get("ti"), self.company_id)
        subject = self._checked_subject()
        ti = task_instance(context, "whose run the files belong to")
        files = self._files(subject, ti)
        manifest = files.manifest()
        if manifest is not None:
            self.log.info("This run is complete already: %s. Delete that to read again.", files.manifest_path)
        else:
            manifest = self._extract(subject, files, _instance(ti))
        files.advance_watermark(parse_datetime(manifest["watermark"]), manifest["refreshId"])
        files.remove_leftovers(manifest)
        self.log.info(
            "%d records in %d files, named in %s. The next run reads from %s.",
            manifest["records"],
            len(manifest["files"]),
            files.manifest_path,
            files.watermark() or "the beginning",
        )
        self.ended = xcom = _xcom(subject, files, manifest)
        return xcom

    def _checked_subject(self) -> Subject:
        """Return what is extracted, once the rendered arguments are checked."""
        self._check_path()
        subject = self._subject()
        subject.request({"page": 1, "page_size": self.page_size}, None)  # raises for a wrong argument
        if known_data_type(subject.data_type) is None:
            self.log.warning(
                "%s is not a data type that this version knows.%s", subject.data_type, did_you_mean(subject.data_type)
            )
        return subject

    def _files(self, subject: Subject, ti: Any) -> RunFiles:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        from airflow_provider_codat.operators.extract_files import RunFiles, safe_name

        place = ObjectStoragePath(self.path, conn_id=self.storage_conn_id)
        place.fs.invalidate_cache()  # which may have a list of files from before another process changed them
        names = subject.company_id, subject.connection_id or "company", subject.data_type, subject.variant
        for name in filter(None, names):
            place /= safe_name(name)
        return RunFiles(place, ti.run_id, f"{ti.dag_id}.{ti.task_id}", self.log)

    def _extract(self, subject: Subject, files: RunFiles, instance: str) -> dict[str, Any]:
        """Read the records, and return the manifest."""
        from airflow_provider_codat.api.reading.extraction import DataTypeNotSupported, Extraction
        from airflow_provider_codat.operators.extract_files import Parts, time_text

        since, why = self._since(subject, files)
        self.log.info("Extracting %s: %s.", subject, why)
        parts = Parts(files.folder, instance, self.file_size)
        extraction = Extraction(subject, self.page_size, self._overlap, parts, self.log, files.watermark())
        try:
            extracted = self.hook.run(extraction.steps(since), attempts=None)
        except (CodatDataTypeNotSupported, DataTypeNotSupported) as error:
            ended = AirflowSkipException if self.on_not_supported == "skip" else AirflowFailException
            raise ended(str(error)) from error
        parts.end()
        watermark = extracted.watermark
        if watermark is None and subject.has_modified_date:
            self.log.warning("Codat does not show when its refreshes were requested: the watermark does not move.")
        return files.complete(
            {
                "companyId": subject.company_id,
                "connectionId": subject.connection_id,
                "dataType": subject.data_type,
                "since": time_text(since),
                "watermark": time_text(watermark),
                "refreshId": extracted.refresh_id,
                "records": sum(each["records"] for each in parts.written),
                "files": parts.written,
            }
        )

    def _since(self, subject: Subject, files: RunFiles) -> tuple[datetime | None, str]:
        """Return from when on the run reads, ``None`` for everything, and the reason in words."""
        reasons = {
            f"{subject.data_type} have no modifiedDate": not subject.has_modified_date,
            "the mode is full": self.mode == "full",
            "full_refresh is set": read_flag("full_refresh", self.full_refresh),
        }
        reason = next((text for text, applies in reasons.items() if applies), None)
        since = files.since(everything=reason is not None)
        if since is not None:
            return since, f"what Codat has changed since {since}"
        return None, f"everything, because {reason or 'there was no watermark when the run began'}"


def _xcom(subject: Subject, files: RunFiles, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "companyId": subject.company_id,
        "connectionId": subject.connection_id,
        "dataType": subject.data_type,
        "manifest": str(files.manifest_path),
        "paths": [str(files.folder / each["name"]) for each in manifest["files"]],
        "records": manifest["records"],
        "since": manifest["since"],
        "watermark": manifest["watermark"],
    }


def _instance(ti: Any) -> str:
    """Return what tells apart the files of two tries, and of two mapped tasks with the same arguments."""
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    return f"{ti.try_number}-{ti.map_index}" if is_mapped else f"{ti.try_number}"
