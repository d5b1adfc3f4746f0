"""What is deployed fits what is built: locks, images, compose files, workflows, Kubernetes, the broker's rights."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import contracts
from dev.environment import PORTS, ROOT, SERVICES
from dev.variables import DOCUMENT, with_tables

COMPOSE = ("docker-compose.yaml", "docker-compose.prod.yml")
KUBERNETES = ROOT / "deploy" / "kubernetes"


def imported(folder: Path, without: str = "") -> set[str]:
    """The top-level modules that the code of a folder imports, other than the standard library and our own."""
    names = set()
    for file in folder.rglob("*.py"):
        if without in file.relative_to(folder).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"common", *SERVICES}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def compose(file: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_every_library_that_its_code_imports(service: str) -> None:
    locked = {
        canonical(name)
        for name in re.findall(
            r"^([A-Za-z0-9._-]+)==", (ROOT / service / "requirements.txt").read_text(), re.M
        )
    }
    distributions = packages_distributions()
    used = imported(ROOT / service) | imported(ROOT / "common", without="documents")
    if any("common.documents" in file.read_text() for file in (ROOT / service).rglob("*.py")):
        used |= imported(ROOT / "common" / "documents")
    for module in used:
        found = {canonical(name) for name in distributions.get(module, [module])}
        assert found & locked, f"{module} is not in {service}/requirements.txt"


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_runs_as_nobody_on_its_own_port_from_its_own_folder(service: str) -> None:
    text = (ROOT / service / "Dockerfile").read_text(encoding="utf-8")
    final = text.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in final
    assert f"\nEXPOSE {PORTS[service]}\n" in final
    assert "\nSTOPSIGNAL SIGTERM\n" in final
    assert f'org.opencontainers.image.title="sri-care-{service}"' in final
    assert 'org.opencontainers.image.revision="$REVISION"' in final
    assert "--require-hashes" in text
    copied = set(re.findall(r"^COPY (\w+) \w+$", final, re.M))
    assert copied == {"common", service}
    assert "pip install" not in final
    assert f'"common/probe.py", "{PORTS[service]}", "/ready"]' in final


def test_a_health_check_passes_only_for_an_answer_of_200() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200 if self.path == "/ready" else 503)
            self.end_headers()

    def probe(path: str) -> int:
        program = [sys.executable, "-I", "-S", "common/probe.py", str(server.server_port), path]
        return subprocess.run(program, cwd=ROOT, check=False).returncode

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        found = probe("/ready"), probe("/metrics")
        server.shutdown()
        thread.join()
    assert (*found, probe("/ready")) == (0, 1, 1)


@pytest.mark.parametrize(("status", "code"), [(202, 0), (422, 1)])
def test_a_file_too_long_for_the_gateway_is_posted_from_inside_the_container(
    tmp_path: Path, status: int, code: int
) -> None:
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Authorization"], self.headers["Content-Type"], body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"id": "1"}')

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    docker = tmp_path / "docker"  # in the container: here
    docker.write_text('#!/bin/sh\nwhile [ "$1" != python ]; do shift; done\nshift\nexec "$PYTHON" "$@"\n')
    docker.chmod(0o755)
    content = b"kind,key\n" + 300_000 * b"charge,\xc3\xa9\n"
    (tmp_path / "settlement.csv").write_bytes(content)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        answer = subprocess.run(
            [ROOT / "deploy" / "upload", "payment", "/admin/x?gateway=stripe", "text/csv", "settlement.csv"],
            cwd=tmp_path,
            env={
                **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable,
                "PAYMENT_PORT": str(server.server_port), "TOKEN": "secret",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        server.shutdown()
        thread.join()
    assert got == [("/admin/x?gateway=stripe", "Bearer secret", "text/csv", content)]
    assert (answer.returncode, answer.stdout) == (code, '{"id": "1"}\n'), answer.stderr


@pytest.mark.parametrize("file", COMPOSE)
def test_every_service_has_a_migration_a_web_process_a_worker_and_a_relay_of_one_image(file: str) -> None:
    services = compose(file)["services"]
    for service in SERVICES:
        parts = [services[f"{service}-{part}"] for part in ("migrate", "web", "worker", "relay")]
        assert len({part["image"] for part in parts}) == 1
        assert [part["command"][-1] for part in parts[2:]] == [f"{service}.worker", f"{service}.relay"]
        assert parts[0]["restart"] == "no"
        assert all(part["read_only"] and part["cap_drop"] == ["ALL"] for part in parts)
        assert parts[1]["depends_on"][f"{service}-migrate"] == {"condition": "service_completed_successfully"}
        assert parts[1]["environment"]["RABBITMQ_TOPOLOGY"] == "expect"


@pytest.mark.parametrize("service", SERVICES)
def test_the_relay_is_a_command_that_relays_the_services_outbox(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"{service}.relay")
    made, relayed = object(), []
    monkeypatch.setattr(module, "create_app", lambda: made)
    monkeypatch.setattr(module, "run_relay", relayed.append)
    module.main()
    assert relayed == [made]


@pytest.mark.parametrize("file", COMPOSE)
def test_compose_sets_only_variables_that_the_service_reads(file: str) -> None:
    services = compose(file)["services"]
    for service in SERVICES:
        config = importlib.import_module(f"{service}.config")
        known = set(config.Settings.variables().values()) | {"WEB_WORKERS", "WEB_THREADS"}
        told = {name.removesuffix("_FILE") for name in services[f"{service}-web"]["environment"]}
        assert told <= known, told - known


def test_the_operators_table_of_variables_is_what_the_services_read() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text, "renew it: python -m dev.variables"


def test_in_production_only_kong_is_published_and_everything_is_read_only() -> None:
    document = compose("docker-compose.prod.yml")
    published = {name for name, service in document["services"].items() if service.get("ports")}
    assert published == {"kong"}
    for name, service in document["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert document["networks"]["backend"]["internal"]
    assert document["services"]["kong"]["environment"]["KONG_ADMIN_LISTEN"] == "127.0.0.1:8001"


def test_production_holds_no_secret_and_every_secret_can_be_made() -> None:
    document = compose("docker-compose.prod.yml")
    used = {name for service in document["services"].values() for name in service.get("secrets", ())}
    assert used == set(document["secrets"])
    for name, service in document["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN|API_KEY|DATABASE_URL|RABBITMQ_URL", variable)
            assert not secret or variable.endswith("_FILE"), f"{name}: {variable}={value}"


@pytest.mark.parametrize("file", COMPOSE)
def test_what_stays_up_says_how_it_is(file: str) -> None:
    """The services' web processes do in their images."""
    for name, service in compose(file)["services"].items():
        once = service.get("restart") == "no"
        assert once or name.endswith("-web") or service.get("healthcheck"), name


