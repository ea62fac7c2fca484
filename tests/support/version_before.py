"""The version before this one, from the repository's own history."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic.script import ScriptDirectory

from tests.support import ROOT

VERSIONS = Path("migrations/versions")


@dataclass(frozen=True)
class VersionBefore:
    """Its sources in a folder, its name in the history, and the newest migration that it knows."""

    folder: Path
    name: str
    revision: str


@contextmanager
def version_before() -> Iterator[VersionBefore | None]:
    """Unpack the last released version, or while there is none what the newest migration was added to.

    None: there is no history here, as in a copy of the sources.
    """
    name = _git("describe", "--tags", "--abbrev=0").decode().strip() or _before_newest_migration()
    packed = _git("archive", "--format=tar", name) if name else b""
    if not packed:
        yield None
        return
    with TemporaryDirectory(prefix="version-before-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        scripts = ScriptDirectory(Path(folder) / "migrations")
        yield VersionBefore(Path(folder), name, str(scripts.get_current_head()))


def _before_newest_migration() -> str:
    """The commit before the one that has added the newest migration; the last one where that is not committed yet."""
    newest = max((ROOT / VERSIONS).glob("[0-9]*.py"), key=lambda file: file.name)
    added = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(VERSIONS / newest.name)).decode().strip()
    return _git("rev-parse", "--verify", "--quiet", f"{added}^" if added else "HEAD").decode().strip()


def _git(*arguments: str) -> bytes:
    """What a command of git prints; nothing where it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout
