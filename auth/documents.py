"""Documents of customers: looked into before they are taken, kept sealed under random names, read by staff only."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from auth import inspection
from auth.errors import UnacceptableDocument
from auth.vault import Vault

MAX_DOCUMENTS = 5
MAX_UPLOAD = 10 * 1024 * 1024
_WITHIN_S = 15


@dataclass(frozen=True)
class Upload:
    """A file as it came, and what it was found to be."""

    name: str
    content: bytes
    media_type: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def accept(name: str, content: bytes, field: str) -> Upload:
    """Find out what a file is by its content, in a process of its own. Raises UnacceptableDocument."""
    reason = "is empty"
    if content:
        try:
            done = subprocess.run(
                [sys.executable, "-I", inspection.__file__],
                input=content,
                capture_output=True,
                timeout=_WITHIN_S,
                check=False,
                env={},
            )
        except subprocess.TimeoutExpired:
            reason = "takes too long to read"
        else:
            answer = done.stdout.decode()
            if done.returncode == 0:
                return Upload(_shown_name(name), content, answer)
            reason = answer or "cannot be read"
    raise UnacceptableDocument(f"The document {reason}", errors=[{"field": field, "message": reason}])


def _shown_name(name: str) -> str:
    """The last part of the client's name for the file, for show only."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in base if char.isprintable())[:200] or "document"


class DocumentStore:
    """A folder of sealed files, outside anything that is served."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault

    def put(self, document_id: str, content: bytes) -> None:
        """Keep a file; on disk when this returns. Safe to repeat."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = self._path(document_id).with_suffix(".part")
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self._vault.seal(content, f"document {document_id}"))
            file.flush()
            os.fsync(file.fileno())
        made.rename(self._path(document_id))

    def get(self, document_id: str) -> bytes:
        """Raises FileNotFoundError, and ValueError for a file that was changed."""
        return self._vault.open(self._path(document_id).read_bytes(), f"document {document_id}")

    def remove(self, document_id: str) -> None:
        self._path(document_id).unlink(missing_ok=True)

    def _path(self, document_id: str) -> Path:
        return self._folder / f"{document_id}.sealed"
