"""What the worker does by itself is what README.md says, and each of it runs."""

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import provisioning
from common.messaging.worker import Job
from provisioning import worker

README = Path(provisioning.__file__).with_name("README.md")


def test_the_worker_runs_every_job_that_is_promised(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def run_worker(_app: Flask, *, consumers: Any, jobs: list[Job]) -> None:
        for job in jobs:
            assert not job.run()
            ran.append(job.name)

    monkeypatch.setattr(worker, "create_app", lambda: app)
    monkeypatch.setattr(worker, "run_worker", run_worker)
    worker.main()
    table = README.read_text().partition("| job of the worker |")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE)
    promised = [name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(job.removeprefix("element") for job in ran) == sorted(
        name.removeprefix("element") for name in promised
    )
