"""The lineage of a run: events of OpenLineage, appended to a file or posted to a URL."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tranship.pipelines.operation import delivery
from tranship.pipelines.operation.delivery import UndeliveredError
from tranship.pipelines.operation.lineage_datasets import dataset
from tranship.pipelines.operation.lineage_events import LineageRun, Parent
from tranship.pipelines.operation.run_end import RunEnd
from tranship.pipelines.operation_settings import LINEAGE_PATH
from tranship.pipelines.settings_model import Settings


def begun(settings: Settings) -> LineageRun:
    """Return a run that begins now. Namespace and parent are in the environment, as schedulers set them:
    OPENLINEAGE_NAMESPACE, and OPENLINEAGE_PARENT_ID and OPENLINEAGE_ROOT_PARENT_ID of the form namespace/job/run id.
    """
    return LineageRun(
        run_id=str(uuid.uuid4()),
        namespace=os.environ.get("OPENLINEAGE_NAMESPACE") or "default",
        pipeline=settings.pipeline_name,
        version=metadata.version("tranship"),
        inputs=tuple(dict.fromkeys(map(dataset, settings.sources))),
        output=dataset(settings.destination),
        columns=settings.columns,
        parent=Parent.of(os.environ.get("OPENLINEAGE_PARENT_ID", "")),
        root=Parent.of(os.environ.get("OPENLINEAGE_ROOT_PARENT_ID", "")),
    )


def send_start(to: str, run: LineageRun, at: datetime) -> None:
    """Send the event of the start. Raises UndeliveredError."""
    _send(to, json.dumps(run.start(at), ensure_ascii=False))


def send_end(to: str, run: LineageRun, end: RunEnd) -> None:
    """Send the event of the end. Raises UndeliveredError."""
    _send(to, json.dumps(run.end(end, datetime.now(UTC), end.source_bytes), ensure_ascii=False))


def _send(to: str, event: str) -> None:
    if to.startswith("env:"):
        to = delivery.address_in(to.removeprefix("env:"))
    elif "://" not in to:
        _append(Path(to), event)
        return
    if not delivery.is_web(to):
        raise UndeliveredError("its address is not an http or https URL")
    url = urlsplit(to)
    key = os.environ.get("OPENLINEAGE_API_KEY")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    address = urlunsplit(url._replace(path=LINEAGE_PATH)) if url.path in ("", "/") else to
    delivery.post(address, event.encode("utf-8", "backslashreplace"), headers)


def _append(file: Path, event: str) -> None:
    """Append a line. Several runs may write to the same file: each line is written at once. After one that a full disk
    has cut off, the next begins on a line of its own.
    """
    line = f"{event}\n".encode("utf-8", "backslashreplace")
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            if _is_cut_off(file):
                line = b"\n" + line
            if os.write(opened, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(opened)
    except OSError as error:
        raise UndeliveredError(f"{file}: cannot be written ({(error.strerror or 'error').lower()})") from None


def _is_cut_off(file: Path) -> bool:
    """Return whether the last line of a file has no end. Of a pipe or a device, it is not known."""
    if not file.is_file() or not os.access(file, os.R_OK):
        return False
    with file.open("rb") as written:
        size = written.seek(0, os.SEEK_END)
        written.seek(max(0, size - 1))
        return written.read(1) not in (b"", b"\n")
