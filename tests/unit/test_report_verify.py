"""The verifier of the archive: its own Ed25519 and its own tree say what the libraries and the domain say."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.documents.evidence import spell_signature
from rotator.report.verify import Fault, check_kind, read_signature
from rotator.report.verify_proofs import decode_key, fold, grow, is_consistent, is_included, is_signed
from tests.support.whole_tree import make_consistency_proof, make_inclusion_proof, make_root

_ORDER = 2**252 + 27742317777372353535851937790883648493
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)
"""RFC 8032, 7.1: public key, message, signature."""
LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(40)]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_of_the_standard_are_accepted_and_no_others(key: str, message: str, signature: str) -> None:
    public, said, made = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert is_signed(said, made, public)
    assert not is_signed(said + b"x", made, public)
    assert not is_signed(said, made[:-1], public)
    assert not is_signed(said, made, public[:-1])
    beyond = int.from_bytes(made[32:], "little") + _ORDER  # the same number, modulo the order of the group
    assert not is_signed(said, made[:32] + beyond.to_bytes(32, "little"), public)
    assert not is_signed(said, made, b"\xff" * 32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=80),
    place=st.integers(0, 95),
    bit=st.integers(0, 7),
)
def test_signatures_are_judged_as_the_library_judges_them(seed: bytes, message: bytes, place: int, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    whole = bytearray(private.sign(message) + public)
    assert is_signed(message, bytes(whole[:64]), public)
    whole[place] ^= 1 << bit
    accepted = False
    with suppress(InvalidSignature, ValueError):
        Ed25519PublicKey.from_public_bytes(bytes(whole[64:])).verify(bytes(whole[:64]), message)
        accepted = True
    assert is_signed(message, bytes(whole[:64]), bytes(whole[64:])) is accepted


def _judge(check: object, *arguments: object) -> bool:
    assert callable(check)
    try:
        return bool(check(*arguments))
    except (IndexError, ValueError):
        return False


def test_proofs_of_the_domain_are_accepted_and_no_others() -> None:
    for size in range(1, len(LEAVES) + 1):
        leaves, peaks = LEAVES[:size], list[bytes]()
        root = make_root(leaves)
        for number, leaf in enumerate(leaves):
            grow(peaks, number, leaf)
            proof = make_inclusion_proof(number, leaves)
            assert _judge(is_included, leaf, number, size, proof, root)
            assert not _judge(is_included, LEAVES[number - 1], number, size, proof, root) or size == 1
            assert not _judge(is_included, leaf, number, size, [*proof, leaf], root)
            assert not proof or not _judge(is_included, leaf, number, size, proof[:-1], root)
        assert fold(peaks) == root
        for old in range(1, size):
            proof, before = make_consistency_proof(old, leaves), make_root(leaves[:old])
            assert _judge(is_consistent, old, before, size, root, proof)
            assert not _judge(is_consistent, old, root, size, root, proof)
            assert not _judge(is_consistent, old, before, size, before, proof)
            assert not _judge(is_consistent, old, before, size, root, proof[:-1])
            assert not _judge(is_consistent, old, before, size, root, [*proof, root])


def test_public_key_is_read_in_hex_and_base64() -> None:
    key = bytes(range(32))
    assert decode_key(key.hex()) == decode_key(base64.b64encode(key).decode() + "\n") == key
    for text in ("", "00", key.hex()[:-2], "g" * 64, "A" * 44):
        with pytest.raises(ValueError, match=r"\w"):
            decode_key(text)


SIGNED = spell_signature("ab" * 32, "0123456789abcdef", base64.b64encode(b"\xab" * 64).decode())


@pytest.mark.parametrize("data", [SIGNED, spell_signature("ab" * 32, None, None)])
def test_signature_is_read_as_rotator_writes_it(data: bytes) -> None:
    assert read_signature(data)["sha256"] == "ab" * 32


@pytest.mark.parametrize(
    "data",
    [
        SIGNED.replace(b'"signature":"abab', b'"signature":"ABab'),
        SIGNED.replace(b'"signature":"abab', b'"signature":"ab ab'),
        SIGNED.replace(b'"signature":"', b'"signature":" '),
        SIGNED.replace(b'"sha256"', b'"more":1,"sha256"'),
        re.sub(b'"key":"[0-9a-f]+"', b'"key":null', SIGNED),
        SIGNED + b"\n",
    ],
)
def test_signature_in_another_spelling_is_not_accepted(data: bytes) -> None:
    assert data != SIGNED
    with pytest.raises(Fault, match=r"signature\.json is not as rotator writes it"):
        read_signature(data)


def test_link_or_pipe_is_no_file_of_an_archive(tmp_path: Path) -> None:
    """What a link leads to can be changed afterwards, and a pipe is never read to its end."""
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    file.write_bytes(b"x")
    link.symlink_to(file)
    os.mkfifo(pipe)
    assert check_kind(file) == file
    assert check_kind(tmp_path / "missing") == tmp_path / "missing", "reading it says so"
    for path in (link, pipe, tmp_path):
        with pytest.raises(Fault, match="is not a file of its own"):
            check_kind(path)


@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_verifier_fails_when_nobody_can_read_what_it_found(where: str) -> None:
    program = 'import sys; from rotator.report.verify import show; sys.exit(show(["proved"], 0))'
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {where}', sys.executable, program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.partition(":")[0], done.stderr.count("\n")) == (1, "FAILED", 1)
