"""What workers get from the environment: where runs go, credentials, our own variables. Only names are ever shown."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sim_models.config import BadInput, Refused, read_yaml

URI = "MLFLOW_TRACKING_URI"
PREFIXES = ("AWS_", "MLFLOW_TRACKING_", "MLFLOW_S3_", "SIM_MODELS_")
OF_THIS_MACHINE = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "SIM_MODELS_REAL_DATA",
)  # fmt: skip
"""names of files here, which are nowhere on the cluster"""
SECRET = ("SECRET", "TOKEN", "PASSWORD", "KEY")
SERVERS = ("http", "https", "postgresql", "mysql", "mssql")
SHORTEST = 8
"""characters below which a value is found everywhere by chance"""


def for_workers(
    own: Mapping[str, str], environment: Mapping[str, str] | None = None, credentials: bool = True
) -> dict[str, str]:
    """Variables for the job and all of its workers: those of this environment, and `own` over them.

    Args:
        own: what the command itself says.
        environment: that of this machine, unless given.
        credentials: whether those travel; where nodes have them, they need not.
    """
    given = os.environ if environment is None else environment
    names = [name for name in given if name.startswith(PREFIXES) and name not in OF_THIS_MACHINE]
    passed = {name: given[name] for name in names if given[name] and (credentials or not is_secret(name))}
    return {**passed, **own}


def left_here(environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of variables that name files of this machine."""
    given = os.environ if environment is None else environment
    return sorted(name for name in OF_THIS_MACHINE if given.get(name))


def refuse_private(uri: str) -> None:
    """Refuse a tracking address that means something else on every machine.

    Raises:
        Refused: saying what to give instead.
    """
    advice = f"start an MLflow server that the cluster reaches, and set {URI}=http://host:port"
    if not uri:
        raise Refused(f"{URI} is not set, so every node would log to a file of its own; {advice}")
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme not in SERVERS:
        kind = {"sqlite": "an SQLite file", "file": "a folder"}.get(scheme, "a relative address or no server")
        raise Refused(f"{URI} names {kind}, which is another one on every node; {advice}")
    if not parts.hostname:
        raise Refused(f"{URI} names no host; {advice}")


def is_secret(name: str) -> bool:
    """Whether a variable holds a secret, by its name."""
    return any(word in name for word in SECRET) and not name.endswith("_PATH")


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Values that no uploaded file may hold, by the name of their variable; Ray's token also where a file holds it."""
    passwords = {
        f"the password in {name}": urlsplit(value).password or ""
        for name, value in environment.items()
        if "://" in value
    }
    named = {
        name: value
        for name, value in environment.items()
        if name.startswith((*PREFIXES, "RAY_AUTH_")) and is_secret(name)
    }
    token = {"Ray's token": _ray_token(environment)}
    return {name: value for name, value in {**named, **passwords, **token}.items() if len(value) >= SHORTEST}


def _ray_token(environment: Mapping[str, str]) -> str:
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def runtime_env(file: Path | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """Ray's runtime environment of the job: our variables, and a person's own file over them.

    So places may have other names over there than here, as `http://mlflow:5000` in a network of containers.

    Raises:
        BadInput: if the file cannot be used.
        Refused: if runs would go to a file or a relative address, which is another one on every node.
    """
    given = {} if file is None else read_yaml(file)
    if not isinstance(given, dict) or not isinstance(given.get("env_vars", {}), dict):
        raise BadInput(f"{file}: must be a mapping like Ray's runtime_env, with env_vars from names to texts")
    if clash := [key for key in ("working_dir", "py_modules", "excludes") if key in given]:
        raise BadInput(
            f"{file}: {clash[0]} is made here, of the files git knows; take it out, and use --extra"
        )
    theirs = {str(name): str(value) for name, value in given.get("env_vars", {}).items()}
    merged = {**variables, **theirs}
    refuse_private(merged.get(URI, ""))
    return {**given, "env_vars": merged}


def names_of(variables: Mapping[str, str]) -> str:
    """Names, for people."""
    return ", ".join(sorted(variables)) or "none"
