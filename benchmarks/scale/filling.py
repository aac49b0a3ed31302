"""Runs and model versions by the ten thousand, written to MLflow's tables by SQL.

Through MLflow's interface they would take hours. Every row that MLflow itself would have written for them is there,
with its keys, so MLflow reads and goes on writing them (the benchmark does both); only their artifacts are not. Runs
look like trials of a study, versions like those that the stage `register` makes.
"""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from infra.local import World
from sim_models.evaluation.report import MAIN
from sim_models.tracking.history import HISTORY, Change
from sim_models.tracking.registry import CANDIDATE, CHAMPION, PARENT
from sim_models.tracking.runs import KEY, WEIGHTS

STUDY = 50
"""runs: a study and its children"""
LOOK = 100
"""one run of so many has opened test cells"""
SPLITS = 100
PARAMS, POINTS = 10, 5
"""of each run: parameters, and points in its curve"""
LATEST = ("best_val_psnr", "tflop", "trainable", "seconds")
FAMILY = 20
"""registered models whose first versions come from the same one"""
START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)

_RUNS = f"""
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,
                  source_version, lifecycle_stage, artifact_uri, experiment_id)
SELECT md5('run ' || n), 'trial ' || n, 'UNKNOWN', '', '', 'ada', 'FINISHED', {START_MS} + n * 1000,
       {START_MS} + n * 1000 + 60000, '', 'active',
       'mlflow-artifacts:/' || %(experiment)s || '/' || md5('run ' || n) || '/artifacts', %(experiment)s
FROM generate_series(%(first)s, %(last)s) AS n
"""
_TAGS = f"""
INSERT INTO tags (key, value, run_uuid)
SELECT tag.key, tag.value, md5('run ' || n) FROM generate_series(%(first)s, %(last)s) AS n, LATERAL (VALUES
    ('{KEY}', md5('key ' || n)), ('mlflow.runName', 'trial ' || n), ('mlflow.user', 'ada'),
    ('mlflow.source.name', 'transfer'), ('mlflow.source.type', 'PROJECT'),
    ('mlflow.source.git.commit', md5('commit')), ('sim.code_changed', 'false'),
    ('sim.kind', CASE WHEN n %% {LOOK} = 1 THEN 'evaluation' ELSE 'trial' END),
    ('sim.split', 'split ' || (n / {LOOK}) %% {SPLITS}),
    ('mlflow.parentRunId', CASE WHEN n %% {STUDY} > 0 THEN md5('run ' || n - n %% {STUDY}) END)
) AS tag (key, value) WHERE tag.value IS NOT NULL
"""
_PARAMS = f"""
INSERT INTO params (key, value, run_uuid)
SELECT 'training.setting_' || k, (n * k)::text, md5('run ' || n)
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(1, {PARAMS}) AS k
"""
_CURVES = f"""
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
SELECT 'val_psnr', 30 + step + random(), {START_MS} + n * 1000 + step, md5('run ' || n), step, false
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(1, {POINTS}) AS step
"""
_ENDS = f"""
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
SELECT name, random(), {START_MS} + n * 1000, md5('run ' || n), 0, false
FROM generate_series(%(first)s, %(last)s) AS n, unnest(ARRAY{list(LATEST)}) AS name
"""
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
SELECT DISTINCT ON (run_uuid, key) key, value, timestamp, step, is_nan, run_uuid FROM metrics
WHERE run_uuid IN (SELECT md5('run ' || n) FROM generate_series(%(first)s, %(last)s) AS n)
ORDER BY run_uuid, key, step DESC
"""


@contextmanager
def database(world: World) -> Iterator[Any]:
    """A cursor in MLflow's database; what was written counts once the block has ended well."""
    given = world.services["mlflow"].environment
    address = given["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg2", "")
    with (
        closing(psycopg2.connect(address, password=given["PGPASSWORD"])) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def run_id(number: int) -> str:
    """Of a run that `add_runs` has made."""
    return hashlib.md5(f"run {number}".encode()).hexdigest()


def run_key(number: int) -> str:
    """The key by which it is found."""
    return hashlib.md5(f"key {number}".encode()).hexdigest()


def add_runs(world: World, experiment: str, first: int, last: int) -> None:
    """Add runs number `first` to `last`, both included."""
    numbers = {"experiment": int(experiment), "first": first, "last": last}
    with database(world) as cursor:
        for statement in (_RUNS, _TAGS, _PARAMS, _CURVES, _ENDS, _LATEST):
            cursor.execute(statement, numbers)
        cursor.execute("ANALYZE")  # as the server itself does after a while


def add_points(world: World, run: str, metric: str, points: int) -> None:
    """Give a run a metric of so many points, and as the latest the last of them."""
    given = {"run": run, "metric": metric, "points": points}
    with database(world) as cursor:
        cursor.execute(
            f"""
            INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
            SELECT %(metric)s, 1, {START_MS} + step, %(run)s, step, false FROM generate_series(1, %(points)s) AS step;
            INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
            VALUES (%(metric)s, 1, {START_MS} + %(points)s, %(points)s, false, %(run)s)
            """,
            given,
        )


def model_name(number: int) -> str:
    """Of a registered model, one for each pair of structure and microscope."""
    return f"sim-structure{number:04d}"


def add_models(world: World, first: int, last: int, versions: int) -> None:
    """Add registered models number `first` to `last`, both included, each with so many versions, all once champion."""
    names = [model_name(number) for number in range(first, last + 1)]
    numbers = range(1, versions + 1)
    rows = {
        "registered_models (name, creation_time, last_updated_time, description)": (
            (name, START_MS, START_MS, "Restores SIM images.") for name in names
        ),
        "model_versions (name, version, creation_time, last_updated_time, description, current_stage, source, "
        "storage_location, run_id, status, run_link)": (
            _version(name, number) for name in names for number in numbers
        ),
        "model_version_tags (name, version, key, value)": (
            (names[index], number, key, value)
            for index in range(len(names))
            for number in numbers
            for key, value in _tags(first + index, number).items()
        ),
        "registered_model_aliases (name, alias, version)": (
            (name, alias, versions) for name in names for alias in (CANDIDATE, CHAMPION)
        ),
        "registered_model_tags (name, key, value)": (
            (name, *_record(number)) for name in names for number in numbers
        ),
    }
    with database(world) as cursor:
        for table, values in rows.items():
            execute_values(cursor, f"INSERT INTO {table} VALUES %s", values, page_size=2000)
        cursor.execute("ANALYZE")


def _version(name: str, number: int) -> tuple[Any, ...]:
    moment, source = START_MS + 1000 * number, f"runs:/{run_id(number)}/model"
    return (name, number, moment, moment, "", "None", source, source, run_id(number), "READY", "")


def _tags(model: int, version: int) -> dict[str, str]:
    """As many as the stage `register` sets; every version comes from the first, and that from another model."""
    source = model - model % FAMILY
    if version > 1:
        parent = f"{model_name(model)} version 1"
    else:
        parent = "none" if model == source else f"{model_name(source)} version 1"
    return {
        WEIGHTS: hashlib.sha256(f"{model} {version}".encode()).hexdigest(),
        PARENT: parent,
        "sim.arm": "finetune",
        "sim.frozen": "intro, enc1",
        f"sim.test.{MAIN}": "34.56",
        **{f"sim.fact_{each}": f"fact {each} of version {version}" for each in range(14)},
    }


def _record(version: int) -> tuple[str, str]:
    """Key and value of the tag that tells how a version became champion."""
    moment = START + timedelta(hours=version)
    change = Change(
        moment=moment.isoformat(timespec="microseconds"),
        by="ada",
        what="promoted",
        before=version - 1 or None,
        version=version,
        reason="better on the test cells of the new microscope",
        verdict="4 of 4 checks passed",
    )
    return f"{HISTORY}{moment:%Y%m%dT%H%M%S.%fZ}.{uuid.uuid4().hex[:8]}", change.model_dump_json()
