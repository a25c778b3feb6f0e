"""The encrypted token cache: what survives crashes, damage, other processes and other keys."""

import base64
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import msal
import pytest
from cryptography.fernet import Fernet

from rotator.adapters.entra.cache_shape import ACCESS_TOKEN, ACCOUNT, ID_TOKEN, REFRESH_TOKEN, SIGN_IN, Entry
from rotator.adapters.entra.file_store import FileTokenCacheStore
from rotator.adapters.entra.memory_cache import MemoryTokenCache
from rotator.adapters.entra.token_cache import LARGEST_CACHE, EncryptedTokenCache, TokenCacheKeyError
from rotator.domain.events.event import Event
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, RotatorError

ROOT = Path(__file__).parents[2]
CANARY = "CANARY-refresh-token-0123456789"


@pytest.fixture
def key() -> str:
    return Fernet.generate_key().decode()


class Events:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, event: Event, subject: str, /) -> None:
        self.names.append(event.type.name)


def open_cache(folder: Path, key: str, events: Events | None = None) -> EncryptedTokenCache:
    return EncryptedTokenCache(FileTokenCacheStore(folder / "cache.bin"), SecretValue(key), progress=events)


def make_entry(name: str, secret: str = CANARY) -> Entry:
    return {"home_account_id": name, "environment": "host", "client_id": "app", "secret": secret}


def put(cache: EncryptedTokenCache, name: str, secret: str = CANARY) -> None:
    tokens = MemoryTokenCache()
    tokens.modify(REFRESH_TOKEN, make_entry(name), make_entry(name, secret))
    cache.save_tokens({}, tokens)


def names(cache: EncryptedTokenCache) -> set[str]:
    return {entry["home_account_id"] for entry in cache.search(REFRESH_TOKEN)}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_cache_is_seen_by_another_instance_when_one_writes(tmp_path: Path, key: str) -> None:
    first, second = open_cache(tmp_path, key), open_cache(tmp_path, key)
    assert names(second) == set()
    put(first, "a")
    assert names(second) == {"a"}
    put(second, "b")
    assert names(first) == {"a", "b"}


def test_cache_files_are_private_when_they_had_other_modes(tmp_path: Path, key: str) -> None:
    path, previous = tmp_path / "cache.bin", tmp_path / "cache.bin.previous"
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    path.chmod(0o666)
    previous.write_bytes(b"")
    previous.chmod(0o644)
    old_mask = os.umask(0)
    try:
        put(cache, "b")
    finally:
        os.umask(old_mask)
    assert (mode(path), mode(previous), mode(tmp_path / "cache.bin.lock")) == (0o600, 0o600, 0o600)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache.bin", "cache.bin.lock", "cache.bin.previous"]


