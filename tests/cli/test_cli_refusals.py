"""What goes wrong: the exit code, the sentence, no traceback and no secret."""

import socket
import threading

import pytest

from client.errors import ExitCode

SECRET = "s.very-secret-value"

USAGE = [
    ("nope",),
    ("read",),
    ("read", "a", "--no-such-option"),
    ("-o", "xml", "read", "a"),
    ("read", "a", "-o", "xml"),
    ("write", "a"),
    ("transit", "encrypt", "k"),
    ("transit", "encrypt", "k", "--input", "aGk=", "--batch", "f"),
    ("transit", "encrypt", "k", "--batch", "f", "--raw"),
    ("transit", "encrypt", "k", "--input", "aGk=", "--key-version", "0"),
    ("transit", "decrypt", "k"),
    ("transit", "rewrap", "k"),
    ("transit", "key", "config", "k"),
    ("token", "revoke"),
    ("token", "revoke", SECRET, "--self"),
    ("token", "revoke", "--accessor", "a", "--orphan"),
    ("token", "lookup", SECRET, "--accessor", "a"),
    ("token", "renew", SECRET, "--accessor", "a"),
    ("token", "revoke", "x", SECRET),
    ("token", "create", "--metadata", "no-equals"),
    ("token", "create", "--num-uses", "-1"),
    ("token", "create", "--type", "root"),
    ("token", "create", "--role", "r", "--orphan"),
    ("token", "create", "--entity-alias", "e"),
    ("token", "capabilities"),
    ("token", "capabilities", SECRET, "--accessor", "a", "p"),
    ("token", "capabilities", "x", SECRET, "p"),
    ("token", "role", "write"),
    ("token", "role", "read", "r", SECRET),
    ("operator", "unseal", SECRET, "--reset"),
    ("operator", "init", "--recovery-threshold", "6"),
    ("operator", "init", "--recovery-shares", "2", "--recovery-threshold", "0"),
    ("operator", "init", "--no-escrow", "--escrow-shares", "3"),
    ("operator", "init", "--escrow-shares", "3"),
    ("operator", "init", "--escrow-shares", "17", "--escrow-threshold", "2"),
    ("operator", "init", "--escrow-shares", "2", "--escrow-threshold", "3"),
    ("completion", "tcsh"),
    ("server",),
    ("server", "--dev"),
    ("server", "--dev", "--config", "f"),
    ("server", "--config", "f", "--tls"),
    ("server", "--dev", "--data-dir", "d", "--listen", "8200"),
    ("server", "--dev", "--data-dir", "d", "--listen", "::1:8200"),
    ("server", "--dev", "--data-dir", "d", "--listen", "127.0.0.1:65536"),
    ("server", "--dev", "--data-dir", "d", "--listen", "127.0.0.1:http"),
    ("server", "--dev", "--data-dir", "d", "--workers", "0"),
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_exits_with_2_and_sends_nothing(mimir, appliance, arguments):
    outcome = mimir(*arguments)
    assert outcome.code == ExitCode.USAGE
    assert "Error: " in outcome.err
    assert "--help" in outcome.err
    assert SECRET not in outcome.err + outcome.out
    assert not appliance.requests


ENVIRONMENT = [
    ({"MIMIR_FORMAT": "xml"}, "choose table, json or yaml", ExitCode.USAGE),
    ({"MIMIR_CLIENT_TIMEOUT": "soon"}, "is no duration", ExitCode.USAGE),
    ({"MIMIR_CLIENT_TIMEOUT": "0"}, "not between", ExitCode.USAGE),
    ({"VAULT_CLIENT_TIMEOUT": "-5s"}, "not between", ExitCode.USAGE),
    ({"MIMIR_SKIP_VERIFY": "perhaps"}, "write true or false", ExitCode.USAGE),
    ({"MIMIR_ADDR": "127.0.0.1:8200"}, "write it as http://", ExitCode.FAILED),
    ({"MIMIR_ADDR": "ftp://127.0.0.1"}, "write it as http://", ExitCode.FAILED),
    ({"MIMIR_ADDR": "http://"}, "write it as http://", ExitCode.FAILED),
    ({"MIMIR_ADDR": "http://h:99999"}, "host or port", ExitCode.FAILED),
    ({"MIMIR_ADDR": "http://[::1"}, "host or port", ExitCode.FAILED),
    ({"MIMIR_ADDR": "http://h?x=1"}, "a query", ExitCode.FAILED),
    ({"MIMIR_ADDR": f"http://user:{SECRET}@h"}, "credentials do not belong", ExitCode.FAILED),
    ({"MIMIR_ADDR": "http://h\nx"}, "control character", ExitCode.FAILED),
    ({"MIMIR_ADDR": "unix://run/mimir.sock"}, "absolute path", ExitCode.FAILED),
    ({"MIMIR_ADDR": "unix:///nowhere/mimir.sock"}, "no Mimir answers", ExitCode.NO_ANSWER),
    ({"MIMIR_ADDR": "http://no-such-host.invalid:1"}, "Set|check MIMIR_ADDR", ExitCode.NO_ANSWER),
    ({"MIMIR_TOKEN": f"{SECRET}\nX-Evil: 1"}, "the token holds a character", ExitCode.FAILED),
    ({"MIMIR_TOKEN": "s.ünicode"}, "the token holds a character", ExitCode.FAILED),
    ({"MIMIR_NAMESPACE": "a\rb"}, "the namespace holds a character", ExitCode.FAILED),
    ({"VAULT_WRAP_TTL": "5m\n"}, "the wrap TTL holds a character", ExitCode.FAILED),
]


@pytest.mark.parametrize(("environ", "sentence", "code"), ENVIRONMENT, ids=str)
def test_an_environment_that_cannot_be_used_is_named(mimir, appliance, environ, sentence, code):
    outcome = mimir("read", "a", **environ)
    assert outcome.code == code
    assert any(part in outcome.err for part in sentence.split("|"))
    assert SECRET not in outcome.err
    assert not appliance.requests


INPUTS = [
    (("transit", "encrypt", "k", "--input", "not base64!"), b"", "pipe it through `base64`"),
    (("transit", "encrypt", "k", "--input", "-"), b"ssn=123-45-6789", "pipe it through `base64`"),
    (("transit", "encrypt", "k", "--input", "aGk"), b"", "not base64"),
    (("transit", "encrypt", "k", "--input", "-"), b"\xff\xfe", "not base64"),
    (("transit", "encrypt", "k", "--input", "aGk=", "--associated-data", "*"), b"", "associated data is not base64"),
    (("transit", "encrypt", "k", "--input", "-", "--associated-data", "-"), b"aGk=", "once on a command line"),
    (("transit", "encrypt", "k", "--input", "@/no/such/file"), b"", "'/no/such/file' cannot be read: No such file"),
    (("transit", "encrypt", "k", "--input", "@/"), b"", "Is a directory"),
    (("transit", "encrypt", "k", "--batch", "-"), b"", "the batch is empty"),
    (("transit", "encrypt", "k", "--batch", "-"), b"[]", "the batch is empty"),
    (("transit", "encrypt", "k", "--batch", "-"), b"[1]", "item 1 of the batch"),
    (("transit", "encrypt", "k", "--batch", "-"), b'[{"ciphertext": "x"}]', "item 1 of the batch"),
    (("transit", "encrypt", "k", "--batch", "-"), b'["aGk=", "*"]', "not base64"),
    (("transit", "encrypt", "k", "--batch", "-"), b'["aGk="', "is not JSON"),
    (("transit", "decrypt", "k", "--batch", "-"), b"\xff", "not UTF-8"),
    (("transit", "decrypt", "k", "--ciphertext", "-"), b" \n", "the ciphertext is empty"),
    (("transit", "decrypt", "k", "--ciphertext", "-"), b"\xff", "not UTF-8"),
    (("write", "a", SECRET), b"", "argument 1 of the values is not key=value"),
    (("write", "a", "=v"), b"", "argument 1 of the values is not key=value"),
    (("write", "a", "k=-", "l=-"), b"x", "once on a command line"),
    (("write", "a", "k=@/no/such/file"), b"", "cannot be read"),
    (("write", "a", "k=@bad\0name"), b"", "cannot be read"),
    (("write", "a", "k=-"), b"\xff", "value of k is not UTF-8"),
    (("write", "a", "-"), b"[1]", "no object"),
    (("write", "a", "-"), f'{{"password": {SECRET}}}'.encode(), "not JSON"),
    (("write", "a", "-"), b"[" * 100000, "nested too deeply"),
    (("write", "a", "-"), b"\xff", "not UTF-8"),
    (("read", " / "), b"", "the path is empty"),
    (("read", "a/../b"), b"", "`.` or `..`"),
    (("read", "a\nb"), b"", "control character"),
    (("login", "-"), b"\n", "the token is empty"),
    (("login", "-"), f"{SECRET}\ntwo lines".encode(), "the token holds a character"),
    (("login", "x" * 9000), b"", "too long"),
    (("operator", "unseal", "-"), b"", "the key is empty"),
    (("policy", "write", "p", "/no/such/file"), b"", "cannot be read"),
    (("policy", "write", "p", "-"), b"\xff", "not UTF-8"),
    (("server", "--config", "/no/such/file"), b"", "cannot be read"),
]


@pytest.mark.parametrize(("arguments", "stdin", "sentence"), INPUTS, ids=lambda _: None)
def test_bad_input_is_refused_here_and_not_repeated(mimir, appliance, arguments, stdin, sentence):
    outcome = mimir(*arguments, stdin=stdin)
    assert outcome.code == ExitCode.FAILED
    assert sentence in outcome.err
    assert outcome.out == ""
    assert SECRET not in outcome.err
    assert not appliance.requests


REFUSED = [
    (400, {"errors": ["missing plaintext"]}, ExitCode.FAILED, "a/b: missing plaintext"),
    (400, {"errors": []}, ExitCode.FAILED, "cannot be served as it was made"),
    (400, b"", ExitCode.FAILED, "cannot be served as it was made"),
    (400, {"errors": ["one.", "two"]}, ExitCode.FAILED, "one; two"),
    (400, {"errors": "text"}, ExitCode.FAILED, "cannot be served"),
    (400, b"<html>nginx", ExitCode.FAILED, "cannot be served"),
    (400, {"errors": ["esc \x1b[2J"]}, ExitCode.FAILED, "esc \\x1b[2J"),
    (403, {"errors": ["permission denied"]}, ExitCode.FAILED, "permission denied. Check with `mimir token lookup`"),
    (403, b"", ExitCode.FAILED, "permission denied"),
    (404, {"errors": []}, ExitCode.FAILED, "a/b: nothing is there"),
    (404, {"errors": ['no handler for route "a/b". route entry']}, ExitCode.FAILED, "`mimir secrets engine list`"),
    (405, {"errors": []}, ExitCode.FAILED, "does not take this operation"),
    (413, b"", ExitCode.FAILED, "too large"),
    (413, {"errors": ["the request body is larger than 9 bytes"]}, ExitCode.FAILED, "9 bytes: send it in smaller"),
    (413, {"errors": ["a secret has at most 9 bytes of JSON"]}, ExitCode.FAILED, "JSON: store it as several secrets"),
    (307, b"", ExitCode.FAILED, "set MIMIR_ADDR"),
    (418, b"", ExitCode.FAILED, "status 418"),
    (412, b"", ExitCode.UNAVAILABLE, "try again"),
    (429, {"errors": []}, ExitCode.UNAVAILABLE, "wait and try again"),
    (500, {"errors": ["internal error"]}, ExitCode.UNAVAILABLE, "its log has the details"),
    (501, b"", ExitCode.UNAVAILABLE, "mimir operator init"),
    (502, b"<html>", ExitCode.UNAVAILABLE, "a proxy"),
    (503, {"errors": ["Vault is sealed"]}, ExitCode.UNAVAILABLE, "mimir operator unseal"),
    (503, {"errors": ["the HSM is away"]}, ExitCode.UNAVAILABLE, "mimir hsm status"),
    (200, b"<html>hello</html>", ExitCode.NO_ANSWER, "not in JSON: is it Mimir?"),
    (200, b"[1]", ExitCode.NO_ANSWER, "JSON that is no object"),
    (200, b'{"a": ', ExitCode.NO_ANSWER, "not in JSON"),
    (200, b"\xff\xfe{}", ExitCode.NO_ANSWER, "not in JSON"),
    (200, b"[" * 100000, ExitCode.NO_ANSWER, "not in JSON"),
]


@pytest.mark.parametrize(("status", "body", "code", "sentence"), REFUSED, ids=lambda _: None)
def test_every_kind_of_refusal_has_its_code_and_sentence(mimir, appliance, status, body, code, sentence):
    appliance.answers(status, body)
    outcome = mimir("read", "a/b", MIMIR_TOKEN=SECRET)
    assert outcome.code == code
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert SECRET not in outcome.err


def test_a_refusal_without_a_token_says_how_to_get_one(mimir, appliance):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir("read", "a", MIMIR_TOKEN="")
    assert "No token was sent: run `mimir login`" in outcome.err


def test_a_refusal_names_the_request_id(mimir, appliance):
    appliance.answers(403, {"errors": ["permission denied"]}, X_Request_Id="7f3e")
    assert "(request id 7f3e)" in mimir("read", "a").err


def test_a_redirect_names_where_to(mimir, appliance):
    appliance.answers(307, b"", Location="http://other:8200/v1/a")
    assert "redirects to http://other:8200/v1/a" in mimir("read", "a").err


def test_nobody_listening_says_how_to_start_one(mimir):
    outcome = mimir("read", "a", MIMIR_ADDR="http://127.0.0.1:1")
    assert outcome.code == ExitCode.NO_ANSWER
    assert "no Mimir answers at http://127.0.0.1:1: is `mimir server` running there? Set MIMIR_ADDR" in outcome.err


def test_a_truncated_answer_is_not_taken_for_a_whole_one(mimir, appliance):
    appliance.answers(200, b'{"data": {}}', Content_Length="4000")
    outcome = mimir("read", "a")
    assert outcome.code == ExitCode.NO_ANSWER
    assert "broke in the middle of the answer" in outcome.err


def test_an_empty_truncated_answer_is_not_taken_for_success(mimir, appliance):
    appliance.answers(200, b"", Content_Length="40")
    assert mimir("write", "-f", "a").code == ExitCode.NO_ANSWER


def _serve_once(answer: bytes | None) -> tuple[socket.socket, threading.Thread]:
    """Listen, take one connection, answer these bytes (None: never), close."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if answer is not None:
                connection.sendall(answer)
            else:
                connection.recv(1)  # until the client gives up

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


STREAMS = [
    (b"", "closed the connection without an answer"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    (b"HTTP/1.1 banana\r\n\r\n", "does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", "broke in the middle"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "does not speak HTTP"),
    (None, "no answer from http://127.0.0.1"),
]


@pytest.mark.parametrize(("answer", "sentence"), STREAMS, ids=lambda _: None)
def test_a_peer_that_is_not_mimir_is_called_so(mimir, answer, sentence):
    listener, thread = _serve_once(answer)
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        outcome = mimir("read", "a", MIMIR_ADDR=address, MIMIR_CLIENT_TIMEOUT="0.2" if answer is None else "10")
    finally:
        thread.join()
        listener.close()
    assert outcome.code == ExitCode.NO_ANSWER
    assert sentence in outcome.err


def test_status_exits_with_1_when_nothing_answers(mimir):
    """As `bao status`: 2 is kept for sealed."""
    assert mimir("status", MIMIR_ADDR="http://127.0.0.1:1").code == ExitCode.FAILED


@pytest.mark.parametrize("arguments", [("status", "extra"), ("status", "-o", "xml"), ("status", "--nope")])
def test_status_exits_with_1_for_wrong_usage(mimir, arguments):
    assert mimir(*arguments).code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("body", "code"), [({"sealed": False}, 0), ({"sealed": True}, 2), ({}, 2), ({"sealed": None}, 2)]
)
def test_status_exits_with_0_only_when_unsealed(mimir, appliance, body, code):
    appliance.answers(200, body)
    assert mimir("status").code == code


def test_login_with_a_refused_token_stores_nothing(mimir, appliance, home):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir("login", SECRET)
    assert outcome.code == ExitCode.FAILED
    assert "nothing was stored" in outcome.err
    assert SECRET not in outcome.err
    assert not list(home.iterdir())


def test_a_fault_of_our_own_shows_no_traceback(mimir, monkeypatch):
    def fail(*args: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("client.commands.generic.show", fail)
    outcome = mimir("read", "a")
    assert outcome.code == ExitCode.FAILED
    assert "a fault of mimir itself (RuntimeError)" in outcome.err
    assert SECRET not in outcome.err


BATCH_FAILURE = {"data": {"batch_results": [{"plaintext": "aGk="}, {"error": "invalid ciphertext"}]}}


@pytest.mark.parametrize("status", [200, 400])
def test_a_batch_with_a_failed_item_prints_the_others_and_fails(mimir, appliance, status):
    appliance.answers(status, BATCH_FAILURE)
    outcome = mimir("transit", "decrypt", "k", "--batch", "-", stdin=b"a\nb\n")
    assert (outcome.code, outcome.out) == (ExitCode.FAILED, "aGk=\n\n")
    assert "item 2: invalid ciphertext" in outcome.err


ODD_ANSWERS = [
    ("transit", "encrypt", "k", "--input", "aGk="),
    ("transit", "decrypt", "k", "--ciphertext", "c"),
    ("transit", "rewrap", "k", "--ciphertext", "c"),
    ("transit", "encrypt", "k", "--batch", "-"),
    ("list", "a"),
]


@pytest.mark.parametrize("arguments", ODD_ANSWERS)
@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": []}, {"data": {"keys": 1, "batch_results": 3}}])
def test_an_answer_of_another_shape_is_no_success(mimir, appliance, arguments, body):
    appliance.answers(200, body)
    outcome = mimir(*arguments, stdin=b"aGk=\n")
    assert outcome.code in {ExitCode.FAILED, ExitCode.NO_ANSWER}
    assert "Error: the answer holds no" in outcome.err


def test_a_plaintext_that_is_not_base64_is_not_printed(mimir, appliance):
    appliance.gives(plaintext="*")
    outcome = mimir("transit", "decrypt", "k", "--ciphertext", "c")
    assert (outcome.code, outcome.out) == (ExitCode.NO_ANSWER, "")


def test_a_field_that_is_not_there_is_an_error(mimir, appliance):
    appliance.gives(a=1)
    outcome = mimir("read", "a", "--field", "b")
    assert outcome.code == ExitCode.FAILED
    assert "no field 'b'" in outcome.err


EMPTY = [
    (("auth", "enable", ""), "TYPE"),
    (("policy", "read", ""), "NAME"),
    (("secrets", "engine", "disable", ""), "PATH"),
    (("lease", "revoke", "--prefix", ""), "LEASE_ID"),
    (("token", "capabilities", ""), "[TOKEN|-] PATH"),
    (("identity", "entity", "delete", ""), "NAME|ID"),
    (("auth", "enable", "approle", "--path", "/"), "--path"),
    (("secrets", "engine", "enable", "transit", "--path", ""), "--path"),
]


@pytest.mark.parametrize(("arguments", "name"), EMPTY, ids=lambda value: str(value)[:40])
def test_an_empty_argument_is_wrong_usage(mimir, appliance, arguments, name):
    """As `mimir policy delete "$NAME"` with a variable that is not set."""
    result = mimir(*arguments)
    assert result.code == 2
    assert f"Error: {name} is empty" in result.err
    assert not appliance.requests


@pytest.mark.parametrize("verb", ["lookup", "renew"])
def test_a_refused_question_about_another_token_does_not_send_in_a_circle(mimir, appliance, verb):
    appliance.answers(403, {"errors": ["permission denied"]})
    said = mimir("token", verb, "-", stdin=b"hvs.other").err
    assert "The token asked about is not valid (any more), or the one in use must not do this" in said
    assert "hvs.other" not in said


def test_a_namespace_inside_another_is_made_there(mimir, appliance):
    result = mimir("namespace", "create", "team-a/payments/")
    assert result.code == 2
    assert "mimir --namespace team-a namespace create payments" in result.err
    assert not appliance.requests


@pytest.mark.parametrize("rate", ["nan", "inf", "-1", "0", "many"])
def test_a_rate_that_is_no_number_of_requests_is_wrong_usage(mimir, appliance, rate):
    assert mimir("quota", "write", "q", "--rate", rate).code == 2
    assert not appliance.requests
