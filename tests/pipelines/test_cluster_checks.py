"""What is looked at before a job: each thing that may be wrong is found, quickly, and said in one sentence."""

import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.cluster.checks import (
    Check,
    Expected,
    Node,
    answers,
    clear_token,
    from_json,
    judge,
    look,
    pullable,
    to_json,
    write_token,
)
from pipelines.cluster.upload import code_digest
from pipelines.shared.dvc_command import dvc
from sim_models.config import BadInput

TORCH = version("torch").split("+")[0]
TOKEN = "of-this-test"


@pytest.fixture
def expected(repository: Path, tmp_path: Path) -> Expected:
    """All is well, with storage of its own."""
    return Expected(code_digest(repository), TORCH, str(tmp_path / "storage"), TOKEN)


@pytest.fixture
def see(expected: Expected) -> Callable[..., Node]:
    """What a node finds that sees the head's storage at `folder`."""

    def seen(folder: Path | None = None, ask: Callable[[], None] = lambda: None, **changes: str) -> Node:
        given = {"code": expected.code, "torch": expected.torch, "token": TOKEN, **changes}
        return look(Expected(storage=str(folder or expected.storage), **given), 0, ask)

    return seen


def test_all_is_well(expected: Expected, see: Callable[..., Node]) -> None:
    storage = Path(str(expected.storage))
    assert write_token(storage, TOKEN) is None
    node = see()
    checks = judge({"one": node, "two": node}, expected, None, 2)
    assert [check.ok for check in checks] == [True] * 5
    assert checks[2].line == f"[ok] torch: {version('torch')}, CPU on 2 of 2 nodes"
    assert answers(storage, TOKEN) == 1
    clear_token(storage, TOKEN)
    assert list(storage.iterdir()) == []


def test_folders_that_are_not_shared_are_found(
    expected: Expected, see: Callable[..., Node], tmp_path: Path
) -> None:
    """Both exist, under one name on each machine, and are two."""
    write_token(Path(str(expected.storage)), TOKEN)
    (tmp_path / "other").mkdir()
    nodes = {"one": see(), "two": see(tmp_path / "other")}
    storage = judge(nodes, expected, None, 1)[-1]
    assert not storage.ok
    assert "two: does not see what the head wrote" in storage.sentence
    assert "mount one folder on all nodes" in storage.sentence


def test_a_folder_that_nodes_read_but_do_not_write_back_is_found(
    expected: Expected, see: Callable[..., Node]
) -> None:
    write_token(Path(str(expected.storage)), TOKEN)
    storage = judge({"one": see(), "two": see()}, expected, None, 1)[-1]
    assert storage.line.startswith("[failed] storage: ")
    assert "the head sees 1 of 2 answers" in storage.sentence


