"""The manifests, against the schemas of Kubernetes, and against what else is in this repository."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

Manifest = dict[str, Any]
VERSIONS = ["1.33", "1.37"]
# KubeRay publishes its schemas in no package; these are the names that its API reference (1.6) gives.
CLUSTER_SPEC = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
CLUSTER_SPEC |= {"workerGroupSpecs"}
HEAD_GROUP = {"rayStartParams", "template"}
WORKER_GROUP = HEAD_GROUP | {"groupName", "replicas", "minReplicas", "maxReplicas"}
JOB_SPEC = {"clusterSelector", "entrypoint", "runtimeEnvYAML", "backoffLimit", "activeDeadlineSeconds"}
JOB_SPEC |= {"submitterPodTemplate"}


@pytest.fixture(scope="module")
def manifests(infra: Path) -> list[Manifest]:
    folder = infra / "kubernetes"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {*names, "kustomization.yaml"} == {file.name for file in folder.glob("*.yaml")}
    return [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]


@pytest.fixture(scope="module")
def cluster(manifests: list[Manifest]) -> Manifest:
    return next(each for each in manifests if each["kind"] == "RayCluster")


@pytest.fixture(scope="module")
def job(infra: Path) -> Manifest:
    found: Manifest = yaml.safe_load((infra / "kubernetes" / "jobs" / "repro.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def pods(manifests: list[Manifest], cluster: Manifest, job: Manifest) -> dict[str, Manifest]:
    """Specifications of all pods, by what makes them."""
    found = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in manifests
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    spec = cluster["spec"]
    groups = {"head": spec["headGroupSpec"]} | {
        group["groupName"]: group for group in spec["workerGroupSpecs"]
    }
    return (
        found
        | {f"ray-{name}": group["template"]["spec"] for name, group in groups.items()}
        | {"submitter": job["spec"]["submitterPodTemplate"]["spec"]}
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_schemas_of_kubernetes(
    manifests: list[Manifest], pods: dict[str, Manifest], version: str
) -> None:
    plain = [each for each in manifests if not each["apiVersion"].startswith("ray.io/")]
    assert len(plain) == len(manifests) - 1
    # Names are no part of Ray's own resources that these schemas know, but what is in them are pods as any other.
    plain += [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        for name, spec in pods.items()
    ]
    for manifest in plain:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_is_told(pods: dict[str, Manifest]) -> None:
    wrong = pods["mlflow"] | {"contaners": []}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wrong"}, "spec": wrong}
    with pytest.raises(kubernetes_validate.ValidationError, match="contaners"):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_resources_of_ray_say_what_kuberay_knows(cluster: Manifest, job: Manifest, repository: Path) -> None:
    spec = cluster["spec"]
    assert set(spec) <= CLUSTER_SPEC
    assert set(spec["headGroupSpec"]) <= HEAD_GROUP
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert spec["authOptions"] == {"mode": "token"}
    assert f"\nray=={spec['rayVersion']}\n" in (repository / "requirements.lock").read_text()
    assert set(job["spec"]) <= JOB_SPEC
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["SIM_MODELS_WORKERS"] == "2"


def test_every_pod_asks_for_resources_and_runs_without_privileges(pods: dict[str, Manifest]) -> None:
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert not container["securityContext"]["allowPrivilegeEscalation"], name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            if name != "submitter":
                assert {"readinessProbe", "livenessProbe"} <= set(container), name


def test_every_reference_leads_somewhere(
    manifests: list[Manifest], pods: dict[str, Manifest], infra: Path
) -> None:
    secrets = set(re.findall(r"^([A-Z0-9_]+)=", (infra / "example.env").read_text(), re.MULTILINE))
    by_kind = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    for found in (each for pod in pods.values() for each in _nodes(pod)):
        if reference := found.get("secretKeyRef"):
            assert reference["name"] == "sim-models"
            assert reference["key"] in secrets
        if reference := found.get("configMapRef"):
            assert ("ConfigMap", reference["name"]) in by_kind
        if reference := found.get("persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", reference["claimName"]) in by_kind


def test_kustomize_puts_them_together(infra: Path) -> None:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", infra / "kubernetes"], capture_output=True, text=True, timeout=60, check=True
    )
    together = list(yaml.safe_load_all(done.stdout))
    assert {each["metadata"].get("namespace", "sim-models") for each in together} == {"sim-models"}
    images = {found["image"] for each in together for found in _nodes(each) if "image" in found}
    assert images == {"sim-models:cpu", "postgres:17.6-bookworm"}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(branch)
