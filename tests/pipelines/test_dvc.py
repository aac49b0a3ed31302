"""`dvc.yaml`: it resolves, what its stages watch exists, and they watch all that can change what they write."""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from pipelines.shared.params import Params, read_params

STUDIES = (".", "studies/recipes", "studies/own_stacks")
"""the second has derived fields, and recipes of every network and method; the third a dataset"""

LIST_STAGES = """
import json, os, sys
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

with Repo('.') as repo:
    found = {}
    for stage in repo.stage.collect('dvc.yaml'):
        code = [each for each in stage.deps if not isinstance(each, ParamsDependency)]
        settings = [each for each in stage.deps if isinstance(each, ParamsDependency)]
        found[stage.addressing.split(':')[-1]] = {
            'cmd': stage.cmd,
            'deps': [os.path.relpath(each.fs_path, sys.argv[1]) for each in code],
            'params': [key for each in settings for key in each.params],
            'outs': [os.path.relpath(out.fs_path, sys.argv[1]) for out in stage.outs],
        }
print(json.dumps(found))
"""


@cache
def stages_of(repository: Path, study: str) -> dict[str, dict[str, Any]]:
    """Every stage of a study as DVC sees it, its variables filled in, with paths from the repository."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIST_STAGES, str(repository)],
        cwd=repository / study,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def resolved(repository: Path) -> dict[str, dict[str, Any]]:
    """The stages of the study in the repository's own folder."""
    return stages_of(repository, ".")


def test_there_is_a_stage_for_every_structure_model_and_transfer(
    repository: Path, resolved: dict[str, Any]
) -> None:
    params = read_params(repository / "params.yaml")
    expected = {
        *(f"{stage}@{key}" for stage in ("simulate", "prepare") for key in params.structures),
        *(f"bring_in@{key}" for key in params.datasets),
        *(f"derive@{key}" for key in params.derived),
        *(
            f"{stage}@{key}"
            for stage in ("train", "evaluate-model", "register-model")
            for key in params.models
        ),
        *(
            f"{stage}@{key}"
            for stage in ("transfer", "evaluate-transfer", "register-transfer")
            for key in params.transfers
        ),
        *(f"carry@{source}-{target}" for source in params.matrix.sources for target in params.matrix.targets),
        "matrix",
        "report",
    }
    assert set(resolved) == expected


def test_code_that_stages_watch_exists(repository: Path, resolved: dict[str, Any]) -> None:
    made = {out for stage in resolved.values() for out in stage["outs"]}
    for name, stage in resolved.items():
        for dependency in stage["deps"]:
            under_an_output = any(out == dependency or out.startswith(f"{dependency}/") for out in made)
            assert under_an_output or (repository / dependency).exists(), f"{name}: {dependency}"


def test_commands_are_stages_that_watch_their_own_file(repository: Path, resolved: dict[str, Any]) -> None:
    for name, stage in resolved.items():
        python, dash_m, module = stage["cmd"].split()[:3]
        assert (python, dash_m) == ("python", "-m")
        file = module.replace(".", "/") + ".py"
        assert (repository / file).exists()
        assert file in stage["deps"], name


def test_what_came_before_is_watched(repository: Path, resolved: dict[str, Any]) -> None:
    """A model is trained anew when its data change, and carried, scored and registered anew when it does."""
    params = read_params(repository / "params.yaml")
    for name, stage in resolved.items():
        kind, _, key = name.partition("@")
        of_model, of_transfer = kind.endswith("-model"), kind.endswith("-transfer")
        expected = set()
        if kind == "train" or of_model:
            expected.add(f"data/fields/{params.model(key).structure}")
        if kind == "transfer" or of_transfer:
            expected.add(f"data/fields/{params.transfer(key).structure}")
        if kind == "transfer":
            expected.add(f"models/{params.transfer(key).source}")
        if of_model:
            expected.add(f"models/{key}")
        if of_transfer:
            expected.add(f"transfers/{key}")
        if kind.startswith("register-"):
            expected.add(f"reports/{'models' if of_model else 'transfers'}/{key}/details")
        if kind == "register-transfer":
            expected.add(f"reports/registered/{params.transfer(key).source}.json")
        assert expected <= set(stage["deps"]), name


# ---- code that can change a result


