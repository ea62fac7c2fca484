"""Packages of the npm registry that tests need; they stay in a folder outside git."""

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parent.parent / "artifacts" / "npm"
ADVICE = "npm could not install {name}: run 'make venv' (it brings Node and npm) and see that the npm registry answers"
MINUTES = 60


def installed(package: str, version: str) -> Path:
    """The folder of a package, installed once; without one the test fails and says what to do."""
    folder = CACHE / f"{package.replace('/', '+')}@{version}"
    found = folder / "node_modules" / package
    if not (found / "package.json").is_file():
        _install(folder, f"{package}@{version}")
    return found


def _install(folder: Path, name: str) -> None:
    npm = Path(sys.executable).parent / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(npm),
        "install",
        "--prefix",
        str(folder),
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-save",
        name,
    ]
    # npm starts the node that lies beside it.
    path = f"{npm.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2 * MINUTES, env={**os.environ, "PATH": path}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"{ADVICE.format(name=name)} ({type(error).__name__})") from None
    if done.returncode:
        raise AssertionError(f"{ADVICE.format(name=name)}\n{done.stderr[-500:]}")
