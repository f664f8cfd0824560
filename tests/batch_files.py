"""Made-up documents, in files of every form that batch scoring reads; and what it wrote, read back."""

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["apple", "bridge", "cloud", "dinner", "engine", "forest", "garden", "harbour", "Ünïcode", "мост", "🌊"]

Document = dict[str, str | None]


def documents(count: int, *, seed: int = 0, words: int = 12) -> list[Document]:
    """``count`` documents; every third has a language, and some texts have quotes, commas and line ends."""
    random_ = random.Random(seed)
    found: list[Document] = []
    for i in range(count):
        text = " ".join(random_.choices(WORDS, k=random_.randint(1, words)))
        if i % 5 == 0:
            text = f'He said "{text}",\nthen left'
        found.append({"id": f"doc-{i}", "text": text, "lang": "de" if i % 3 == 0 else None})
    return found


def write_jsonl(path: Path, rows: Sequence[Document]) -> Path:
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: Sequence[Document]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "text", "lang"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Document], *, group: int = 1_000) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)
    return path


def read_parts(out: Path) -> list[dict[str, Any]]:
    """All rows of a finished Parquet output, in the order of the input."""
    rows: list[dict[str, Any]] = []
    for path in sorted(out.glob("part-*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def read_rejects(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "_rejects.jsonl").read_text().splitlines()]
