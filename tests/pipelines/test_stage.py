"""What all stages share: outputs that are whole or not there, and one sentence where something is wrong."""

from pathlib import Path

import pytest

from pipelines.shared.stage import digest, exit_code, project_root, whole_folder, write_whole
from sim_models.config import BadInput


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data" / "er"


def write(folder: Path, name: str, error: BaseException | None = None) -> None:
    with whole_folder(folder) as partial:
        (partial / name).write_text(name)
        if error:
            raise error


def test_a_folder_takes_its_name_when_everything_is_in_it(out: Path) -> None:
    with whole_folder(out) as partial:
        (partial / "a").write_text("new")
        assert not out.exists()
    assert (out / "a").read_text() == "new"
    assert [path.name for path in out.parent.iterdir()] == ["er"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_folder_leaves_nothing(out: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write(out, "half", error())
    assert list(out.parent.iterdir()) == []


def test_the_old_folder_is_kept_until_the_new_one_is_whole(out: Path) -> None:
    for name in ("first", "second"):
        write(out, name)
    assert [path.name for path in out.iterdir()] == ["second"]
    with pytest.raises(ValueError, match="late"):
        write(out, "third", ValueError("late"))
    assert [path.name for path in out.iterdir()] == ["second"]


def test_what_a_killed_process_left_is_not_mixed_in(out: Path) -> None:
    partial = out.with_name(".er.partial")
    partial.mkdir(parents=True)
    (partial / "left over").write_text("")
    with whole_folder(out) as fresh:
        (fresh / "a").write_text("")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_a_text_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reports" / "metrics.json"
    write_whole(path, "first")

    def full_disk(partial: Path, _: str) -> None:
        partial.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "second")
    assert path.read_text() == "first"


def test_the_digest_sees_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "one").write_text("1")
    first = digest("settings", folder)
    assert digest("settings", folder) == first
    seen = {first, digest("other", folder)}
    (folder / "a" / "one").write_text("2")
    seen.add(digest("settings", folder))
    (folder / "a" / "one").rename(folder / "a" / "two")
    seen.add(changed := digest("settings", folder))
    assert len(seen) == 4
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("by Python")
    assert digest("settings", folder) == changed
    folder.rename(tmp_path / "elsewhere")
    assert digest("settings", tmp_path / "elsewhere") == changed


def failing(error: BaseException) -> int:
    def work() -> None:
        raise error

    return exit_code(work)


def test_what_went_well_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: None) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (BadInput("params.yaml: mend it"), 2, "error: params.yaml: mend it\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on\n"),
        (
            OSError(28, "No space left on device", "models/er"),
            2,
            "error: models/er: No space left on device\n",
        ),
        (PermissionError(13, "Permission denied", "x"), 2, "error: x: Permission denied\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, told: str
) -> None:
    assert failing(error) == code
    assert capsys.readouterr().err == told


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(AssertionError):
        failing(AssertionError("a bug"))


def test_the_root_is_that_of_the_dvc_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_root() == Path()
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert project_root() == Path("/somewhere")
