"""What is uploaded: what git knows, nothing secret, nothing large, nothing from elsewhere."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cluster.leaks import by_name, in_content
from pipelines.cluster.upload import MB, RECORD, code_digest, list_upload, never
from sim_models.config import BadInput, Refused

# Made of two halves, so that this file itself holds nothing that looks like one.
AWS_KEY = "AKIA" + "QWERTYUIOPASDFGH"
AWS_SECRET = "aws_secret_access_key = " + "wJalrXUtnFEMI7K4MDENG1bPxRfiCYzPq0lKmN2s"
PRIVATE_KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"
TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
PASSWORD = "postgresql://mlflow:" + "Tr0ub4dor" + "@db/mlflow"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository like ours: code, settings of DVC, much data that git ignores, private settings."""
    root = tmp_path / "tree"
    for name, text in {
        ".gitignore": "/data/\n/mlruns/\n*.db\n",
        ".dvc/config": "[core]\n    remote = lab\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        "dvc.yaml": "stages: {}\n",
        "sim_models/__init__.py": "",
        "pipelines/train.py": "print('train')\n",
    }.items():
        write(root / name, text)
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    write(root / ".dvc" / "config.local", "[remote]\n    password = hush\n")
    write(root / ".dvc" / "cache" / "aa" / "bb", "x" * 100_000)
    write(root / "data" / "raw.bin", "x" * 3_000_000)
    write(root / "mlflow.db", "x")
    write(root / "mlruns" / "artifact", "x")
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout


def test_only_what_git_knows_travels(tree: Path) -> None:
    upload = list_upload(tree)
    assert upload.files == (
        ".dvc/.gitignore", ".dvc/config", ".gitignore", "dvc.yaml", "pipelines/train.py", "sim_models/__init__.py",
    )  # fmt: skip
    said = "\n".join(upload.lines(100))
    assert "6 files, 0.0 MB of at most 100 MB; working tree: clean at" in said
    assert "data (3.0 MB)" in said
    assert ".git (" in said
    assert ".dvc/config.local" in said


def test_the_working_tree_travels_as_it_is(tree: Path, tmp_path: Path) -> None:
    write(tree / "pipelines" / "train.py", "print('changed')\n")
    write(tree / "pipelines" / "new.py", "")
    (tree / "dvc.yaml").unlink()
    upload = list_upload(tree)
    assert "dvc.yaml" not in upload.files
    assert upload.untracked == ("pipelines/new.py",)
    assert upload.version.dirty
    assert "changed since" in upload.lines(100)[0]
    upload.copy(tmp_path / "copy")
    assert (tmp_path / "copy" / "pipelines" / "train.py").read_text() == "print('changed')\n"
    record = json.loads((tmp_path / "copy" / RECORD).read_text())
    assert record["commit"] == git(tree, "rev-parse", "HEAD").strip()
    assert record["dirty"] is True
    assert record["code"] == code_digest(tmp_path / "copy")


def test_what_is_private_stays_even_if_git_knows_it(tree: Path) -> None:
    git(tree, "add", "-f", ".dvc/config.local", "data/raw.bin", "mlruns/artifact")
    assert not any(never(name) for name in list_upload(tree).files)
    assert ".dvc/config.local" not in list_upload(tree).files


def test_extras_travel_but_not_what_stays_always(tree: Path) -> None:
    write(tree / "build" / "table.csv", "1,2\n")
    assert "build/table.csv" not in list_upload(tree).files
    assert "build/table.csv" in list_upload(tree, ["build"]).files
    for forbidden in (".dvc/config.local", "data", ".git"):
        with pytest.raises(BadInput, match="stays here always"):
            list_upload(tree, [forbidden])
    with pytest.raises(BadInput, match="does not exist"):
        list_upload(tree, ["../elsewhere"])