def test_storage_that_cannot_be_written_is_found(expected: Expected, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reason = write_token(tmp_path / "file", TOKEN)
    assert reason is not None
    assert "the head cannot write in" in reason


def test_several_nodes_need_storage(see: Callable[..., Node]) -> None:
    alone = Expected("", TORCH, None, TOKEN)
    node = Node("one", None, None, "2.13.0, CPU", None, None)
    assert judge({"one": node}, alone, None, 0)[-1].ok
    storage = judge({"one": node, "two": node}, alone, None, 0)[-1]
    assert not storage.ok
    assert "--storage, or SIM_MODELS_STORAGE" in storage.sentence
    # A head that works on nothing itself: the nodes that will are not there yet.
    assert not judge({"one": node}, alone, None, 0, works=False)[-1].ok


def test_no_password_is_told(expected: Expected, see: Callable[..., Node]) -> None:
    def fail() -> None:
        raise RuntimeError("postgresql://lab:secret@db/mlflow is gone")

    node = see(ask=fail)
    assert node.tracking == "RuntimeError: postgresql://db/mlflow is gone"


def test_a_wrong_server_is_found_in_seconds(
    see: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, expected: Expected
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    from sim_models.tracking.reach import reach

    begun = time.monotonic()
    node = see(ask=reach)
    assert time.monotonic() - begun < 10
    assert node.tracking is not None
    assert "no MLflow server answers" in node.tracking
    assert not judge({"one": node, "two": node}, expected, None, 2)[3].ok


def test_a_server_that_answers_is_reached(mlflow_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim_models.tracking.reach import reach

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_root}/mlflow.db")
    reach()


def test_nodes_with_the_same_trouble_are_told_together(expected: Expected, see: Callable[..., Node]) -> None:
    def refuse() -> None:
        raise BadInput("MLflow at http://mlflow refuses (401)")

    node = see(ask=refuse)
    tracking = judge({"one": node, "two": node, "three": see()}, expected, None, 3)[3]
    assert tracking.line == "[failed] tracking: one, two: MLflow at http://mlflow refuses (401)"


def test_other_code_and_another_torch_are_found(see: Callable[..., Node]) -> None:
    node = see(code="other", torch="1.0.0")
    assert node.code is not None
    assert "is not what was uploaded" in node.code
    assert node.torch is not None
    assert "requirements.lock asks for 1.0.0" in node.torch


def test_gpus_that_torch_does_not_see_are_found(expected: Expected) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    assert "has 8 GPUs" in str(look(expected, 8, lambda: None).torch)


def test_a_node_that_does_not_answer_is_found(expected: Expected, see: Callable[..., Node]) -> None:
    checks = judge({"one": see(), "two": "nothing within 90 s"}, expected, None, 1)
    assert checks[0].line == "[failed] nodes: two does not answer (nothing within 90 s)"


def test_checks_travel_as_a_line() -> None:
    checks = [Check("data", False, 'a "quoted"\nreason')]
    assert "\n" not in to_json(checks)
    assert from_json(to_json(checks)) == checks


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Data of its own, a stage that makes something of it, and a remote."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = True\n    remote = lab\n['remote \"lab\"']\n    url = {tmp_path / 'remote'}\n"
    )
    (root / "raw.txt").write_text("raw")
    (root / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: cat raw.txt raw.txt > one.txt\n    deps: [raw.txt]\n    outs: [one.txt]\n"
        "  two:\n    cmd: cat one.txt one.txt > two.txt\n    deps: [one.txt]\n    outs: [two.txt]\n"
    )
    assert dvc(["add", "-q", "raw.txt"], root, show=False).code == 0
    assert dvc(["repro", "-q"], root, show=False).code == 0
    return root


@pytest.fixture
def elsewhere(project: Path, tmp_path: Path) -> Callable[[], Path]:
    """The project as it was uploaded: without data and cache."""

    def copy() -> Path:
        target = tmp_path / "elsewhere"
        (target / ".dvc").mkdir(parents=True)
        for name in (".dvc/config", "dvc.yaml", "dvc.lock", "raw.txt.dvc"):
            (target / name).write_text((project / name).read_text())
        return target

    return copy


def test_data_in_the_remote_can_be_pulled(project: Path, elsewhere: Callable[[], Path]) -> None:
    assert dvc(["push", "-q"], project, show=False).code == 0
    check = pullable(elsewhere(), ["two"])
    assert check.line == "[ok] data: 3 of what the stage and those before it make can be pulled"


def test_what_stages_make_may_be_missing_but_not_what_none_makes(
    project: Path, elsewhere: Callable[[], Path]
) -> None:
    copy = elsewhere()
    check = pullable(copy, ["two"])
    assert not check.ok
    assert "the remote lacks raw.txt, and no stage makes it; run dvc push" in check.sentence
    assert dvc(["push", "-q", "raw.txt.dvc"], project, show=False).code == 0
    check = pullable(copy, ["two"])
    assert check.ok
    assert "2 will be computed (one.txt, two.txt)" in check.sentence


def test_no_remote_is_found(elsewhere: Callable[[], Path]) -> None:
    copy = elsewhere()
    (copy / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    check = pullable(copy, ["two"])
    assert check.line.startswith("[failed] data: DVC's remote does not answer")
