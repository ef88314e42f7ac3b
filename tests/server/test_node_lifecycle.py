"""Start, restart, reload and stop of a node."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import msgspec
import pytest
from node_harness import Node, Start
from stream_harness import OPENING, PLAIN

from appliance.config import Config, ListenerConfig

SLOW = b"GET /v1/slow?%b HTTP/1.1\r\nHost: x\r\n\r\n"


def test_ready_and_stop(start_node: Start) -> None:
    node = start_node().wait_ready()
    assert node.get("/v1/echo")["method"] == "GET"
    node.wait_note("housekeeper start")
    assert node.stop() == 0
    notes = node.wait_note("close", count=3).split("\n")
    assert notes.count("worker drain") == 2
    assert notes.count("housekeeper drain") == 1


def test_both_workers_serve(node: Node) -> None:
    """SO_REUSEPORT spreads connections over the two."""
    assert len({node.get("/v1/echo")["pid"] for _ in range(60)}) == 2


def test_killed_worker_is_replaced_and_caches_are_invalidated(start_node: Start) -> None:
    node = start_node().wait_ready()
    victim = node.get("/v1/echo")["pid"]
    os.kill(victim, signal.SIGKILL)
    node.wait_note("worker start", count=3)
    node.wait_log("process ended")
    assert node.config.ring_path.read_text() == "all\n"
    assert victim not in {node.get("/v1/echo")["pid"] for _ in range(20)}
    assert node.stop() == 0


def test_stop_answers_the_request_in_progress(start_node: Start) -> None:
    node = start_node(workers=1).wait_ready()
    with node.talk(SLOW % b"0.5") as busy, node.talk() as idle:
        time.sleep(0.1)  # let the request arrive
        node.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        assert busy.reply().headers["connection"] == "close"
        assert busy.is_closed()
    assert node.process.wait(10) == 0
    notes = node.wait_note("worker close")
    assert notes.index("slow done") < notes.index("worker drain") < notes.index("worker close")


def test_stop_cuts_what_takes_longer_than_drain_timeout(start_node: Start) -> None:
    node = start_node(workers=1, drain_timeout=0.3).wait_ready()
    with node.talk(SLOW % b"60") as wire:
        time.sleep(0.1)  # let the request arrive
        assert node.stop() == 0
        assert wire.is_closed()


def test_stop_ends_streams_without_waiting(start_node: Start) -> None:
    node = start_node(workers=1, drain_timeout=60).wait_ready()
    with node.talk(PLAIN) as events, node.talk(OPENING) as socket:
        for wire in (events, socket):
            wire.read_until(b'"tick"')
        started = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - started < 10
        assert b'event: end\ndata: {"reason": "the server is shutting down"}' in events.stream.read()
        assert b"\x03\xe9the server is shutting down" in socket.stream.read()
    notes = node.wait_note("worker close")
    assert notes.count("stream closed") == 2
    assert notes.index("stream closed") < notes.index("worker drain")


def test_second_signal_ends_at_once(start_node: Start) -> None:
    node = start_node(workers=1).wait_ready()
    with node.talk(SLOW % b"60"):
        time.sleep(0.1)  # let the request arrive
        node.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(5) == 0


def test_stop_during_start(start_node: Start) -> None:
    node = start_node()
    deadline = time.monotonic() + 10
    while not node.config.ring_path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert node.stop() == 0


def test_children_do_not_outlive_a_killed_supervisor(start_node: Start) -> None:
    node = start_node().wait_ready()
    node.wait_note("housekeeper start")
    children = node.children()
    assert len(children) == 3
    node.process.kill()
    node.process.wait()
    again = start_node(config=msgspec.structs.replace(node.config, listener=(_at(node.port),)))
    again.wait_ready()
    assert not any(_runs(child) for child in children)
    assert again.stop() == 0


def _runs(pid: int) -> bool:
    """Whether there is such a process, other than one that waits for its parent to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _at(port: int) -> ListenerConfig:
    return ListenerConfig(address=f"127.0.0.1:{port}")


def test_processes_leave_no_memory_image(node: Node) -> None:
    for pid in [node.process.pid, *node.children()]:
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]
        if os.geteuid() != 0:  # for root both look alike
            assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def test_configuration_is_not_on_the_command_line(start_node: Start, tmp_path: Path) -> None:
    config = Config.dev(tmp_path / "data", "127.0.0.1:0", workers=1)
    config = msgspec.structs.replace(
        config, store=msgspec.structs.replace(config.store, url="postgresql://u:secret@h/d")
    )
    node = start_node(config=config).wait_ready()
    for pid in node.children():
        assert b"secret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"u:secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_second_start_on_the_same_data_is_refused(start_node: Start) -> None:
    node = start_node().wait_ready()
    second = start_node(config=node.config)
    assert second.process.wait(10) == 78
    assert f"another mimir server (process {node.process.pid})" in second.log.read_text()
    assert node.get("/v1/echo")["method"] == "GET"


