"""One device against a real file: appending, faults, rotation, and what several processes make of it."""

import contextlib
import errno
import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.append_file import FileBusyError
from audit.device import NO_RESPONSE, DeviceRecord, FileDevice
from audit.records import AuditRequest
from audit.verifier import VerifyReport, verify_file

ROOT = Path(__file__).resolve().parents[3]


class Monotonic:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def _device(path: Path | str, monotonic: Monotonic | None = None, **options: str) -> FileDevice:
    record = DeviceRecord(
        path="file/",
        type="file",
        description="",
        options={"file_path": str(path), **options},
        local=False,
        accessor="audit_file_1",
        key=b"k" * 32,
    )
    return FileDevice(record, writer="worker-0", monotonic=monotonic or Monotonic())


def _add(device: FileDevice, count: int = 1, *, data: str = "x") -> None:
    for i in range(count):
        request = AuditRequest(request_id=str(i), operation="update", path="p", headers={"h": [data]})
        device.add((1.8e9, request, None, NO_RESPONSE, ""))


def _verified(path: Path, *, lines: int) -> VerifyReport:
    report = verify_file(path)
    assert report.ok, report.problems
    assert sum(chain.lines for chain in report.chains.values()) == lines
    return report


@contextlib.contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond `size` are cut short, then fail (EFBIG), as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for _ in range(2):
        device = _device(path)
        _add(device, 3)
        device.write()
        device.close()
    assert len(_verified(path, lines=6).chains) == 2


def test_one_write_for_all_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, writes = _device(tmp_path / "a.log"), []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, block: writes.append(len(block)) or real(fd, block))
    _add(device, 50)
    device.write()
    assert len(writes) == 1


@pytest.mark.parametrize(("mode", "bits"), [("0600", 0o600), ("0640", 0o640), ("0777", 0o666)])
def test_the_file_gets_its_mode(tmp_path: Path, mode: str, bits: int) -> None:
    path = tmp_path / "a.log"
    path.touch(0o644)
    _device(path, mode=mode).open()
    assert path.stat().st_mode & 0o777 == bits


def test_mode_0000_leaves_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch(0o604)
    _device(path, mode="0000").open()
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_prefix_stands_before_the_object_and_in_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path, prefix="@cee: ")
    _add(device, 2)
    device.write()
    assert path.read_text().startswith('@cee: {"time"')
    _verified(path, lines=2)
    path.write_bytes(path.read_bytes().replace(b"@cee: ", b"@evl: "))
    assert verify_file(path).first_broken_line == 1


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_only_files_and_devices_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.log"
    if kind == "symlink":
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    device = _device(path)
    _add(device)
    with pytest.raises(OSError) as caught:
        device.write()
    assert caught.value.errno in {errno.ELOOP, errno.EISDIR, errno.EINVAL}
    assert device.pending


@pytest.mark.parametrize("path", ["/dev/null", "discard"])
def test_devices_that_swallow(path: str) -> None:
    device = _device(path)
    _add(device, 3)
    device.write()
    assert not device.pending


def test_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    device = _device("stdout")
    _add(device, 2)
    device.write()
    device.close()
    assert capfd.readouterr().out.count('"seq":') == 2


def test_a_stream_gets_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pipe keeps the lines of several workers apart."""
    device, writes = _device("stdout"), []
    monkeypatch.setattr(os, "write", lambda _fd, line: writes.append(bytes(line)) or len(line))
    _add(device, 3)
    device.write()
    monkeypatch.undo()
    assert [line.count(b"\n") for line in writes] == [1, 1, 1]


def test_a_removed_file_is_made_again_with_a_chain_that_continues(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device, 2)
    device.write()
    last = next(iter(_verified(path, lines=2).chains.values())).last_hash
    path.unlink()
    _add(device, 2)
    device.write()
    chain = next(iter(_verified(path, lines=2).chains.values()))
    assert chain.previous == last


def test_a_renamed_file_is_left_at_once(tmp_path: Path) -> None:
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    device = _device(path)
    _add(device)
    device.write()
    path.rename(old)
    _add(device)
    device.write()
    _verified(old, lines=1)
    _verified(path, lines=1)


def test_a_file_that_was_emptied_gets_a_new_chain(tmp_path: Path) -> None:
    """logrotate's copytruncate."""
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device, 3)
    device.write()
    os.truncate(path, 0)
    _add(device, 2)
    device.write()
    _verified(path, lines=2)


