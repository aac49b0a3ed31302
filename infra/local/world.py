"""A world: what runs where, in which order it starts and stops, and what a client must know of it."""

import fcntl
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

from infra.local import mlflow_server, ports, postgresql, ray_nodes, s3
from infra.local.processes import DOWN_S, SERVICE, WORLD, Service, ServiceFailed, sweep

BUCKETS = ("mlflow", "dvc", "sim-models")
"""of MLflow's artifacts, DVC's remote, and what a project keeps on shared storage"""
ENVIRONMENT = "cluster.env"
"""file: what clients export; holds secrets"""
KEEPER = "keeper"
"""file: number of the process that keeps the world of a folder, locked by it"""


@dataclass(frozen=True)
class World:
    """Where everything is."""

    folder: Path
    ray_address: str
    """host:port, for RAY_ADDRESS"""
    dashboard: str
    """address that takes jobs"""
    tracking_uri: str
    s3_endpoint: str
    env: Mapping[str, str] = field(repr=False)
    """what a client must have in its environment; holds secrets"""
    services: Mapping[str, Service] = field(repr=False)
    """postgresql, s3, mlflow, ray-head, ray-node-1, ray-node-2, ..."""

    def kill(self, name: str) -> None:
        """End a service at once, with all that it started, as a machine that fails would."""
        self.services[name].kill()

    def stop(self, name: str) -> None:
        """Ask a service to end."""
        self.services[name].stop()

    def start(self, name: str) -> None:
        """Start a service that was killed or stopped, and wait until it is up."""
        self.services[name].launch()
        self.services[name].wait()


@contextmanager
def local_cluster(folder: Path, nodes: int = 2, cpus: int = 1) -> Iterator[World]:
    """Run a world for the length of a `with` block.

    `folder` gets its logs, its secrets (readable by its owner only) and `cluster.env`.

    Raises:
        ServiceFailed: if something does not come up, or is not installed.
    """
    folder = folder.resolve()
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_kept(folder))
        run = stack.enter_context(_run_folder(folder))
        world_id = run.name
        stack.enter_context(_swept(world_id, run))
        free = stack.enter_context(ports.block())
        database_port, store_port, mlflow_port, gcs, dashboard = (next(free) for _ in range(5))
        database_password, admin_password, token = (secrets.token_hex(24) for _ in range(3))
        token_file = _private(folder / "ray-token", token)
        base = _base_environment() | {WORLD: world_id}

        services: dict[str, Service] = {}

        def launch(service: Service) -> Service:
            services[service.name] = service
            stack.callback(service.stop)
            service.launch()
            return service

        log = {name: logs / f"{name}.log" for name in ("postgresql", "s3", "mlflow")}
        database = launch(
            postgresql.service(run / "pg", database_port, database_password, base, log["postgresql"])
        )
        store = launch(s3.service(store_port, base, log["s3"]))
        store.wait()
        keys = s3.open_account(store_port, BUCKETS)
        clients = {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}",
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": admin_password,
            **mlflow_server.CLIENT,
            "AWS_ACCESS_KEY_ID": keys.id,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_ENDPOINT_URL": s3.endpoint(store_port),
            "AWS_DEFAULT_REGION": s3.REGION,
        }
        authenticated = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}

        # The nodes know where MLflow and S3 are, as those of compose.yaml do.
        on_nodes = base | ray_nodes.SETTINGS | authenticated | clients
        head = launch(
            ray_nodes.head(run / "ray", free, gcs, dashboard, on_nodes, logs / "ray-head.log", token)
        )
        database.wait()
        postgresql.create_database(database_port, database_password)
        server = launch(
            mlflow_server.service(
                mlflow_port,
                base
                | {
                    "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{postgresql.NAME}@127.0.0.1:{database_port}"
                    f"/{postgresql.NAME}",
                    "PGPASSWORD": database_password,
                    "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
                    "MLFLOW_S3_ENDPOINT_URL": s3.endpoint(store_port),
                    "AWS_ACCESS_KEY_ID": keys.id,
                    "AWS_SECRET_ACCESS_KEY": keys.secret,
                    "AWS_DEFAULT_REGION": s3.REGION,
                    "MLFLOW_AUTH_ADMIN_PASSWORD": admin_password,
                    "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(24),
                    "MLFLOW_PORT": str(mlflow_port),
                    "TMPDIR": str(run),
                },
                log["mlflow"],
            )
        )
        head.wait()
        workers = [
            launch(
                ray_nodes.worker(
                    run / f"ray{number}",
                    number,
                    cpus,
                    free,
                    gcs,
                    dashboard,
                    on_nodes,
                    logs / f"ray-node-{number}.log",
                    token,
                )
            )
            for number in range(1, nodes + 1)
        ]
        for service in (server, *workers):
            service.wait()

        address = f"{ray_nodes.address(0)}:{gcs}"
        web = f"http://127.0.0.1:{dashboard}"
        env = clients | authenticated | {"RAY_ADDRESS": address, "RAY_API_SERVER_ADDRESS": web}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
        _private(folder / ENVIRONMENT, "\n".join(lines) + "\n")
        yield World(
            folder=folder,
            ray_address=address,
            dashboard=web,
            tracking_uri=clients["MLFLOW_TRACKING_URI"],
            s3_endpoint=clients["AWS_ENDPOINT_URL"],
            env=MappingProxyType(env),
            services=MappingProxyType(services),
        )


def keeper(folder: Path) -> psutil.Process | None:
    """The process that keeps the world of a folder, if there is one."""
    try:
        with (folder / KEEPER).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return psutil.Process(int((folder / KEEPER).read_text()))
    return None


def local_world_ends(folder: Path) -> None:
    """Return when nobody keeps the world of a folder any more.

    Raises:
        ServiceFailed: if it does not end.
    """
    deadline = time.monotonic() + 8 * DOWN_S
    while (found := keeper(folder)) is not None:
        if time.monotonic() > deadline:
            raise ServiceFailed(f"process {found.pid} does not end; see {folder / 'logs'}")
        time.sleep(0.2)


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Only one world in a folder."""
    with (folder / KEEPER).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceFailed(
                f"a world runs in {folder} already; stop it, or name another folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _run_folder(folder: Path) -> Iterator[Path]:
    """What must have a short path (Ray's sockets) or be in reach of another user (PostgreSQL's, under root)."""
    run = Path(tempfile.mkdtemp(prefix="sim", dir="/tmp"))
    run.chmod(0o711)
    link = folder / "run"
    link.unlink(missing_ok=True)
    link.symlink_to(run)
    try:
        yield run
    finally:
        link.unlink(missing_ok=True)
        shutil.rmtree(run, ignore_errors=True)


@contextmanager
def _swept(world_id: str, run: Path) -> Iterator[None]:
    """Leave nothing running, whatever becomes of this process.

    A watcher holds the other end of a pipe, which breaks when this process ends, even by SIGKILL.
    """
    watcher = subprocess.Popen(
        [sys.executable, "-m", "infra.local.watcher", world_id, str(run)],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    assert watcher.stdin is not None
    try:
        yield
    finally:
        sweep(world_id)
        watcher.stdin.close()
        watcher.wait()


def _base_environment() -> dict[str, str]:
    """Ours, without what would lead a service to another world, and with the programs of this Python found first."""
    astray = ("RAY_", "MLFLOW_", "AWS_", "DVC_", "PG", WORLD, SERVICE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    programs = str(Path(sys.executable).parent)
    return kept | {"PATH": os.pathsep.join([programs, kept.get("PATH", os.defpath)])}


def _private(path: Path, text: str) -> Path:
    """A file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(text)
    return path
