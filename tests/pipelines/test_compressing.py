"""`sim-models compress`: a smaller model that restores nearly the same, or one sentence and nothing at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.own_files import compressing
from sim_models.config import BadInput
from sim_models.field import Field
from sim_models.images import read, write_ome
from sim_models.onnx_network import OnnxNetwork
from sim_models.restorer import GRAPH, SETTINGS, Restorer

Run = Callable[..., Any]


@pytest.fixture
def model(restorer: Restorer, tmp_path: Path) -> Path:
    head = restorer.network.get_parameter("head.0.weight")  # of zeros, before training
    torch.nn.init.normal_(head.data, std=0.3, generator=torch.Generator().manual_seed(0))
    restorer.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def stacks(make_field: Callable[..., Field], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"stack{cell}.ome.tif" for cell in range(4)]
    for cell, path in enumerate(paths):
        write_ome(path, make_field(cell).image("raw"), "APYX", 0.065, {}, path.name)
    return paths


@pytest.fixture
def references(make_field: Callable[..., Field], stacks: list[Path]) -> list[str | Path]:
    """As options of the command line."""
    options: list[str | Path] = []
    for cell, stack in enumerate(stacks):
        path = stack.with_name(f"reference{cell}.ome.tif")
        write_ome(path, make_field(cell).image("reference"), "YX", 0.0325, {}, path.name)
        options += ["--references", path]
    return options


def test_int8(
    run: Run, model: Path, stacks: list[Path], references: list[str | Path], tmp_path: Path
) -> None:
    out = tmp_path / "small"
    done = run("compress", model, *stacks, *references, "-o", out, "--int8", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["judged"]["criterion"] == "loss_db"
    assert said["judged"]["value"] <= said["judged"]["limit"] == 0.2
    assert (said["judged"]["stacks"], said["judged"]["held_out"]) == (2, True)
    assert all(said[when]["ms_per_megapixel"] > 0 for when in ("before", "after"))
    assert sorted(file.name for file in out.iterdir()) == [GRAPH, SETTINGS]
    whole, small = Restorer.load(model), Restorer.load(out)
    assert small.compression is not None
    assert small.compression.parent == whole.weights_sha256
    assert isinstance(small.network, OnnxNetwork)
    stack = read(stacks[0]).data
    assert np.std(small(stack) - whole(stack)) < 0.02 * np.ptp(whole(stack))


def test_pruned_and_whole_numbers(run: Run, model: Path, stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "small"
    words = ["--int8", "--prune", "0.3", "--recover-steps", "10", "--min-fidelity-db", "5"]
    done = run("compress", model, *stacks, "-o", out, *words)
    assert done.code == 0, done.err
    assert "PSNR against the float model" in done.out
    assert "2 stacks kept aside" in done.out
    small = Restorer.load(out)
    assert small.network.num_parameters < 0.7 * Restorer.load(model).network.num_parameters
    assert run("compress", model, *stacks, "-o", out, *words).code == 0  # one of ours may be replaced


def test_what_is_compressed_restores_like_any_other(
    run: Run, model: Path, stacks: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "small"
    assert run("compress", model, *stacks, "-o", out, "--int8", "--min-fidelity-db", "20").code == 0
    done = run("restore", stacks[0], "--model", out, "-o", tmp_path / "image.tif", "--tile", 16)
    assert done.code == 0, done.err
    small = Restorer.load(out)
    assert read(tmp_path / "image.tif").metadata["weights_sha256"] == small.weights_sha256
    small.save(tmp_path / "again")
    for name in (GRAPH, SETTINGS):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    refused = run("compress", out, *stacks, "-o", tmp_path / "smaller", "--int8")
    assert refused.code == 2
    assert "is compressed already" in refused.err


def test_a_graph_that_was_changed_is_refused(
    run: Run, model: Path, stacks: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "small"
    assert run("compress", model, *stacks, "-o", out, "--int8", "--min-fidelity-db", "20").code == 0
    content = bytearray((out / GRAPH).read_bytes())
    content[len(content) // 2] ^= 1
    (out / GRAPH).write_bytes(content)
    with pytest.raises(BadInput, match=r"network.onnx: its SHA-256 is .* but restorer.json says"):
        Restorer.load(out)
    (out / GRAPH).unlink()
    with pytest.raises(BadInput, match=r"network.onnx: cannot be read"):
        Restorer.load(out)


def test_what_loses_too_much_is_not_written(
    run: Run, model: Path, stacks: list[Path], tmp_path: Path
) -> None:
    done = run("compress", model, *stacks, "-o", tmp_path / "small", "--prune", "0.9", "--recover-steps", "0")
    assert done.code == 2
    assert "dB of PSNR against the float model on the worst of 2 stacks, but at least 40 dB" in done.err
    assert "nothing is written" in done.err
    assert not (tmp_path / "small").exists()


def test_a_lone_stack_is_told(run: Run, model: Path, stacks: list[Path], tmp_path: Path) -> None:
    done = run("compress", model, stacks[0], "-o", tmp_path / "small", "--int8", "--min-fidelity-db", "20")
    assert done.code == 0, done.err
    assert "warning: there is one stack only" in done.err
    assert "kept aside" not in done.out


@pytest.mark.parametrize(
    ("megabytes", "times", "said"),
    [
        (
            0.0,
            (1.0, 2.0),
            "warning: the compressed model is no faster on this machine; what it gains is size",
        ),
        (1.0, (2.0, 1.0), "warning: the compressed model is no smaller; what it gains is speed"),
        (
            1.0,
            (1.0, 1.0),
            "error: the compressed model gains nothing: 1.00 -> 1.00 MB, and 1 -> 1 ms per megapixel",
        ),
    ],
)
def test_what_it_does_not_gain_is_told(
    run: Run,
    model: Path,
    stacks: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    megabytes: float,
    times: tuple[float, float],
    said: str,
) -> None:
    monkeypatch.setattr(compressing, "milliseconds", lambda *_: times)
    monkeypatch.setattr(
        compressing, "_megabytes", lambda made: megabytes if isinstance(made.network, OnnxNetwork) else 1.0
    )
    done = run("compress", model, *stacks, "-o", tmp_path / "small", "--int8", "--min-fidelity-db", "20")
    assert said in done.err
    refused = said.startswith("error")
    assert done.code == (2 if refused else 0)
    assert (tmp_path / "small").exists() != refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing is asked for; say --int8, or --prune"),
        (["--prune", "1.5"], "--prune 1.5: is a share of the channels, above 0 and below 1"),
        (["--prune", "0"], "--prune 0: is a share"),
        (["--prune", "nan"], "--prune nan: is a share"),
        (["--prune", "0.01"], "less than one channel of any layer"),
        (["--int8", "--recover-steps", "-1"], "--recover-steps not below 0"),
        (["--int8", "--max-loss-db", "-1"], "options: max_loss_db"),
        (["--int8", "--max-loss-db", "nan"], "options: max_loss_db"),
        (["--int8", "--tile", "1"], "--tile must be at least 16"),
        (["--int8", "--references", "nowhere.tif"], "1 references are given for 4 files"),
    ],
)
def test_nonsense_is_refused(
    run: Run, model: Path, stacks: list[Path], tmp_path: Path, words: list[str], said: str
) -> None:
    done = run("compress", model, *stacks, "-o", tmp_path / "small", *words)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "small").exists()


def test_stacks_that_do_not_fit_are_refused(
    run: Run, model: Path, stacks: list[Path], make_field: Callable[..., Field], tmp_path: Path
) -> None:
    out = ["-o", tmp_path / "small", "--int8"]
    assert "is given twice" in run("compress", model, stacks[0], stacks[0], *out).err
    assert "nowhere.tif" in run("compress", model, "nowhere.tif", *out).err
    write_ome(tmp_path / "six.tif", make_field(0).image("raw")[:2], "APYX", 0.065, {}, "six")
    assert "the model restores stacks of 9 frames" in run("compress", model, tmp_path / "six.tif", *out).err
    refused = run("compress", model, stacks[0], *out, "--references", stacks[1])
    assert "but the model makes 64 x 64" in refused.err
    assert refused.code == 2
    assert not (tmp_path / "small").exists()


def test_a_folder_of_others_is_not_replaced(
    run: Run, model: Path, stacks: list[Path], restorer: Restorer, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    restorer.save(other)
    assert (
        "no compressed model that could be replaced"
        in run("compress", model, *stacks, "-o", other, "--int8").err
    )
    assert "is the model itself" in run("compress", model, *stacks, "-o", model, "--int8").err
    assert "is no folder" in run("compress", model, *stacks, "-o", tmp_path / "no" / "such", "--int8").err
    assert Restorer.load(other).weights_sha256 == replace(restorer).weights_sha256