def test_ports_of_a_developers_containers_are_on_loopback() -> None:
    for service in compose("docker-compose.yaml")["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_every_service_has_a_workflow_that_its_changes_start() -> None:
    for service in SERVICES:
        document = yaml.safe_load((ROOT / ".github/workflows" / f"{service}.yml").read_text())
        (job,) = document["jobs"].values()
        assert job["with"] == {"service": service}
        for event in ("pull_request", "push"):
            assert {f"{service}/**", "common/**"} <= set(document[True][event]["paths"])  # YAML's `on`


def test_workflows_may_do_only_what_they_say() -> None:
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        document = yaml.safe_load(file.read_text())
        assert document["permissions"] == {"contents": "read"}, file.name


def test_workflows_run_others_code_by_its_hash_only() -> None:
    """A tag can be moved to other code, which would see the registry's token and the way into production."""
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        for used in re.findall(r"uses: (.*)", file.read_text()):
            assert used == "./.github/workflows/service.yml" or re.fullmatch(
                r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used
            ), f"{file.name}: {used}"


@pytest.mark.parametrize("service", SERVICES)
def test_kubernetes_runs_what_compose_runs(service: str) -> None:
    documents = list(yaml.safe_load_all((KUBERNETES / "base" / f"{service}.yaml").read_text()))
    kinds = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for part in (("Deployment", "web"), ("Deployment", "worker"), ("Job", "migrate"), ("Service", "web")):
        assert (part[0], f"{service}-{part[1]}") in kinds
    for document in documents:
        if document["kind"] in ("Deployment", "Job"):
            pod = document["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_a_services_broker_user_writes_to_its_exchange_and_reads_its_queues_only() -> None:
    spec = importlib.util.spec_from_file_location("broker", ROOT / "deploy" / "rabbitmq" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    broker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(broker)
    passwords = {f"RABBITMQ_{name.upper()}_PASSWORD": "secret" for name in (*SERVICES, "admin")}
    document = broker.render(passwords)
    rights = {entry["user"]: entry for entry in document["permissions"]}
    assert set(rights) == {*SERVICES, "admin"}
    assert "secret" not in str(document["users"])
    exchanges = [exchange["name"] for exchange in document["exchanges"]]
    queues = [queue["name"] for queue in document["queues"]]
    for service in SERVICES:
        own = [name for name in exchanges if re.search(rights[service]["write"], name)]
        assert own == [contracts.exchange_of(service)]
        read = {name for name in queues if re.search(rights[service]["read"], name)}
        assert read == {name for name in queues if name.startswith(f"{service}.")}
        assert not any(re.search(rights[service]["configure"], name) for name in (*exchanges, *queues))
    assert re.search(rights["chat"]["configure"], "chat.socketio.0190a1b2")