def test_cache_file_does_not_show_a_token_in_any_spelling(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    put(cache, "b")
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        decoded = base64.urlsafe_b64decode(content + b"==")
        for shift in range(3):
            coded = base64.b64encode(b" " * shift + CANARY.encode())[4:-4]
            assert coded not in content, path
        assert CANARY.encode() not in content + decoded, path


def test_cache_goes_back_one_generation_when_cut_at_any_length(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    put(cache, "b")
    whole = (tmp_path / "cache.bin").read_bytes()
    for length in range(len(whole) - 1):  # without the newline alone nothing is lost
        (tmp_path / "cache.bin").write_bytes(whole[:length])
        events = Events()
        cut = open_cache(tmp_path, key, events)
        assert names(cut) == {"a"}, length
        assert events.names == ["token_cache_recovered"], length
        assert cut.damage is None


def test_cache_is_empty_and_says_why_when_both_generations_are_cut_at_any_length(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    put(cache, "b")
    current, previous = (tmp_path / name for name in ("cache.bin", "cache.bin.previous"))
    whole, old = current.read_bytes(), previous.read_bytes()
    for length in range(len(old) - 1):
        current.write_bytes(whole[:length])
        previous.write_bytes(old[:length])
        events = Events()
        cut = open_cache(tmp_path, key, events)
        assert names(cut) == set(), length
        assert cut.damage is not None
        assert str(current) in cut.damage
        assert events.names == ["token_cache_damaged"], length


def test_cache_heals_when_written_after_damage(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    put(cache, "b")
    (tmp_path / "cache.bin").write_bytes(b"")
    put(cache, "c")
    events = Events()
    healed = open_cache(tmp_path, key, events)
    assert names(healed) == {"a", "c"}
    assert events.names == []
    # The damaged file must not have become the generation to fall back to.
    (tmp_path / "cache.bin").write_bytes(b"rubbish")
    assert names(open_cache(tmp_path, key)) == {"a"}


def test_cache_damage_is_forgotten_when_it_was_written_anew(tmp_path: Path, key: str) -> None:
    (tmp_path / "cache.bin").write_bytes(b"rubbish")
    cache = open_cache(tmp_path, key)
    assert names(cache) == set()
    assert cache.damage is not None
    put(cache, "a")
    assert cache.damage is None
    assert names(open_cache(tmp_path, key)) == {"a"}


@pytest.mark.parametrize("content", [b"[]", b"null", b"not json", b"\xff\xfe"])
def test_cache_counts_as_damaged_when_the_decrypted_content_is_no_cache(
    tmp_path: Path, key: str, content: bytes
) -> None:
    (tmp_path / "cache.bin").write_bytes(Fernet(key).encrypt(content) + b"\n")
    cache = open_cache(tmp_path, key)
    assert names(cache) == set()
    assert cache.damage is not None


WHOLE = {
    "SignIn": {
        "s": {"home_account_id": "a", "environment": "host", "client_id": "app", "realm": "t", "username": "u"},
    },
    "AccessToken": {"a": {**make_entry("a"), "expires_on": "4102444800", "cached_at": "1", "target": "x"}},
    "RefreshToken": {"r": {**make_entry("a"), "last_modification_time": "1"}},
}


@pytest.mark.parametrize("value", [None, 7, [], {}, True, "soon", "-1", "9" * 30])
@pytest.mark.parametrize(
    ("kind", "key_of", "field"),
    [
        ("AccessToken", "a", "expires_on"),
        ("AccessToken", "a", "cached_at"),
        ("RefreshToken", "r", "last_modification_time"),
        ("AccessToken", None, None),
        ("RefreshToken", "r", None),
    ],
)
def test_cache_counts_as_damaged_when_an_entry_is_none(
    tmp_path: Path, key: str, value: object, kind: str, key_of: str | None, field: str | None
) -> None:
    """Whatever a program with the right key wrote: MSAL would stumble over it in the middle of a run."""
    content = json.loads(json.dumps(WHOLE))
    target = content if key_of is None else content[kind] if field is None else content[kind][key_of]
    target[kind if key_of is None else key_of if field is None else field] = value
    if value == {} and field is None and key_of is None:
        return  # no entry of that kind: a cache like any other
    (tmp_path / "cache.bin").write_bytes(Fernet(key).encrypt(json.dumps(content).encode()) + b"\n")
    events = Events()
    cache = open_cache(tmp_path, key, events)
    assert cache.search(SIGN_IN) == []
    assert cache.damage is not None
    assert events.names == ["token_cache_damaged"]


@pytest.mark.parametrize("field", ["home_account_id", "environment", "client_id", "realm"])
def test_cache_counts_as_damaged_when_a_sign_in_lacks_its_owner(tmp_path: Path, key: str, field: str) -> None:
    content = json.loads(json.dumps(WHOLE))
    del content["SignIn"]["s"][field]
    (tmp_path / "cache.bin").write_bytes(Fernet(key).encrypt(json.dumps(content).encode()) + b"\n")
    cache = open_cache(tmp_path, key)
    assert cache.search(SIGN_IN) == []
    assert cache.damage is not None


def test_cache_is_read_when_every_entry_is_what_it_should_be(tmp_path: Path, key: str) -> None:
    (tmp_path / "cache.bin").write_bytes(Fernet(key).encrypt(json.dumps(WHOLE).encode()) + b"\n")
    cache = open_cache(tmp_path, key)
    assert (len(cache.search(SIGN_IN)), names(cache), cache.damage) == (1, {"a"}, None)


def test_kinds_of_entries_are_those_of_msal() -> None:
    kinds = msal.TokenCache.CredentialType
    assert (ACCESS_TOKEN, REFRESH_TOKEN) == (kinds.ACCESS_TOKEN, kinds.REFRESH_TOKEN)
    assert (ID_TOKEN, ACCOUNT) == (kinds.ID_TOKEN, kinds.ACCOUNT)


def issue(name: str, scopes: str, lifetime: int, now: float) -> MemoryTokenCache:
    """Return the tokens of one answer of Entra, as MSAL keeps them."""
    tokens = MemoryTokenCache(now=lambda: now)
    info = base64.urlsafe_b64encode(json.dumps({"uid": name, "utid": "t"}).encode()).decode()
    answer = {"access_token": f"{name} {scopes}", "refresh_token": CANARY, "client_info": info, "expires_in": lifetime}
    endpoint = "https://host/t/oauth2/v2.0/token"
    tokens.add({"client_id": "app", "scope": scopes.split(), "token_endpoint": endpoint, "response": answer})
    return tokens


@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize("kind", [ACCESS_TOKEN, REFRESH_TOKEN, ACCOUNT, ID_TOKEN])
@pytest.mark.parametrize("scope", ["", "one/.default", "two/read", "Three/.Default", "one"])
@pytest.mark.parametrize("now", [1000.0, 1060.0, 1061.0, 1601.0])
def test_cache_finds_what_msal_finds(tmp_path: Path, key: str, name: str, kind: str, scope: str, now: float) -> None:
    cache, theirs = open_cache(tmp_path, key), MemoryTokenCache()
    for user, scopes, lifetime in (
        ("a", "one/.default one/write", 60),
        ("a", "two/read", 600),
        ("b", "one/.default", 600),
        ("b", "three/.default", 60),
    ):
        cache.save_tokens({}, issue(user, scopes, lifetime, 1000.0))
    theirs.deserialize(json.dumps({kind: cache._match(kind, {}) for kind in (ACCESS_TOKEN, REFRESH_TOKEN, ACCOUNT)}))
    query = {"home_account_id": f"{name}.t", "environment": "host"}
    if kind == ACCESS_TOKEN:
        query |= {"client_id": "app", "realm": "t"}
    wanted = scope if kind == ACCESS_TOKEN else ""
    everything = theirs.search(kind, target=[wanted] if wanted else [], query=query, now=0)
    expected = [entry for entry in everything if int(entry.get("expires_on", now + 1)) >= now]
    found = cache.search(kind, query, scope=wanted, now=now)
    assert sorted(map(str, found)) == sorted(map(str, expected))


@pytest.mark.parametrize("name", ["cache.bin", "cache.bin.previous"])
def test_cache_names_the_file_when_it_is_a_pipe_that_nobody_writes(tmp_path: Path, key: str, name: str) -> None:
    (tmp_path / "cache.bin").write_bytes(b"cut")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(RotatorError, match="no regular file") as refused:
        names(open_cache(tmp_path, key))
    assert refused.value.code == "token_cache_unreadable"


def test_cache_stays_empty_when_somebody_removed_the_file(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    put(cache, "b")
    (tmp_path / "cache.bin").unlink()
    assert names(cache) == set()
    assert cache.damage is None


@pytest.mark.parametrize("generations", [1, 2])
def test_cache_names_the_key_when_written_with_another_one(tmp_path: Path, key: str, generations: int) -> None:
    for number in range(generations):
        put(open_cache(tmp_path, key), f"user{number}")
    before = (tmp_path / "cache.bin").read_bytes()
    other = Fernet.generate_key().decode()
    stranger = open_cache(tmp_path, other)
    with pytest.raises(TokenCacheKeyError) as refused:
        names(stranger)
    with pytest.raises(TokenCacheKeyError):
        put(stranger, "b")
    assert isinstance(refused.value, ConfigError)
    assert (refused.value.code, refused.value.exit_code) == ("token_cache_key", 2)
    assert "token_cache.key" in refused.value.message
    assert other not in str(refused.value) + refused.value.fix
    assert (tmp_path / "cache.bin").read_bytes() == before


@pytest.mark.parametrize("bad", ["", "short", "x" * 44, "ü" * 44])
def test_cache_names_the_key_when_it_is_no_fernet_key(tmp_path: Path, bad: str) -> None:
    with pytest.raises(TokenCacheKeyError) as refused:
        open_cache(tmp_path, bad)
    assert refused.value.code == "token_cache_key"
    assert refused.value.__context__ is None
    assert not bad or bad not in str(refused.value) + refused.value.fix


def test_cache_names_the_folder_when_it_does_not_exist(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path / "nowhere", key)
    with pytest.raises(RotatorError, match="folder") as refused:
        names(cache)
    assert refused.value.code == "token_cache_folder"
    with pytest.raises(RotatorError, match="nowhere"):
        put(cache, "a")


def test_cache_names_the_file_when_it_is_a_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "cache.bin").mkdir()
    with pytest.raises(RotatorError, match="cannot be read") as refused:
        names(open_cache(tmp_path, key))
    assert refused.value.code == "token_cache_unreadable"


def fail_while_writing(cache: EncryptedTokenCache) -> None:
    with cache.writing():
        put(cache, "b")
        raise KeyError


def test_cache_forgets_unsaved_changes_when_a_block_fails(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    with pytest.raises(KeyError):
        fail_while_writing(cache)
    assert names(cache) == {"a"}
    assert names(open_cache(tmp_path, key)) == {"a"}


def test_cache_writes_once_when_several_entries_change_together(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    with cache.writing():
        put(cache, "b")
        put(cache, "c")
    (tmp_path / "cache.bin").write_bytes(b"")
    assert names(open_cache(tmp_path, key)) == {"a"}


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


COUNT = """
import sys
from pathlib import Path
from tests.unit.test_token_cache import *
folder, key, who = sys.argv[1:]
cache = open_cache(Path(folder), key)
for number in range(50):
    with cache.writing():
        total = next((int(e["secret"]) for e in cache.search(REFRESH_TOKEN) if e["home_account_id"] == "total"), 0)
        put(cache, "total", str(total + 1))
        put(cache, f"{who}-{number}")
"""


def test_cache_loses_nothing_when_four_processes_write_fifty_times_each(tmp_path: Path, key: str) -> None:
    writers = [run_script(COUNT, str(tmp_path), key, f"writer{number}") for number in range(4)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 4
    found = {entry["home_account_id"]: entry["secret"] for entry in open_cache(tmp_path, key).search(REFRESH_TOKEN)}
    assert found.pop("total") == "200"
    assert len(found) == 200


KILL = """
import json, os, signal, sys
from pathlib import Path
from tests.unit.test_token_cache import *
folder, key = Path(sys.argv[1]), sys.argv[2]
put(open_cache(folder, key), "first")
outcomes = []
for step in range(1, 100):
    child = os.fork()
    if child == 0:
        left = [step]
        def count(event, arguments):
            if str(folder) in str(arguments) or event == "os.chmod":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        cache = open_cache(folder, key)
        before = names(cache)
        sys.addaudithook(count)
        put(cache, f"step{step}")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    events = Events()
    after = names(open_cache(folder, key, events))
    outcomes.append([os.WIFSIGNALED(status), sorted(after), events.names])
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(outcomes))
"""


def test_cache_keeps_old_or_new_content_when_killed_at_each_step_of_a_write(tmp_path: Path, key: str) -> None:
    run = run_script(KILL, str(tmp_path), key)
    output, _ = run.communicate()
    assert run.returncode == 0
    outcomes = json.loads(output)
    assert len(outcomes) > 8, "the steps of a write were not seen"
    known = {"first"}
    for number, (killed, after, events) in enumerate(outcomes, start=1):
        assert set(after) in (known, known | {f"step{number}"}), number
        assert events == [], "a kill must not damage a generation"
        assert killed or number == len(outcomes)
        known = set(after)
    assert f"step{len(outcomes)}" in known
    assert not (tmp_path / "cache.bin.new").exists()


# ---- keys that age


def open_with(folder: Path, key: str, *previous: str) -> EncryptedTokenCache:
    keys = [SecretValue(old) for old in previous]
    return EncryptedTokenCache(FileTokenCacheStore(folder / "cache.bin"), SecretValue(key), previous_keys=keys)


def test_cache_is_encrypted_with_the_new_key_when_it_is_next_written(tmp_path: Path, key: str) -> None:
    oldest, old, new = Fernet.generate_key().decode(), key, Fernet.generate_key().decode()
    put(open_cache(tmp_path, oldest), "a")
    put(open_with(tmp_path, old, oldest), "b")
    cache = open_with(tmp_path, new, old)
    assert names(cache) == {"a", "b"}
    with pytest.raises(TokenCacheKeyError):
        names(open_with(tmp_path, new))
    put(cache, "c")
    for name in ("cache.bin", "cache.bin.previous"):
        assert Fernet(new).decrypt((tmp_path / name).read_bytes()), f"{name} needs no older key"
    (tmp_path / "cache.bin").write_bytes(b"rubbish")
    assert names(open_with(tmp_path, new)) == {"a", "b"}


def test_cache_names_the_setting_when_a_previous_key_is_no_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(TokenCacheKeyError, match=r"token_cache\.previous_keys") as refused:
        open_with(tmp_path, key, CANARY)
    assert CANARY not in str(refused.value) + refused.value.fix


@pytest.mark.parametrize("is_there", [True, False])
def test_cache_is_refused_when_it_is_a_link(tmp_path: Path, key: str, is_there: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if is_there:
        put(open_cache(elsewhere, key), "a")
    (tmp_path / "cache.bin").symlink_to(elsewhere / "cache.bin")
    for use in (names, lambda cache: put(cache, "b")):
        with pytest.raises(RotatorError, match="is a link") as refused:
            use(open_cache(tmp_path, key))
        assert "token_cache.path" in refused.value.fix
    assert (tmp_path / "cache.bin").is_symlink()
    assert (elsewhere / "cache.bin").exists() == is_there


def test_cache_files_stay_their_owners_when_root_writes_them(tmp_path: Path, key: str) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65533)
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    put(open_cache(tmp_path, key), "a")
    put(open_cache(tmp_path, key), "b")
    for path in tmp_path.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == owner, path
        assert mode(path) == 0o600
    assert len(list(tmp_path.iterdir())) == 3


def test_lock_gives_nothing_away_that_was_there_before(tmp_path: Path, key: str) -> None:
    """Else the owner of the folder could have root give him any file, by a link."""
    of_root = tmp_path / "of-root"
    of_root.write_text("")
    before = of_root.stat().st_uid
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "cache.bin.lock").hardlink_to(of_root)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65533)
    put(open_cache(folder, key), "a")
    assert of_root.stat().st_uid == before


# ---- files that are no cache


def test_cache_costs_bounded_memory_when_its_file_is_huge(tmp_path: Path, key: str) -> None:
    put(open_cache(tmp_path, key), "a")
    put(open_cache(tmp_path, key), "b")
    os.truncate(tmp_path / "cache.bin", 1 << 30)
    events = Events()
    tracemalloc.start()
    found = names(open_cache(tmp_path, key, events))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found, events.names) == ({"a"}, ["token_cache_recovered"])
    assert peak < 2 * LARGEST_CACHE
    os.truncate(tmp_path / "cache.bin.previous", LARGEST_CACHE + 1)
    cache = open_cache(tmp_path, key)
    assert names(cache) == set()
    assert cache.damage is not None
    assert cache.damage.count("larger than any token cache") == 2


def test_cache_is_not_written_when_it_would_be_too_large_to_be_read_again(tmp_path: Path, key: str) -> None:
    cache = open_cache(tmp_path, key)
    put(cache, "a")
    with pytest.raises(RotatorError, match="larger than any token cache") as refused:
        put(cache, "b", "x" * LARGEST_CACHE)
    assert refused.value.code == "token_cache_unwritable"
    assert "Spread the accounts" in refused.value.fix
    assert names(open_cache(tmp_path, key)) == {"a"}


def test_cache_leaves_somebodys_file_where_it_can_be_found_when_its_path_is_wrong(tmp_path: Path, key: str) -> None:
    precious = b"SQLite format 3\0 and all that"
    (tmp_path / "cache.bin").write_bytes(precious)
    put(open_cache(tmp_path, key), "a")
    assert names(open_cache(tmp_path, key)) == {"a"}
    (tmp_path / "cache.bin").write_bytes(b"rubbish")
    put(open_cache(tmp_path, key), "b")
    assert (tmp_path / "cache.bin.foreign").read_bytes() == precious


@pytest.mark.parametrize("length", [0, 3, 6, 100])
def test_cache_keeps_no_copy_of_what_it_wrote_itself_when_that_is_damaged(
    tmp_path: Path, key: str, length: int
) -> None:
    """It may hold what is left of a sign-in that somebody wants forgotten."""
    put(open_cache(tmp_path, key), "a")
    os.truncate(tmp_path / "cache.bin", length)
    put(open_cache(tmp_path, key), "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.bin", "cache.bin.lock"]
