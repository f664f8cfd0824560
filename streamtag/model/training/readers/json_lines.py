"""Sets that come as JSON lines, compressed or not."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamtag import strict_json
from streamtag.errors import NotFoundError, RefusedError

_SHOWN = 5


def read_json_lines(file: Path, wanted: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Line numbers (from 1) and objects of a file.

    Args:
        file: ``.jsonl`` or ``.jsonl.gz``.
        wanted: keys that every object must have.

    Raises:
        NotFoundError: no such file.
        RefusedError: names the lines that are no objects, or lack a key.
    """
    try:
        raw = file.read_bytes()
        content = gzip.decompress(raw) if file.suffix == ".gz" else raw
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(
                f"no data file {file}",
                hint="docs/models/ says where the data of each set come from.",
            ) from None
        raise RefusedError(f"{file} cannot be read: {error.strerror or 'not gzip'}") from None
    except EOFError:
        raise RefusedError(f"{file} is cut short", hint="Fetch the file again.") from None
    found, problems = [], []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = strict_json.decode(line, dict[str, Any])
        except msgspec.DecodeError as error:
            problems.append(f"line {number}: {error}")
            continue
        missing = [name for name in wanted if name not in record]
        if missing:
            problems.append(f"line {number}: lacks {', '.join(missing)}")
        found.append((number, record))
    if problems:
        rest = [f"and {len(problems) - _SHOWN} lines more"] if len(problems) > _SHOWN else []
        raise RefusedError(f"{file} cannot be used", problems=problems[:_SHOWN] + rest)
    return found
