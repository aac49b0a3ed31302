"""Services as processes: started, asked whether they are well, stopped, and nothing of them left behind.

Ray puts what it starts into process groups, and jobs into sessions, of their own, so neither tells what belongs to
a service. Two variables in the environment do, and they pass on to every child.
"""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

WORLD = "SIM_MODELS_LOCAL_WORLD"
"""variable: which world a process belongs to"""
SERVICE = "SIM_MODELS_LOCAL_SERVICE"
"""variable: which service of it"""
UP_S = 300.0
"""for a service to be up; a busy machine may take a minute for what otherwise takes five seconds"""
DOWN_S = 15.0
"""for a service to go by itself"""


class ServiceFailed(Exception):
    """A service did not come up; the message holds the end of its log."""


@dataclass
class Service:
    """A process that serves, and what it starts in turn."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    log: Path
    healthy: Callable[[], bool]
    """quickly; False or any OSError while it is not up"""
    user: str | None = None
    """whose process it is to be, where not ours"""
    stop_signal: signal.Signals = signal.SIGTERM
    tries: int = 1
    """how often it may end while it comes up"""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def launch(self) -> None:
        """Start it; `wait` says when it is up."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command],
                env={**self.environment, SERVICE: self.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop services in order
                user=self.user,
                group=None if self.user is None else group_of(self.user),
                extra_groups=None if self.user is None else [],
            )

    def wait(self) -> None:
        """Return once it is well.

        Raises:
            ServiceFailed: if it ended, or took too long.
        """
        assert self.process is not None, "launch comes first"
        deadline, tries = time.monotonic() + UP_S, self.tries
        while True:
            if self.process.poll() is not None:
                if (tries := tries - 1) == 0:
                    raise self._failed(f"ended with {self.process.returncode}")
                self.kill()
                self.launch()
            with suppress(OSError):
                if self.healthy():
                    return
            if time.monotonic() > deadline:
                raise self._failed(f"is not up after {UP_S:.0f} s")
            time.sleep(0.2)

    def kill(self) -> None:
        """End all of it at once, as a machine that fails would."""
        self._sweep()

    def stop(self) -> None:
        """Ask it to end, and end what is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(DOWN_S)
        self._sweep()

    def _sweep(self) -> None:
        sweep(self.environment[WORLD], self.name)
        if self.process is not None:
            self.process.wait()

    def _failed(self, what: str) -> ServiceFailed:
        end = self.log.read_text(errors="replace").splitlines()[-15:]
        return ServiceFailed("\n".join([f"{self.name} {what}; the end of {self.log}:", *end]))


def group_of(user: str) -> int:
    """Primary group of a user."""
    return pwd.getpwnam(user).pw_gid


def members(world: str, service: str | None = None) -> Iterable[psutil.Process]:
    """Processes of a world, or of one service of it."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):  # another's, or gone
            continue
        if environment.get(WORLD) == world and service in (None, environment.get(SERVICE)):
            yield process


def sweep(world: str, service: str | None = None) -> None:
    """Kill every process of a world, or of one service of it, and see them gone."""
    while found := [each for each in members(world, service) if each.pid != os.getpid()]:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=5)