BESIDE = {
    "sim_models": "holds nothing",
    "sim_models.config": "refuses settings; those it lets through are what stands in params.yaml, which is watched",
    "pipelines.shared.params": "the same",
    "pipelines.shared.stage": "where things lie, and that they appear whole or not at all",
    "pipelines.shared.side_by_side": "on which processor something is computed, and it is the same on each",
    "pipelines.shared.logbook": "tells MLflow of a study, of which no file of a stage is made",
    "sim_models.tracking": "tells MLflow of a result; what is registered depends on it, and watches all",
    "sim_models.onnx_network": "of compressed models, and no stage makes or uses one",
}
"""module or room -> why it cannot change what any stage writes; nothing is looked for behind it"""

PICTURES = "pictures of validation cells for MLflow, drawn after the weights are written"
READ_BEFORE = (
    "`prepare` has read and written every field by it: had it read otherwise, the fields would differ"
)
OF_TRANSFERS = (
    "one file opens the test cells of models and of transfers; this is what it needs for the latter"
)

DRAWN_BEFORE = "draws and images what `prepare` is given"

BESIDE_IN = {
    "prepare": {f"sim_models.sources.{part}": DRAWN_BEFORE for part in ("drawing", "objects", "simulation")},
    **{
        kind: {"sim_models.images": READ_BEFORE, "sim_models.sources.checks": READ_BEFORE}
        for kind in ("train", "transfer", "carry", "evaluate-model", "evaluate-transfer")
    },
    "report": {"pipelines.registry": "the type of what `register` wrote; nobody is judged here"},
}
"""kind of stage -> the same, of that kind alone"""
for _kind in ("train", "transfer"):
    BESIDE_IN[_kind] |= {f"sim_models.evaluation.{part}": PICTURES for part in ("panels", "scores")}
BESIDE_IN["evaluate-model"] |= dict.fromkeys(
    ("sim_models.transfer", "pipelines.shared.numbers"), OF_TRANSFERS
)

NETWORKS, METHODS = "sim_models.networks", "sim_models.methods"
OBJECTS, SERIES = "sim_models.sources.objects", "sim_models.sources.series"
ROOMS = (NETWORKS, METHODS, OBJECTS, SERIES)
"""rooms whose files are chosen by name, and so imported by none by theirs"""


@dataclass(frozen=True)
class Code:
    """What a stage runs, as far as imports tell."""

    graph: grimp.ImportGraph
    stage: str
    params: Params

    @property
    def kind(self) -> str:
        return self.stage.partition("@")[0]

    def reached(self, module: str) -> dict[str, str]:
        """Every module of ours that a stage's module may call, and by which way it is reached."""
        beside = {**BESIDE, **BESIDE_IN.get(self.kind, {})}
        ways: dict[str, str] = {}
        ahead = [(name, name) for name in (module, *self._chosen())]
        while ahead:
            name, way = ahead.pop()
            if name in ways or any(_is_in(name, room) for room in beside):
                continue
            ways[name] = way
            ahead += [(each, f"{way} > {each}") for each in self._behind(name)]
        return ways

    def _chosen(self) -> tuple[str, ...]:
        """What a stage finds by a name in params.yaml."""
        key = self.stage.partition("@")[2]
        if self.kind == "simulate":
            return SERIES, f"{OBJECTS}.{self.params.structure(key).objects.name}"
        if self.kind == "prepare":
            return (SERIES,)
        if self.kind == "train":
            recipe = self.params.model(key).recipe.in_full()
            return f"{NETWORKS}.{recipe.network.name}", f"{METHODS}.{recipe.method.name}"
        return ()

    def _behind(self, name: str) -> set[str]:
        known_by_name = {"simulate": (OBJECTS,), "prepare": (OBJECTS,), "train": (NETWORKS, METHODS)}
        found = set(self.graph.find_modules_directly_imported_by(name))
        if name in ROOMS and name not in known_by_name.get(self.kind, ()):
            found |= set(self.graph.find_children(name))
        return found


def _is_in(module: str, room: str) -> bool:
    return module == room or (room != "sim_models" and module.startswith(f"{room}."))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sim_models", "pipelines", cache_dir=None)


@pytest.fixture(params=STUDIES)
def codes(
    request: pytest.FixtureRequest, repository: Path, graph: grimp.ImportGraph
) -> list[tuple[Code, dict[str, Any]]]:
    """The stages of a study, with what they watch."""
    params = read_params(repository / request.param / "params.yaml")
    stages = stages_of(repository, request.param)
    return [(Code(graph, name, params), stage) for name, stage in stages.items()]


