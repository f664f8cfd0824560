"""The scorer in a real Spark (`make spark-test` installs it): the bits of `streamtag batch`."""

import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from batch_files import documents, write_parquet
from pyspark.sql import SparkSession
from tiny_bundle import build_tiny_bundle

from streamtag.batch.frames import FrameScorer, score_frames, spark_schema


def test_map_in_pandas_gives_every_row_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*documents(300), {"id": "bad", "text": None}]
    source = write_parquet(tmp_path / "in.parquet", rows, group=50)
    bundle = build_tiny_bundle(tmp_path / "bundles")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "512m")
        .config("spark.sql.files.maxPartitionBytes", "4k")
        .getOrCreate()
    )
    try:
        frame = session.read.parquet(str(source)).repartition(3)
        scored = frame.mapInPandas(partial(score_frames, bundle=str(bundle)), schema=spark_schema(bundle))
        found = {row["id"]: row.asDict() for row in scored.collect()}
        assert frame.rdd.getNumPartitions() == 3
    finally:
        session.stop()
    expected = FrameScorer(bundle)(pd.DataFrame(rows)).to_dict("records")
    assert len(found) == len(expected) == 301
    for row in expected[:-1]:
        assert {name: found[row["id"]][name] for name in ("tags", "score_spam", "score_greeting")} == {
            name: row[name] for name in ("tags", "score_spam", "score_greeting")
        }
    assert found["bad"]["error"].startswith("missing_field at /text")
    assert found["bad"]["score_spam"] is None