def test_reopen_of_the_same_file_continues_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device, 2)
    device.write()
    device.reopen()
    _add(device, 2)
    device.write()
    assert len(_verified(path, lines=4).chains) == 1


def test_a_cut_write_tears_one_line_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device, 2)
    device.write()
    _add(device, 5)
    with _file_size_limit(path.stat().st_size + 700), pytest.raises(OSError):
        device.write()
    assert device.pending
    _add(device)
    device.write()
    assert _verified(path, lines=8).torn == [5]


def test_a_write_cut_before_the_newline_counts_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    probe = _device(tmp_path / "probe.log")
    _add(probe)
    probe.write()
    device = _device(path)
    _add(device)
    with _file_size_limit((tmp_path / "probe.log").stat().st_size - 1), pytest.raises(OSError):
        device.write()
    assert not device.pending
    _add(device)
    device.write()
    assert _verified(path, lines=2).torn == []


def test_a_full_disk_refuses_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device)
    device.write()
    _add(device)
    with _file_size_limit(path.stat().st_size):
        for _ in range(3):
            with pytest.raises(OSError) as caught:
                device.write()
            assert caught.value.errno == errno.EFBIG
    device.write()
    assert _verified(path, lines=2).torn == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_enospc_on_a_real_file_system(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        filler = tmp_path / "filler"
        device = _device(tmp_path / "a.log")
        _add(device)
        device.write()
        filler.write_bytes(b"x" * 8192)
        _add(device, 40)
        with pytest.raises(OSError) as caught:
            device.write()
        assert caught.value.errno == errno.ENOSPC
        assert device.pending
        filler.unlink()
        device.write()
        assert len(_verified(tmp_path / "a.log", lines=41).torn) <= 1
        device.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_vanished_directory_is_tried_with_back_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, clock = tmp_path / "logs", Monotonic()
    folder.mkdir()
    device = _device(folder / "a.log", clock)
    _add(device)
    device.write()
    (folder / "a.log").unlink()
    folder.rmdir()
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *a: opened.append(a) or real(*a))
    _add(device)
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            device.write()
    assert len(opened) == 1  # the others came before the pause was over
    clock.time += 0.06
    with pytest.raises(FileNotFoundError):
        device.write()
    assert len(opened) == 2
    folder.mkdir()
    clock.time += 1.1
    device.write()
    _verified(folder / "a.log", lines=1)


def test_a_foreign_lock_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    device = _device(path)
    _add(device)
    device.write()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        _add(device)
        with pytest.raises(FileBusyError):
            device.write()
    device.write()
    _verified(path, lines=2)


def test_a_torn_tail_of_a_dead_process_is_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b'{"time":"2026-11-22T13:02:00Z","type":"requ')
    device = _device(path)
    _add(device, 2)
    device.write()
    assert _verified(path, lines=2).torn == [1]


def test_what_waits_is_bounded_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    device = _device(tmp_path / "no" / "a.log")
    big = "y" * 100_000
    _add(device, 1, data=big)
    with pytest.raises(OSError, match="No such file"):
        device.write()
    _add(device, 99, data=big)
    assert device.lost > 0
    lost = device.lost
    (tmp_path / "no").mkdir()
    device.reopen()  # no back-off
    device.write()
    report = _verified(tmp_path / "no" / "a.log", lines=100 - lost)
    assert [chain.lost for chain in report.chains.values()] == [lost]
    assert device.lost == 0


def test_two_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    code = (
        "import sys; from tests.unit.audit.test_audit_device import _device, _add, _write_all\n"
        "device = _device(sys.argv[1])\n"
        "for _ in range(150):\n    _add(device, 4); _write_all(device)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    report = _verified(path, lines=1200)
    assert len(report.chains) == 2
    assert report.torn == []


def test_a_killed_writer_leaves_a_file_that_verifies(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    code = (
        "import sys; from tests.unit.audit.test_audit_device import _device, _add, _write_all\n"
        "device = _device(sys.argv[1])\n"
        "while True:\n    _add(device, 20, data='x' * 5000); _write_all(device); print(flush=True)\n"
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5):
                writer.stdout.readline()
            writer.kill()
    survivor = _device(path)
    _add(survivor)
    survivor.write()
    report = verify_file(path)
    assert report.ok, report.problems
    assert len(report.chains) == 4


def _write_all(device: FileDevice) -> None:
    while device.pending:
        with contextlib.suppress(FileBusyError):
            device.write()