def test_more_than_the_limit_is_refused(tree: Path) -> None:
    write(tree / "big.bin", "x" * 2 * MB)
    git(tree, "add", "big.bin")
    upload = list_upload(tree)
    upload.refuse_large(3)
    with pytest.raises(
        Refused, match=r"more than the limit of 1 MB; the largest files are big.bin \(2.0 MB\)"
    ):
        upload.refuse_large(1)


@pytest.mark.parametrize("secret", [AWS_KEY, AWS_SECRET, PRIVATE_KEY, TOKEN, PASSWORD])
def test_a_secret_is_named_and_not_shown(tree: Path, secret: str) -> None:
    write(tree / "notes.md", f"first\nsecond {secret}\n")
    git(tree, "add", "notes.md")
    with pytest.raises(Refused) as refused:
        list_upload(tree).refuse_secrets({})
    assert "notes.md, line 2" in str(refused.value)
    assert secret not in str(refused.value)
    assert secret.split()[-1].split(":")[-1] not in str(refused.value)
    write(tree / "notes.md", f"second {secret}  # pragma: allowlist secret\n")
    list_upload(tree).refuse_secrets({})


def test_what_the_environment_keeps_secret_is_found_whatever_it_looks_like(tree: Path) -> None:
    write(tree / "notes.md", "the word is open sesame now\n")
    git(tree, "add", "notes.md")
    list_upload(tree).refuse_secrets({})
    with pytest.raises(Refused, match="the value of MLFLOW_TRACKING_PASSWORD") as refused:
        list_upload(tree).refuse_secrets({"MLFLOW_TRACKING_PASSWORD": "open sesame"})
    assert "open sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "name", [".env", "a/.env.production", "id_ed25519", "x/.netrc", "home/.aws/credentials"]
)
def test_files_that_hold_secrets_are_known_by_name(tree: Path, name: str) -> None:
    write(tree / name, "nothing to see\n")
    git(tree, "add", "-f", name)
    with pytest.raises(Refused, match=name):
        list_upload(tree).refuse_secrets({})


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['PASSWORD']",
        "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it}",
        "token = tokenizer.encode_plus_2(text)",
        "md5: 0cc175b9c0f1b6a831c399e269772661",
        "postgresql://mlflow:${PASSWORD}@db/mlflow",
        "http://user:password@host",
        "AWS_ACCESS_KEY_ID=changeme",
        "secret_key: str = 'a sentence of several words'",
    ],
)
def test_what_is_no_secret_is_let_through(line: str) -> None:
    assert list(in_content("file", line.encode(), {})) == []


def test_a_template_of_an_environment_is_no_secret() -> None:
    assert by_name("infra/.env.example") is None


def test_our_own_tree_holds_no_secret(repository: Path) -> None:
    list_upload(repository).refuse_secrets({})


@pytest.fixture
def link(tree: Path) -> Callable[[str, str], None]:
    """Makes a link that git knows."""

    def make(name: str, target: str) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
        git(tree, "add", "-f", name)

    return make


def test_links_inside_travel_as_what_they_lead_to(
    tree: Path, tmp_path: Path, link: Callable[[str, str], None]
) -> None:
    link("studies/one/dvc.yaml", "../../dvc.yaml")
    link("rooms", "pipelines")
    upload = list_upload(tree)
    assert {"studies/one/dvc.yaml", "rooms/train.py"} <= set(upload.files)
    upload.copy(tmp_path / "copy")
    assert (tmp_path / "copy" / "studies" / "one" / "dvc.yaml").read_text() == "stages: {}\n"
    assert not any(path.is_symlink() for path in (tmp_path / "copy").rglob("*"))


@pytest.mark.parametrize("target", ["/etc/hostname", "../../elsewhere", "data/raw.bin", "."])
def test_links_that_lead_elsewhere_are_refused(
    tree: Path, link: Callable[[str, str], None], target: str
) -> None:
    link("linked", target)
    with pytest.raises(Refused, match="linked: is a link"):
        list_upload(tree)


def test_without_git_there_is_no_upload(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="git does not say what is uploaded"):
        list_upload(tmp_path)