def test_port_in_use_is_one_sentence(start_node: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        node = start_node(config=Config.dev(tmp_path / "data", f"127.0.0.1:{port}", workers=1))
        assert node.process.wait(10) == 78
    assert node.log.read_text() == f"mimir: cannot listen on 127.0.0.1:{port}: address already in use\n"


def test_port_of_another_node_is_in_use(start_node: Start, tmp_path: Path) -> None:
    """Its SO_REUSEPORT must not let a second cluster take half of the connections."""
    node = start_node().wait_ready()
    second = start_node(config=Config.dev(tmp_path / "other", f"127.0.0.1:{node.port}", workers=1))
    assert second.process.wait(10) == 78
    assert "address already in use" in second.log.read_text()


@pytest.mark.parametrize(
    ("kind", "code", "sentence"),
    [
        ("config", 78, "the token label is wrong"),
        ("store", 75, "the database is away"),
        ("crash", 70, "internal error at start; see the log"),
    ],
)
def test_worker_that_cannot_start_ends_the_start(start_node: Start, kind: str, code: int, sentence: str) -> None:
    node = start_node(workers=1, environ={"ECHO_START": kind})
    assert node.process.wait(20) == code
    log = node.log.read_text()
    assert log.splitlines()[-1] == f"mimir: {sentence}"
    assert "Traceback" not in log
    assert "hvs.secret" not in log


@pytest.mark.parametrize(
    ("step", "code", "sentence"),
    [
        ("refusing_step", 75, "the database is newer than this program"),
        ("crashing_step", 70, "internal error in crashing_step; see the log"),
    ],
)
def test_preparation_that_fails_ends_the_start(start_node: Start, step: str, code: int, sentence: str) -> None:
    node = start_node(workers=1, steps=(step,))
    assert node.process.wait(20) == code
    log = node.log.read_text()
    assert log.splitlines()[-1] == f"mimir: {sentence}"
    assert "hvs.secret" not in log
    assert not (Path(node.config.server.data_dir) / "notes").exists()


def test_directories_are_private(node: Node) -> None:
    for directory in (node.config.server.data_dir, node.config.server.runtime_dir):
        assert Path(directory).stat().st_mode & 0o777 == 0o700


def test_directory_that_cannot_be_made(start_node: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    node = start_node(config=Config.dev(tmp_path / "file" / "data", "127.0.0.1:0", workers=1))
    assert node.process.wait(10) == 78
    assert node.log.read_text() == f"mimir: cannot make the directory {tmp_path}/file/data: Not a directory\n"


def test_service_manager_hears_ready_status_watchdog_and_stopping(start_node: Start, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(10)
        node = start_node(workers=1, environ={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "3000000"}).wait_ready()
        assert manager.recv(1000).decode().split("\n") == ["READY=1", "STATUS=echoing; 1 of 1 workers"]
        heard = set()
        while "WATCHDOG=1" not in heard:
            heard.add(manager.recv(1000).decode())
        stop = threading.Thread(target=node.stop)
        stop.start()
        while not any(one.startswith("STOPPING=1") for one in heard):
            heard.add(manager.recv(1000).decode())
        stop.join()


def test_watchdog_is_not_pinged_while_a_worker_hangs(start_node: Start, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        node = start_node(workers=1, environ={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"}).wait_ready()
        with node.talk(b"GET /v1/block?5 HTTP/1.1\r\nHost: x\r\n\r\n"):
            time.sleep(2.3)
            manager.setblocking(False)
            while _read(manager):
                pass
            time.sleep(1.0)
            assert not _read(manager)


def _read(manager: socket.socket) -> bytes:
    try:
        return manager.recv(1000)
    except BlockingIOError:
        return b""


def test_unix_socket(start_node: Start, tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    node = start_node(config=Config.dev(tmp_path / "data", f"unix:{path}", workers=2)).wait_ready()
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        client.sendall(b"LIST /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'"method": "LIST"' in client.makefile("rb").read()
    assert node.stop() == 0
    assert not path.exists()


def test_ipv6(start_node: Start, tmp_path: Path) -> None:
    node = start_node(config=Config.dev(tmp_path / "data", "[::1]:0", workers=1)).wait_ready()
    with socket.create_connection(("::1", node.port)) as client:
        client.sendall(b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'"address": "::1"' in client.makefile("rb").read()
