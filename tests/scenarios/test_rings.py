"""Rings by themselves: pipes beside a SQLite file, LISTEN and NOTIFY, and what stands in the way of either."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

from bx24app.services.runtime.rings.bell import Bell, Way
from bx24app.services.runtime.rings.message import ANYTHING, MAX_ROWS_RUNG, RowId, read_message, write_message
from bx24app.services.runtime.rings.notices import NotHeard, Notices
from bx24app.services.runtime.rings.pipes import SUFFIX, Pipes, UntrustedFolder
from tests.conftest import Eventually
from tests.faults.databases import PostgresDatabase, own_server
from tests.support import processes
from tests.support.database import workplace

LONG_PATH = 300
QUICKLY_SECONDS = 5.0


class Heard(list[tuple[str, RowId | None]]):
    """What a listener has heard."""

    def __call__(self, name: str, row_id: RowId | None) -> None:
        self.append((name, row_id))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite file whose path is longer than a socket's may be."""
    folder = tmp_path.joinpath(*["long" * 20] * (LONG_PATH // 80))
    folder.mkdir(parents=True)
    (folder / "one.db").touch(0o600)
    return folder / "one.db"


@contextmanager
def hearing(way: Way) -> Iterator[Heard]:
    """Listen as another process does, once that has begun."""
    heard, over = Heard(), threading.Event()
    thread = threading.Thread(target=way.receive, args=(heard, over.is_set), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while (ANYTHING, None) not in heard and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield heard
    finally:
        over.set()
        thread.join(10)


def test_a_message_says_each_row_once_and_of_many_only_the_jobs() -> None:
    one, other = uuid4(), uuid4()
    assert set(read_message(write_message([("dial", one), ("dial", one), ("make_to_dos", 7), ("dial", other)]))) == {
        ("dial", one),
        ("dial", other),
        ("make_to_dos", 7),
    }
    many = write_message([("dial", uuid4()) for _ in range(MAX_ROWS_RUNG + 1)])
    assert list(read_message(many)) == [("dial", None)]
    full = write_message([("d" * 30, uuid4()) for _ in range(MAX_ROWS_RUNG)])
    assert len(full.encode()) <= 4096


@pytest.mark.parametrize(
    "text", ["", "dial", "Dial -", "dial x", "dial 1 2", "dial " + "9" * 19, "a" * 31 + " -", "\0 -"]
)
def test_a_line_that_is_no_ring_says_nothing(text: str) -> None:
    assert list(read_message(f"{text}\n")) == []


def test_everybody_who_listens_hears_a_ring(database: Path, eventually: Eventually) -> None:
    row_id = uuid4()
    with hearing(Pipes(str(database))) as one, hearing(Pipes(str(database))) as other:
        Pipes(str(database)).send(write_message([("dial", row_id)]))
        eventually(lambda: ("dial", row_id) in one and ("dial", row_id) in other)
        folder = Path(f"{database}{SUFFIX}")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [pipe.stat().st_mode & 0o777 for pipe in folder.iterdir()] == [0o600, 0o600]
    assert list(folder.iterdir()) == []


def test_nobody_waits_for_a_pipe_that_is_full(database: Path) -> None:
    with hearing(Pipes(str(database))):
        folder = Path(f"{database}{SUFFIX}")
        os.mkfifo(folder / "stopped", 0o600)
        stopped = os.open(folder / "stopped", os.O_RDWR | os.O_NONBLOCK)
        began = time.monotonic()
        for _ in range(2000):
            Pipes(str(database)).send("dial -\n" * 50)
        assert time.monotonic() - began < QUICKLY_SECONDS
        assert len(os.read(stopped, 1_000_000)) > 50_000
        os.close(stopped)


def test_the_pipe_of_a_killed_process_is_removed(database: Path) -> None:
    script = (
        "import sys; from bx24app.services.runtime.rings.pipes import Pipes\n"
        "Pipes(sys.argv[1]).receive(lambda *_: print('listens', flush=True), lambda: False)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(database)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listens\n"
        process.send_signal(signal.SIGKILL)
    folder = Path(f"{database}{SUFFIX}")
    assert len(list(folder.iterdir())) == 1
    Pipes(str(database)).send("dial -\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o701, 0o770, 0o777])
def test_a_folder_that_is_open_to_others_is_left_alone(database: Path, mode: int) -> None:
    folder = Path(f"{database}{SUFFIX}")
    folder.mkdir()
    os.mkfifo(folder / "theirs", 0o666)
    folder.chmod(mode)
    with pytest.raises(UntrustedFolder):
        Pipes(str(database)).send("dial -\n")
    with pytest.raises(UntrustedFolder):
        Pipes(str(database)).receive(Heard(), bool)
    assert [pipe.name for pipe in folder.iterdir()] == ["theirs"]


@pytest.mark.parametrize("make", [lambda at: at.symlink_to("/tmp"), lambda at: at.touch()])
def test_what_stands_in_the_place_of_the_folder_is_no_folder(database: Path, make: Callable[[Path], None]) -> None:
    make(Path(f"{database}{SUFFIX}"))
    with pytest.raises(NotADirectoryError):
        Pipes(str(database)).send("dial -\n")


def test_only_pipes_are_written_to(database: Path, tmp_path: Path) -> None:
    with hearing(Pipes(str(database))):
        folder = Path(f"{database}{SUFFIX}")
        (folder / "file").touch()
        (tmp_path / "elsewhere").touch()
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        Pipes(str(database)).send("dial -\n")
        assert (folder / "file").read_bytes() == (tmp_path / "elsewhere").read_bytes() == b""


def test_a_pipe_that_somebody_removes_is_made_again(database: Path, eventually: Eventually) -> None:
    bell, heard, folder = Bell(Pipes(str(database))), Heard(), Path(f"{database}{SUFFIX}")
    with bell.hearing(heard):
        eventually(lambda: bool(heard))
        for pipe in folder.iterdir():
            pipe.unlink()
        eventually(lambda: heard.count((ANYTHING, None)) == 2)
        bell.ring(("dial", 5))
        eventually(lambda: ("dial", 5) in heard)


def test_a_thousand_rings_are_a_few_messages(eventually: Eventually) -> None:
    class Counted(Pipes):
        def __init__(self) -> None:
            super().__init__("")
            self.sent: list[str] = []

        def send(self, message: str) -> None:
            self.sent.append(message)

    way = Counted()
    bell = Bell(way)
    for number in range(1000):
        bell.ring(("dial", number))
    eventually(lambda: "dial -" in "".join(way.sent) and bell._rung.empty())
    assert len(way.sent) < 100


def test_a_mistake_in_one_ring_is_not_the_last_ring(eventually: Eventually) -> None:
    class Mistaken(Pipes):
        def __init__(self) -> None:
            super().__init__("")
            self.sent: list[str] = []

        def send(self, message: str) -> None:
            self.sent.append(message)
            if len(self.sent) == 1:
                raise RuntimeError("a mistake of ours")

    way = Mistaken()
    bell = Bell(way)
    bell.ring(("dial", 1))
    eventually(lambda: len(way.sent) == 1)
    bell.ring(("dial", 2))
    eventually(lambda: len(way.sent) == 2)


def test_a_restarted_server_is_listened_to_again(eventually: Eventually) -> None:
    with workplace() as directory, own_server(directory) as server, _engine(server.url) as engine:
        bell, heard = Bell(Notices(engine)), Heard()
        with bell.hearing(heard):
            eventually(lambda: bool(heard))
            server.restart()
            eventually(lambda: heard.count((ANYTHING, None)) == 2)
            row_id = uuid4()

            def arrives() -> bool:
                bell.ring(("dial", row_id))
                return ("dial", row_id) in heard

            eventually(arrives)


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    # Without a pool nothing stays open that a thread gives back after the end.
    engine = create_engine(url, poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _pgbouncer(directory: Path, server: PostgresDatabase, mode: str) -> Iterator[str]:
    """Debian's PgBouncer in front of a server, as the server's user: it does not run as root."""
    real, port = make_url(server.url), processes.free_port()
    own = directory / "pgbouncer"
    own.mkdir()
    own.chmod(0o777)
    (own / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={real.query['host']} user={real.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n"
    )
    (own / "pgbouncer.ini").chmod(0o644)
    user = os.stat(str(real.query["host"])).st_uid if os.geteuid() == 0 else None
    with (
        (own / "log").open("wb") as log,
        subprocess.Popen(["pgbouncer", own / "pgbouncer.ini"], stdout=log, stderr=log, user=user) as running,
    ):
        url = real.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        try:
            _wait_for(url)
            yield url
        finally:
            processes.kill(running)


def _wait_for(url: str) -> None:
    with _engine(url) as engine:
        for _ in range(200):
            try:
                engine.connect().close()
            except OperationalError:
                time.sleep(0.1)
            else:
                break


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="Debian's pgbouncer is not installed")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_that_hands_nothing_on_is_noticed(mode: str) -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(workplace())
        server = stack.enter_context(own_server(directory))
        url = stack.enter_context(_pgbouncer(directory, server, mode))
        notices = Notices(stack.enter_context(_engine(url)))
        if mode == "session":
            notices.examine()
        else:
            with pytest.raises(NotHeard):
                notices.examine()
            with pytest.raises(NotHeard):
                notices.receive(Heard(), bool)
