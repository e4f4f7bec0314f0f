"""Properties of docker/kubernetes/, without a cluster and without a network.

Kubernetes' schemas check Kubernetes' own kinds strictly: an unknown field is an error. No package contains
KubeRay's schema. So a model in this file checks the used parts of the RayService, Kubernetes' schema checks
its pods, and Ray's own schema checks its Serve configuration.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from selsa_server.settings import ServerSettings
from selsa_server.telemetry import metrics

validator = pytest.importorskip("kubernetes_validate", reason="no schemas: pip install kubernetes-validate")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
ALL: list[dict[str, Any]] = [each.values[0] for each in DOCUMENTS]
(SERVICE,) = [document for document in ALL if document["kind"] == "RayService"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Group(Strict):
    ray_start_params: dict[str, str] = Field(alias="rayStartParams")
    template: dict[str, Any]


class WorkerGroup(Group):
    group_name: str = Field(alias="groupName", max_length=63)
    replicas: int = Field(ge=0)
    least: int = Field(alias="minReplicas", ge=0)
    most: int = Field(alias="maxReplicas", ge=1)


class RayCluster(Strict):
    autoscaling: bool = Field(alias="enableInTreeAutoscaling")
    head: Group = Field(alias="headGroupSpec")
    workers: list[WorkerGroup] = Field(alias="workerGroupSpecs", min_length=1)


class RayServiceSpec(Strict):
    serve: str = Field(alias="serveConfigV2")
    cluster: RayCluster = Field(alias="rayClusterConfig")


def pod_templates() -> list[Any]:
    """The template of every pod, by its place in the manifests."""
    spec = RayServiceSpec.model_validate(SERVICE["spec"])
    groups = {"head": spec.cluster.head} | {each.group_name: each for each in spec.cluster.workers}
    found = [pytest.param(group.template, id=name) for name, group in groups.items()]
    deployments = [document for document in ALL if document["kind"] == "Deployment"]
    return found + [
        pytest.param(each["spec"]["template"], id=each["metadata"]["name"]) for each in deployments
    ]


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.values[0] is not SERVICE])
def test_a_document_is_what_kubernetes_schema_allows(document: dict[str, Any]) -> None:
    validator.validate(document, validator.latest_version(), strict=True)


@pytest.mark.parametrize("template", pod_templates())
def test_a_pod_is_what_kubernetes_schema_allows_and_confined(template: dict[str, Any]) -> None:
    metadata = template["metadata"] | {"name": "pod"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    validator.validate(pod, validator.latest_version(), strict=True)
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    names = {each["name"] for each in template["spec"]["volumes"]}
    for container in template["spec"]["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {each["name"] for each in container["volumeMounts"]} == names


def test_a_schema_finds_a_mistake() -> None:
    (autoscaler, *_) = [each for each in ALL if each["kind"] == "HorizontalPodAutoscaler"]
    wrong = autoscaler | {"spec": autoscaler["spec"] | {"maxReplica": 3}}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, validator.latest_version(), strict=True)


def test_servers_are_configured_with_existing_settings() -> None:
    for template in pod_templates():
        for container in template.values[0]["spec"]["containers"]:
            names = [each["name"] for each in container.get("env", []) if each["name"].startswith("SELSA_")]
            names += [f"SELSA_{a[2:].upper()}" for a in container.get("args", []) if a.startswith("--")]
            assert {name.removeprefix("SELSA_").lower() for name in names} <= set(ServerSettings.model_fields)


def test_all_pods_of_a_ray_cluster_have_the_same_image() -> None:
    """Another base image has another Python, and Ray refuses nodes and drivers with another patch version."""
    members = [
        template.values[0]
        for template in pod_templates()
        if template.values[0]["metadata"]["labels"]["app.kubernetes.io/component"] in ("ray", "ingress")
    ]
    assert len(members) == 3
    assert len({container["image"] for pod in members for container in pod["spec"]["containers"]}) == 1


def test_images_are_those_that_the_documentation_builds() -> None:
    built = re.findall(
        r"docker build -f (\S+) --build-arg LOCK=(\S+) -t (\S+) ", (ROOT / "docs" / "scaling.md").read_text()
    )
    for dockerfile, lock, _ in built:
        assert (ROOT / dockerfile).exists()
        assert (ROOT / "docker" / "locks" / f"{lock}.txt").exists()
    used = {
        container["image"]
        for template in pod_templates()
        for container in template.values[0]["spec"]["containers"]
    }
    assert used == {image for _, _, image in built}


def test_a_server_may_drain_before_it_is_killed() -> None:
    for document in ALL:
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            env = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
            assert spec["terminationGracePeriodSeconds"] >= int(env["SELSA_DRAIN_TIMEOUT"]) + 10


def test_selectors_and_scalers_refer_to_existing_objects() -> None:
    labels = [template.values[0]["metadata"]["labels"] for template in pod_templates()]
    names = {document["metadata"]["name"] for document in ALL if document["kind"] == "Deployment"}
    for document in ALL:
        spec = document["spec"]
        if document["kind"] == "Service":
            assert any(spec["selector"].items() <= each.items() for each in labels)
        if document["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in names
            metric = spec["metrics"][0]["pods"]["metric"]["name"]
            assert metric in Path(metrics.__file__).read_text()


def test_ray_and_the_application_accept_the_serve_configuration() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="no Ray here: pip install 'selsa[cluster]'")
    from selsa_server.cluster.app import EnginesArgs, engines

    text = RayServiceSpec.model_validate(SERVICE["spec"]).serve
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = config.applications
    assert application.import_path == f"{engines.__module__}:{engines.__name__}"
    EnginesArgs.model_validate(application.args)
    ingress = next(d for d in ALL if d["metadata"]["name"] == "selsa-ingress" and d["kind"] == "Deployment")
    args = ingress["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1] == application.name
    assert f"{SERVICE['metadata']['name']}-head-svc:6379" in args
