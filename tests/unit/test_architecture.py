"""The import rules are alive: what they forbid is seen when somebody does it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "auth", "billing", "payment", "provisioning", "notification", "chat")
PLANTED = {
    "auth/errors.py": "import billing.models",
    "common/clock.py": "import payment.models",
    "payment/models/planted.py": "import payment.use_cases",
    "billing/models/planted.py": "import flask",
}


def _copy_of_the_packages(folder: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)


def _lint_imports(folder: Path) -> str:
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_planted_violations_of_every_import_rule_are_caught(tmp_path: Path) -> None:
    _copy_of_the_packages(tmp_path)
    for name, line in PLANTED.items():
        file = tmp_path / name
        file.write_text(f"{file.read_text() if file.exists() else ''}\n{line}\n")

    report = _lint_imports(tmp_path)

    assert "Services never import each other BROKEN" in report
    assert "common imports no service BROKEN" in report
    assert "The rooms of a service import downwards only BROKEN" in report
    assert "Use cases and models know neither Flask nor pika BROKEN" in report
