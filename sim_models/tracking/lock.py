"""One at a time: who changes the champion of a registered model waits for whoever does so now.

MLflow gives an alias to whoever asks last; it cannot give it on the condition that nobody else had it meanwhile. So
reading the champion, judging against it and giving the alias happen under a lock, one for each model:

* beside a local SQLite file, a lock of the operating system, which goes when its process dies;
* at a server, Lamport's bakery (1974) with one tag of the registered model for each that waits. It needs nothing but
  tags that are read as they were last written. A number drawn from a clock would not do: one that was drawn earlier
  may be written later, and two would hold the lowest. Tags of those that died count no more after `EXPIRES_S`, by the
  clocks of the machines, which must agree to some minutes.
"""

import fcntl
import getpass
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient

from sim_models.config import BadInput
from sim_models.tracking.runs import client_of

CLAIM = "sim.claim."
"""begins the tags by which those who wait at a server know each other"""
EXPIRES_S = 1800.0
"""age at which a tag counts no more"""
WAIT_S = 900.0
"""after which waiting ends with a sentence"""
TELL_S = 5.0
"""after which a person is told who is waited for"""
LOOK_S = 0.2
"""between two looks"""

StillMine = Callable[[], None]
"""raises BadInput where the lock was lost, as by a judge that took longer than a claim lives; to be asked before
anything is written"""


@contextmanager
def lock(uri: str, name: str) -> Iterator[StillMine]:
    """Hold the lock of the registered model `name`.

    Raises:
        BadInput: if another holds it for too long.
    """
    held = file_lock if uri.startswith("sqlite:") else claim
    with held(uri, name) as still_mine:
        yield still_mine


@contextmanager
def file_lock(uri: str, name: str) -> Iterator[StillMine]:
    """Hold a lock beside the SQLite file; what is written in it only tells others who that is."""
    path = Path(f"{urlsplit(uri).path.removeprefix('/')}.{name}.lock")
    with path.open("a+") as file:

        def taken() -> str | None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return path.read_text() or "another process"
            return None

        _wait(taken, name)
        file.truncate(0)
        file.write(_me())
        file.flush()
        try:
            yield lambda: None
        finally:
            file.truncate(0)


@contextmanager
def claim(uri: str, name: str) -> Iterator[StillMine]:
    """Hold the lock by a tag of the registered model, which must exist."""
    client, mine = client_of(uri), f"{CLAIM}{uuid.uuid4().hex}"

    def write(ticket: int) -> float:
        since = time.time()
        value = {"ticket": ticket, "who": _me(), "since": since}
        client.set_registered_model_tag(name, mine, json.dumps(value))
        return since

    def taken() -> str | None:
        return _ahead(_claims(client, name), mine)

    def refuse_unless(held: bool) -> None:
        if not held or mine not in _claims(client, name):
            raise BadInput(
                f"{name}: the lock was held for too long or was taken away, so nothing was changed; try again"
            )

    try:
        write(0)  # so that those after us wait until our number is known
        ticket = 1 + max((each["ticket"] for each in _claims(client, name).values()), default=0)
        write(ticket)
        _wait(taken, name)
        refuse_unless(True)  # a claim that expired while it waited must not come to life again
        since = write(ticket)  # the time it takes to be first is no time of holding
        yield lambda: refuse_unless(time.time() - since <= EXPIRES_S / 2)
    finally:
        # Where the server is gone, the tag expires.
        with suppress(Exception):
            client.delete_registered_model_tag(name, mine)


def _claims(client: MlflowClient, name: str) -> dict[str, Any]:
    """Claims that count."""
    tags = client.get_registered_model(name).tags
    claims = {key: json.loads(value) for key, value in tags.items() if key.startswith(CLAIM)}
    return {key: each for key, each in claims.items() if time.time() - each["since"] < EXPIRES_S}


def _ahead(claims: dict[str, Any], mine: str) -> str | None:
    """Who comes before `mine`, if anybody: a lower number, or one that is still being drawn."""
    if mine not in claims:
        return None  # expired while it waited; `claim` refuses it
    own = (claims[mine]["ticket"], mine)
    others = [(each["ticket"], key) for key, each in claims.items() if key != mine]
    first = min(others, default=own)
    return None if first >= own else str(claims[first[1]]["who"])


def _wait(taken: Callable[[], str | None], name: str) -> None:
    start, told = time.monotonic(), False
    while (who := taken()) is not None:
        waited = time.monotonic() - start
        if waited > WAIT_S:
            raise BadInput(
                f"{name}: {who} has been changing its champion for more than {WAIT_S / 60:.0f} minutes; "
                "wait for it to end, or end it, and try again"
            )
        if waited > TELL_S and not told:
            print(f"{name}: waiting for {who}, who is changing its champion", file=sys.stderr)
            told = True
        time.sleep(LOOK_S)


def user() -> str:
    """The name of whoever runs this, as the operating system has it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _me() -> str:
    return f"{user()}@{socket.gethostname()} (process {os.getpid()})"
