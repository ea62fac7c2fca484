"""The web process as documented is told to end in the moment in which it begins, as by two restarts."""

import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Eventually
from tests.support import processes

# gunicorn gives its processes 35 s, and then kills them with all that they do.
SOON_SECONDS = 15


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("later", [0.0, 0.1, 0.4])
def test_a_process_that_is_being_born_hears_that_it_shall_end(
    environ: dict[str, str], tmp_path: Path, later: float, eventually: Eventually
) -> None:
    log, port = tmp_path / "web.log", processes.free_port()
    command = (sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app")
    with log.open("wb") as stream:
        web = processes.start(command, environ, stream)
    try:
        eventually(lambda: log.read_text().count("Booting worker") == 2)
        time.sleep(later)
        web.terminate()
        assert web.wait(SOON_SECONDS) == 0
    finally:
        processes.kill(web)
    assert "Traceback" not in log.read_text()
