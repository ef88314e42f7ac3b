"""What is compared after an import, how a secret is sent in parts, and when many secrets are given up."""

import base64
import copy
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.api import Client
from client.endpoint import parse_address
from client.errors import DeniedError, LocalError, NoAnswerError, RefusedError
from client.exact_json import loads
from client.kv_moves import steady as steady_module
from client.kv_moves import target
from client.kv_moves.moved import MovedSecret, kept_metadata, version_row
from client.kv_moves.pool import HOPELESS, in_order, run_all
from client.kv_moves.sealed_file import ExportedSecret, SealedFile, sealed
from client.kv_moves.steady import steady
from client.kv_moves.target import Done, Outcome, differences
from client.kv_moves.wire import canonical, instant
from client.stream_format import StreamError
from client.transport import TlsOptions

Json = dict[str, Any]

# --- compared ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2026-11-02T10:00:00Z", "2026-11-02T11:00:00+01:00", True),
        ("2026-11-02T10:00:00.5Z", "2026-11-02T10:00:00.500000000Z", True),
        ("2026-11-02T10:00:00.000000001Z", "2026-11-02T10:00:00.000000002Z", False),
        ("0001-01-01T00:00:00Z", "", True),
    ],
    ids=["offset", "zeros", "nanoseconds", "Go's zero"],
)
def test_times_are_compared_as_instants(one: str, other: str, same: bool) -> None:
    assert (instant(one) == instant(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": {"c": 2, "d": 3}}', '{"b": {"d": 3, "c": 2}, "a": 1}', True),
        ("[1, 2]", "[2, 1]", False),
        ("1", "true", False),
        ("0", "false", False),
        ("1", "1.0", False),
        ("1.1", "1.10", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("-0", "0", True),
        ("-0.0", "0.0", False),
        ('"1"', "1", False),
        ("null", '""', False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_are_compared_as_json(one: str, other: str, same: bool) -> None:
    assert (canonical(loads(one)) == canonical(loads(other))) is same


def secret() -> MovedSecret:
    versions = {
        number: {"created_time": f"2026-01-0{number}T00:00:00Z", "deletion_time": "", "destroyed": False, "data": {}}
        for number in (2, 3)
    }
    shown = {"max_versions": 3, "cas_required": False, "delete_version_after": "1h0m0s", "custom_metadata": None}
    return MovedSecret(shown | {"owner": "ann", "created_time": "2026-01-01T00:00:00Z"}, versions, {"current": 3})


def test_the_same_is_the_same_in_other_words() -> None:
    found = secret()
    found.metadata |= {"custom_metadata": {}, "delete_version_after": 3600, "current_version": 3, "expires_at": ""}
    found.versions[1] = found.versions[2]  # that the source has forgotten
    assert differences(secret(), found) == ""


def change(**members: Any) -> Any:
    return lambda found: found.versions[2].update(members)


DIFFERENT = [
    ("missing", lambda found: found.versions.pop(2), "version 2 is not there"),
    ("data", change(data={"a": 1}), "version 2 differs: data"),
    ("no data", change(data=None), "version 2 differs: data"),
    ("created", change(created_time="2026-01-02T00:00:01Z"), "version 2 differs: created_time"),
    ("deleted", change(deletion_time="2026-01-02T00:00:01Z"), "version 2 differs: deletion_time"),
    ("state", change(state="disabled"), "version 2 differs: state"),
    ("newer", lambda found: found.versions.update({4: found.versions[3]}), "it has a newer version, 4"),
    ("stages", lambda found: found.stages.update(golden=2), "its stages differ"),
    ("max", lambda found: found.metadata.update(max_versions=4), "its max_versions differs"),
    ("owner", lambda found: found.metadata.update(owner=""), "its owner differs"),
    ("custom", lambda found: found.metadata.update(custom_metadata={"a": "b"}), "its custom_metadata differs"),
    ("since", lambda found: found.metadata.update(created_time="2026-01-01T00:00:01Z"), "its created_time differs"),
]


@pytest.mark.parametrize(("spoil", "says"), [row[1:] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT])
def test_what_differs_is_named(spoil: Any, says: str) -> None:
    found = copy.deepcopy(secret())
    spoil(found)
    assert differences(secret(), found) == says


def test_what_was_deleted_there_is_destroyed_here() -> None:
    source, found = secret(), secret()
    gone: Json = {"data": None, "deletion_time": "2026-02-01T00:00:00Z"}
    source.versions[2] |= gone
    found.versions[2] |= gone | {"destroyed": True}
    assert source.without_data == [2]
    assert differences(source, found) == ""


# --- sent -------------------------------------------------------------------------------------------------------------


def test_metadata_that_does_not_move_is_left_behind() -> None:
    shown = {"current_version": 3, "max_versions": 0, "custom_metadata": None, "owner": "", "created_time": "x"}
    assert kept_metadata(shown) == {"max_versions": 0, "owner": "", "created_time": "x"}


def test_a_secret_is_sent_in_parts_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_VERSIONS", 2)
    given = MovedSecret({"owner": "ann"}, {n: {"data": {"n": n}} for n in (4, 5, 6, 7, 8)}, {"current": 8})
    parts = list(target._parts(given))
    assert [list(part["versions"]) for part in parts] == [["4", "5"], ["6", "7"], ["8"]]
    assert ["stages" in part for part in parts] == [False, False, True]
    assert all(part["metadata"] == {"owner": "ann"} for part in parts)
    monkeypatch.setattr(target, "_PART", 20)
    assert len(list(target._parts(given))) == 5


@pytest.mark.parametrize(
    ("numbers", "stages", "kept"),
    [
        ([], None, 1),
        ([15], None, 1),
        ([3, 12], None, 10),
        ([1, 6, 7], {"golden": 1, "current": 7}, 2),
        ([14, 15], {"previous": 14, "current": 15}, 1),
    ],
    ids=["none", "one", "oldest to latest", "an old one with a label", "labels alone"],
)
def test_how_many_versions_have_to_be_kept(numbers: list[int], stages: dict[str, int] | None, kept: int) -> None:
    assert target.span(MovedSecret({}, {number: {} for number in numbers}, stages)) == kept


def test_a_disabled_version_without_data_comes_as_destroyed() -> None:
    row = version_row({"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "state": "disabled"}, None)
    sent = target._sent(row)
    assert (sent["destroyed"], sent["state"], sent["data"]) == (True, "", None)


# --- many -------------------------------------------------------------------------------------------------------------


def run(work: Any, count: int = 60) -> Any:
    seen: list[int] = []

    def step(number: int) -> Done:
        seen.append(number)
        done: Done = work(number)
        return done

    return run_all(range(count), step, str, parallel=3, advance=lambda _: None), seen


def test_one_that_fails_does_not_stop_the_others() -> None:
    def work(number: int) -> Done:
        if number % 3 == 0:
            raise RefusedError("no")
        return Done(Outcome.IMPORTED, 2, ("noted",) if number == 1 else ())

    summary, _ = run(work)
    assert (summary.failed, summary.outcomes[Outcome.IMPORTED], summary.versions) == (20, 40, 80)
    assert (summary.stopped, summary.verified, summary.notes) == (None, 40, [("1", "noted")])


def test_it_is_given_up_when_nothing_is_taken() -> None:
    def work(_: int) -> Done:
        raise DeniedError("no")

    summary, seen = run(work)
    assert "none was taken" in summary.stopped.sentence
    assert HOPELESS <= len(seen) < HOPELESS + 10


def test_conflicts_are_never_a_reason_to_give_up() -> None:
    def work(_: int) -> Done:
        raise RefusedError("differs")

    summary, seen = run(work)
    assert (summary.stopped, summary.failed, len(seen)) == (None, 60, 60)


def test_a_server_that_is_away_ends_it() -> None:
    def work(number: int) -> Done:
        if number == 5:
            raise NoAnswerError("away")
        return Done(Outcome.PRESENT)

    summary, seen = run(work)
    assert isinstance(summary.stopped, NoAnswerError)
    assert len(seen) < 20


def test_a_file_that_breaks_off_ends_it_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise LocalError("line 5 is no row")

    summary = run_all(items(), lambda _: Done(Outcome.IMPORTED), str, parallel=2, advance=lambda _: None)
    assert summary.outcomes[Outcome.IMPORTED] == 4
    assert str(summary.stopped) == "line 5 is no row"


def test_in_order_keeps_the_order_and_few_in_memory() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    made = in_order(items(), lambda number: number * 2, parallel=4)
    assert next(made) == 0
    assert len(taken) <= 9
    assert list(made) == [number * 2 for number in range(1, 50)]


# --- a client that asks again -----------------------------------------------------------------------------------------


class _Server(http.server.ThreadingHTTPServer):
    """Answers what it is told, one after another, and counts connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Json]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.closes = False

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.paths.append(f"{self.command} {self.path} {body.decode()}".strip())
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, {"data": {}})
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.server.closes


for _method in ("GET", "PUT", "POST"):
    setattr(_Handler, f"do_{_method}", _Handler._answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setattr(steady_module, "_WAITS", (0.0, 0.0))
    made = _Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def client(server: _Server) -> Client:
    address = parse_address(f"http://127.0.0.1:{server.server_address[1]}")
    return Client(endpoint=address, tls=TlsOptions(), timeout=5, load_token=lambda: "t", wrap_ttl="5m")


def test_requests_share_a_connection(server: _Server) -> None:
    with steady(client(server)) as one:
        for _ in range(5):
            one.read("a")
        assert one.wrap_ttl == ""
    assert server.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(server: _Server) -> None:
    server.closes = True  # without saying so
    with steady(client(server)) as one:
        for _ in range(3):
            one.read("a")
    assert (len(server.paths), server.connections) == (3, 3)


def test_it_asks_again_where_it_is_told_to_wait(server: _Server) -> None:
    server.answers = [(429, {"errors": ["quota"]}), (503, {"errors": ["away"]}), (200, {"data": {"a": 1}})]
    with steady(client(server)) as one:
        assert one.read("a").data == {"a": 1}


def test_errors_say_of_which_server_they_are(server: _Server) -> None:
    server.answers = [(403, {"errors": ["permission denied"]})]
    with steady(client(server), label="the source: ") as one, pytest.raises(DeniedError, match=r"^the source: a: perm"):
        one.read("a")


def test_names_keep_their_blanks(server: _Server) -> None:
    with steady(client(server)) as one:
        one.read("secret/data/ends ")
        with pytest.raises(LocalError):
            one.read("secret/data/../sys")
    assert server.paths == ["GET /v1/secret/data/ends%20"]


# --- sealed -----------------------------------------------------------------------------------------------------------

KEY = {"data": {"plaintext": base64.b64encode(bytes(32)).decode(), "ciphertext": "mimir:v1:AAAA"}}


@pytest.fixture
def exported(server: _Server, tmp_path: Path) -> Path:
    server.answers = [(200, KEY)]
    rows = [ExportedSecret(f"s{number}", secret()) for number in range(300)]
    with steady(client(server)) as one:
        content = b"".join(sealed(one, "transit", "k", {"mount": "secret/", "max_versions": 7}, rows))
    assert b"2026-01" not in content
    (tmp_path / "x").write_bytes(content)
    server.paths.clear()
    return tmp_path / "x"


def opened(server: _Server, path: Path) -> SealedFile:
    server.answers = [(200, KEY)]
    with steady(client(server)) as one:
        return SealedFile(path, one, "transit", "k")


def test_an_export_is_read_as_it_was_written(server: _Server, exported: Path) -> None:
    file = opened(server, exported)
    file.verify(lambda _: None)
    assert (file.count, file.head["max_versions"]) == (300, 7)
    rows = list(file.rows())
    assert rows[7] == ExportedSecret("s7", secret())
    assert len(rows) == 300
    assert server.paths == ['POST /v1/transit/decrypt/k {"ciphertext":"mimir:v1:AAAA"}']


@pytest.mark.parametrize("spoil", ["last byte", "cut", "cut at a chunk", "first chunk"])
def test_an_export_that_was_changed_is_refused(server: _Server, exported: Path, spoil: str) -> None:
    content = bytearray(exported.read_bytes())
    if spoil.startswith("cut"):
        end = len(content) - (len(content) - 200) % (64 * 1024 + 16) if spoil.endswith("chunk") else -500
        content = content[:end]
    else:
        content[-1 if spoil == "last byte" else 400] ^= 1
    exported.write_bytes(content)
    with pytest.raises(StreamError):
        opened(server, exported).verify(lambda _: None)


def test_another_sealed_file_is_no_export(server: _Server, tmp_path: Path) -> None:
    from client.stream_format import StreamHeader, encrypted

    header = StreamHeader("transit", "k", "mimir:v1:AAAA", 1024, bytes(16))
    pieces = iter([b'{"a": 1}\n', b""])
    (tmp_path / "y").write_bytes(b"".join(encrypted(header, bytes(32), lambda _: next(pieces))))
    with pytest.raises(LocalError, match="no export"):
        opened(server, tmp_path / "y").verify(lambda _: None)
