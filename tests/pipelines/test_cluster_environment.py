"""What workers get from the environment, and what must not stand in it."""

from pathlib import Path

import pytest

from pipelines.cluster.environment import (
    for_workers,
    left_here,
    names_of,
    refuse_private,
    runtime_env,
    secrets_of,
)
from sim_models.config import BadInput, Refused

SERVER = "http://mlflow:5000"


def test_credentials_and_our_own_variables_travel() -> None:
    given = {
        "MLFLOW_TRACKING_URI": SERVER,
        "MLFLOW_TRACKING_USERNAME": "somebody",
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_PROFILE": "lab",
        "SIM_MODELS_THREADS": "4",
        "HOME": "/home/somebody",
        "RAY_AUTH_TOKEN": "two",
    }
    passed = for_workers({"SIM_MODELS_WORKERS": "8"}, given)
    assert set(passed) == {
        "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "AWS_ACCESS_KEY_ID", "SIM_MODELS_THREADS",
        "SIM_MODELS_WORKERS",
    }  # fmt: skip
    assert left_here(given) == ["AWS_PROFILE"]
    assert "one" not in names_of(passed)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "is not set"),
        ("sqlite:///mlflow.db", "an SQLite file"),
        ("sqlite:////shared/mlflow.db", "an SQLite file"),
        ("file:///shared/mlruns", "a folder"),
        ("mlruns", "a relative address"),
        ("./mlruns", "a relative address"),
        ("/shared/mlruns", "a relative address or no server"),
        ("http:///mlflow", "names no host"),
    ],
)
def test_addresses_that_differ_from_node_to_node_are_refused(uri: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        refuse_private(uri)


@pytest.mark.parametrize("uri", [SERVER, "https://mlflow.lab", "postgresql+psycopg2://db/mlflow"])
def test_servers_are_taken(uri: str) -> None:
    refuse_private(uri)


def test_values_that_no_file_may_hold() -> None:
    found = secrets_of(
        {
            "AWS_SECRET_ACCESS_KEY": "long-enough",
            "MLFLOW_TRACKING_TOKEN": "short",
            "MLFLOW_TRACKING_URI": "http://somebody:hush-hush-hush@mlflow",  # pragma: allowlist secret
            "AWS_DEFAULT_REGION": "eu-central-1",
            "RAY_AUTH_TOKEN_PATH": "/nowhere",
        }
    )
    assert set(found.values()) == {"long-enough", "hush-hush-hush"}


def test_a_persons_own_variables_are_merged(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("env_vars: {NCCL_DEBUG: INFO, SIM_MODELS_THREADS: 4}\npip: [einops]\n")
    merged = runtime_env(file, {"SIM_MODELS_THREADS": "4", "MLFLOW_TRACKING_URI": SERVER})
    assert merged["pip"] == ["einops"]
    assert merged["env_vars"] == {
        "NCCL_DEBUG": "INFO",
        "SIM_MODELS_THREADS": "4",
        "MLFLOW_TRACKING_URI": SERVER,
    }
    over_there = "http://mlflow:5000"
    file.write_text(f"env_vars: {{MLFLOW_TRACKING_URI: '{over_there}'}}\n")
    places = runtime_env(file, {"MLFLOW_TRACKING_URI": SERVER})["env_vars"]
    assert places == {"MLFLOW_TRACKING_URI": over_there}, "places may have other names over there"
    file.write_text("env_vars: {MLFLOW_TRACKING_URI: 'sqlite:///mlflow.db'}\n")
    with pytest.raises(Refused, match="names an SQLite file"):
        runtime_env(file, {"MLFLOW_TRACKING_URI": SERVER})


def test_credentials_stay_here_where_nodes_have_them() -> None:
    given = {"MLFLOW_TRACKING_URI": SERVER, "MLFLOW_TRACKING_PASSWORD": "one", "AWS_SECRET_ACCESS_KEY": "two"}
    assert for_workers({}, given, credentials=False) == {"MLFLOW_TRACKING_URI": SERVER}


def test_ray_s_token_is_looked_for_also_where_a_file_holds_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-ray\n")
    path = str(tmp_path / "token")
    assert secrets_of({"RAY_AUTH_TOKEN_PATH": path}) == {"Ray's token": "a-token-of-ray"}


def test_what_is_uploaded_is_not_the_persons_to_say(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("working_dir: .\n")
    with pytest.raises(BadInput, match="working_dir is made here"):
        runtime_env(file, {})
    file.write_text("- one\n")
    with pytest.raises(BadInput, match="must be a mapping"):
        runtime_env(file, {})
