"""What is applied to a cluster: as kustomize renders it, valid by Kubernetes' own schemas, and with the ways open that
the processes go."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dev.environment import PORTS, ROOT, SERVICES

VERSION = "1.37"
KUBERNETES = ROOT / "deploy" / "kubernetes"
PRODUCTION = KUBERNETES / "overlays" / "production"
CLUSTER_FIELDS = {"replicas", "image", "persistence", "resources", "rabbitmq", "override"}
"""Of the RabbitmqCluster's spec (rabbitmq.com/v1beta1), those that we set."""

Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def documents() -> Documents:
    return rendered(PRODUCTION)


def rendered(folder: Path) -> Documents:
    kubectl = Path(sys.executable).with_name("kubectl")
    found = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(found.stdout))


def of_kind(documents: Documents, *kinds: str) -> Iterator[dict[str, Any]]:
    return (document for document in documents if document["kind"] in kinds)


def named(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    return next(found for found in of_kind(documents, kind) if found["metadata"]["name"] == name)


def test_every_document_is_valid_by_kubernetes_own_schema(documents: Documents) -> None:
    for document in documents:
        if document["kind"] != "RabbitmqCluster":
            kubernetes_validate.validate(document, VERSION, strict=True)


def test_relays_by_themselves_are_the_workers_with_another_command(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / PRODUCTION.relative_to(KUBERNETES)
    file = overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("../../base]", "../../base, ../../relays]"))
    documents = rendered(overlay)
    for service in SERVICES:
        relay = named(documents, "Deployment", f"{service}-worker-relay")
        kubernetes_validate.validate(relay, VERSION, strict=True)
        (container,) = relay["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["python", "-m", f"{service}.relay"]
        assert container["image"].startswith("ghcr.io/")
        worker = named(documents, "Deployment", f"{service}-worker")
        assert worker["spec"]["template"]["spec"]["containers"] == [
            {**container, "command": ["python", "-m", f"{service}.worker"]}
        ]
        for deployment, part in ((worker, "worker"), (relay, "relay")):
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/component"] == part
            assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_an_unknown_field_would_be_found(documents: Documents) -> None:
    service = named(documents, "Service", "auth-web")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service | {"spec": {"port": 1}}, VERSION, strict=True)


def test_the_brokers_cluster_is_of_three_nodes_and_mounts_what_it_imports(documents: Documents) -> None:
    spec = next(of_kind(documents, "RabbitmqCluster"))["spec"]
    assert spec.keys() == CLUSTER_FIELDS
    assert spec["replicas"] == 3
    pod = spec["override"]["statefulSet"]["spec"]["template"]["spec"]
    assert "definitions.local.path = /definitions/" in spec["rabbitmq"]["additionalConfig"]
    (container,) = pod["containers"]
    assert container["volumeMounts"][0]["mountPath"] == "/definitions"
    image = spec["image"]
    pod = {**pod, "containers": [{**container, "image": image}]}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    selector = {"matchLabels": {"app": "x"}}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "rabbitmq"},
        "spec": {"serviceName": "rabbitmq", "selector": selector, "template": template},
    }
    kubernetes_validate.validate(stateful, VERSION, strict=True)


def test_everything_runs_a_released_image_in_the_namespace(documents: Documents) -> None:
    for document in documents:
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "sri-care"
    for workload in of_kind(documents, "Deployment", "Job"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert container["image"].startswith("ghcr.io/"), container["image"]


def test_what_scales_by_load_is_not_scaled_back_by_a_release(documents: Documents) -> None:
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        target = named(documents, "Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"]


def test_selectors_find_the_pods_that_they_mean(documents: Documents) -> None:
    pods = [w["spec"]["template"]["metadata"]["labels"] for w in of_kind(documents, "Deployment", "Job")]
    for document in of_kind(documents, "Service", "PodDisruptionBudget"):
        selector = document["spec"]["selector"]
        labels = selector.get("matchLabels", selector)
        if labels["app.kubernetes.io/name"] == "rabbitmq":
            continue  # the operator's
        assert any(labels.items() <= pod.items() for pod in pods), document["metadata"]["name"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("part", ["web", "worker"])
def test_the_ways_are_open_that_a_process_goes_and_no_other(
    documents: Documents, service: str, part: str
) -> None:
    policies = [policy["spec"] for policy in of_kind(documents, "NetworkPolicy")]
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert closed in policies
    pod = named(documents, "Deployment", f"{service}-{part}")["spec"]["template"]["metadata"]["labels"]
    auth = named(documents, "Deployment", "auth-web")["spec"]["template"]["metadata"]["labels"]
    broker = {"app.kubernetes.io/name": "rabbitmq"}
    assert _may_send(policies, pod, broker, 5672)
    assert _may_receive(policies, broker, pod, 5672)
    assert _may_send(policies, pod, auth, PORTS["auth"])
    assert _may_receive(policies, auth, pod, PORTS["auth"])
    assert _may_send(policies, pod, {}, 5432)
    assert _may_send(policies, pod, {}, 6379)
    assert _may_send(policies, pod, {}, 443) == (service in ("payment", "provisioning", "notification"))
    assert not _may_send(policies, pod, broker, 15672)
    for other in SERVICES[1:]:
        labels = {"app.kubernetes.io/name": other, "app.kubernetes.io/part-of": "sri-care"}
        assert not _may_receive(policies, labels, pod, PORTS[other])


def _may_send(policies: Documents, pod: dict[str, str], to: dict[str, str], port: int) -> bool:
    return any(
        _opens(rule, "to", to, port)
        for policy in policies
        if "Egress" in policy["policyTypes"] and _selects(policy["podSelector"], pod)
        for rule in policy.get("egress", ())
    )


def _may_receive(policies: Documents, pod: dict[str, str], sender: dict[str, str], port: int) -> bool:
    return any(
        _opens(rule, "from", sender, port)
        for policy in policies
        if "Ingress" in policy["policyTypes"] and _selects(policy["podSelector"], pod)
        for rule in policy.get("ingress", ())
    )


def _opens(rule: dict[str, Any], side: str, peer: dict[str, str], port: int) -> bool:
    """Whether a rule lets a pod of this namespace through; other namespaces' peers are none of these."""
    ports = [entry["port"] for entry in rule.get("ports", ())]
    peers = rule.get(side)
    named_here = peers is None or any("podSelector" in p and _selects(p["podSelector"], peer) for p in peers)
    return named_here and (not ports or port in ports)


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", ())
    )