def test_every_kind_of_stage_is_looked_at(repository: Path) -> None:
    kinds = {name.partition("@")[0] for study in STUDIES for name in stages_of(repository, study)}
    assert kinds == set(yaml.safe_load((repository / "dvc.yaml").read_text())["stages"])


def test_stages_watch_all_code_that_can_change_what_they_write(
    repository: Path, codes: list[tuple[Code, dict[str, Any]]]
) -> None:
    unwatched = {
        (code.kind, name): way
        for code, stage in codes
        for name, way in code.reached(_module(stage)).items()
        if not _watched(_file(repository, name), stage["deps"])
    }
    assert not unwatched, _listed(unwatched)


def test_a_recipe_is_watched_by_its_name(codes: list[tuple[Code, dict[str, Any]]]) -> None:
    for code, stage in codes:
        if code.kind == "train":
            recipe = code.params.model(code.stage.partition("@")[2]).recipe
            assert f"sim_models/recipes/{recipe.named}.yaml" in stage["deps"]


def test_a_training_does_not_wait_for_what_tells_of_it(codes: list[tuple[Code, dict[str, Any]]]) -> None:
    """What changes often and only words must not train anything again, nor open test cells."""
    words = (
        "pipelines/page",
        "pipelines/report.py",
        "sim_models/tracking",
        "sim_models/evaluation/report.py",
    )
    for code, stage in codes:
        if code.kind in ("train", "transfer"):
            assert [word for word in words if _watched(Path(word), stage["deps"])] == [], code.stage


def _module(stage: Mapping[str, Any]) -> str:
    return str(stage["cmd"].split()[2])


def _file(repository: Path, module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (repository / path).is_dir() else path.with_suffix(".py")


def _watched(file: Path, dependencies: Iterable[str]) -> bool:
    return any(str(each) in dependencies for each in (file, *file.parents))


def _listed(missing: Mapping[tuple[str, str], str]) -> str:
    return "\n" + "\n".join(f"{kind} does not watch {what}: {way}" for (kind, what), way in missing.items())


# ---- settings that can change a result


BESIDE_PARAMS = {
    "train": {"study": "the name of MLflow's experiment", "evaluation": PICTURES},
    "transfer": {"study": "the name of MLflow's experiment"},
    "carry": {"study": "the name of MLflow's experiment"},
    "evaluate-model": {"study": "the name of MLflow's experiment", "transfers": OF_TRANSFERS},
    "evaluate-transfer": {
        "study": "the name of MLflow's experiment",
        "models": "the same the other way round",
    },
    "register-model": {"transfers": "one file registers models and transfers"},
    "register-transfer": {"models": "one file registers models and transfers"},
}
"""kind of stage -> section of params.yaml that its code reads -> why that cannot change what it writes"""


def test_stages_watch_the_settings_they_read(
    repository: Path, codes: list[tuple[Code, dict[str, Any]]]
) -> None:
    unwatched = {
        (code.kind, section): way
        for code, stage in codes
        for name, way in code.reached(_module(stage)).items()
        for section in _sections_read(repository, name)
        if section not in {key.split(".")[0] for key in stage["params"]}
        and section not in BESIDE_PARAMS.get(code.kind, {})
    }
    assert not unwatched, _listed(unwatched)


@cache
def _sections_read(repository: Path, module: str) -> frozenset[str]:
    """Sections of params.yaml that a module, or a template of its room, reads from what it calls `params`."""
    if not module.startswith("pipelines."):
        return frozenset()
    file = repository / _file(repository, module)
    named = {
        node.attr
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and _is_params(node.value)
    }
    for template in (file.parent / "templates").glob("*.html"):
        named |= set(re.findall(r"\bparams\.(\w+)", template.read_text()))
    return frozenset().union(*map(_sections_behind, named))


def _is_params(node: ast.expr) -> bool:
    """`params`, `something.params` or `read_params()`."""
    match node:
        case ast.Name(id="params") | ast.Attribute(attr="params"):
            return True
        case ast.Call(func=ast.Name(id="read_params")):
            return True
    return False


@cache
def _sections_behind(name: str) -> frozenset[str]:
    """A section itself, or those that a method of `Params` reads."""
    if name in Params.model_fields:
        return frozenset({name})
    method: Callable[..., Any] | None = vars(Params).get(name)
    if method is None:
        return frozenset()
    return frozenset().union(*map(_sections_behind, re.findall(r"\bself\.(\w+)", inspect.getsource(method))))
