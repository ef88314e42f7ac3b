"""The loaders of published vectors refuse a file that holds none, or others than were expected."""

import pytest

from tests.vectors import published
from tests.vectors.published import VectorFileError

CMAC = "CMAC/nist-800-38b-aes128.txt"


def written(tmp_path, monkeypatch, text):
    monkeypatch.setattr(published, "ROOT", tmp_path)
    (tmp_path / "file").write_text(text)
    return "file"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "[Section]\n", "Key = 00\n"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_file_without_vectors_fails(tmp_path, monkeypatch, text, count):
    path = written(tmp_path, monkeypatch, text)
    with pytest.raises(VectorFileError):
        published.rows(path, begins="count", count=count)
    with pytest.raises(VectorFileError):
        published.rsa_examples(path, begins="message", count=count)
    with pytest.raises(VectorFileError):
        published.evp_blocks(path, operation="DigestVerify", count=count)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_another_count_than_expected_fails(count):
    with pytest.raises(VectorFileError):
        published.rows(CMAC, begins="count", count=count)


def test_sections_that_are_not_there_fail():
    with pytest.raises(VectorFileError):
        published.rows("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp", begins="msg", count=225, names=["P-256,SHA-9"])


def test_a_vector_inherits_its_section_and_shared_fields(tmp_path, monkeypatch):
    text = "[mod = 2048]\nn = aa\nS = 1\nMsg = 2\nFAIL\nn = bb\nS = 3\n[P-256,SHA-1]\nS = 4\n"
    path = written(tmp_path, monkeypatch, text)
    assert published.rows(path, begins="s", shared=("n",), count=3) == [
        {"mod": "2048", "n": "aa", "s": "1", "msg": "2", "fail": ""},
        {"mod": "2048", "n": "bb", "s": "3"},
        {"mod": "2048", "n": "bb", "section": "P-256,SHA-1", "s": "4"},
    ]


def test_an_rsa_key_takes_the_examples_below_it(tmp_path, monkeypatch):
    key = "# Modulus:\n0{0}\n# Public exponent:\n3\n# Prime 1:\n5\n# Prime 2:\n0b\n"
    part = key + "# Message:\na b\nc d\n# Encryption:\n{0}\n"
    path = written(tmp_path, monkeypatch, part.format(7) + part.format(9))
    one, other = published.rsa_examples(path, begins="message", count=2)
    assert (one.modulus, one.exponent, one.primes) == (7, 3, [5, 11])
    assert one.examples == [{"message": b"\xab\xcd", "encryption": b"\x07"}]
    assert (other.modulus, len(other.examples)) == (9, 1)


def test_a_sample_is_the_same_at_every_run():
    rows = list(range(10))
    assert published.every(4, rows) == [0, 4, 8]
