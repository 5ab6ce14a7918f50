"""Tokens: their file, their owners, their ends."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joulestat.domain.errors import ConfigError, StateError
from joulestat.server.auth import Principal, Role, TokenTable, new_token
from joulestat.server.token_file import TokenFile, add_token, load_tokens, parse_tokens

NOW_SECONDS = 1_795_000_000.0
MIDNIGHT_20300101_SECONDS = 1_893_456_000.0


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def tokens_text(token: str = "secret", role: str = "operator", more: str = "") -> str:
    return f"tokens:\n  - sha256: {sha256(token)}\n    principal: kim\n    role: {role}\n{more}"


def test_a_new_token_is_known_by_its_digest_alone() -> None:
    token, digest = new_token()

    assert sha256(token) == digest
    assert len(token) >= 43
    assert token != new_token()[0]


def test_a_token_names_its_principal_and_role() -> None:
    table = parse_tokens(tokens_text(role="viewer"))

    assert Principal("kim", Role.VIEWER) == table.authenticate("secret", NOW_SECONDS)


@pytest.mark.parametrize("wrong", ["", "Secret", "secret ", "secre", sha256("secret"), "\ud800"])
def test_anything_but_the_token_is_nobodys(wrong: str) -> None:
    assert parse_tokens(tokens_text()).authenticate(wrong, NOW_SECONDS) is None


def test_a_token_may_be_for_some_gpus_only() -> None:
    def limited(gpus: str, role: str = "operator") -> Principal | None:
        table = parse_tokens(tokens_text(role=role, more=f"    gpus: {gpus}\n"))
        return table.authenticate("secret", NOW_SECONDS)

    both = frozenset({"GPU-1", "GPU-2"})
    assert Principal("kim", Role.OPERATOR, both) == limited("[GPU-1, GPU-2]")
    for wrong in ("", "[]", "GPU-1", "[1]", "['']", "[null]", "{GPU-1: 1}", "['a b']"):
        with pytest.raises(ConfigError, match="gpus must be"):
            limited(wrong)
    with pytest.raises(ConfigError, match="is for operators"):
        limited("[GPU-1]", role="viewer")


def test_an_empty_table_knows_nobody() -> None:
    assert TokenTable().authenticate("", NOW_SECONDS) is None
    assert parse_tokens("tokens: []").authenticate("", NOW_SECONDS) is None


@pytest.mark.parametrize(
    "expires",
    [
        "2030-01-01",
        "'2030-01-01'",
        "2030-01-01T00:00:00Z",
        "'2030-01-01T00:00:00+00:00'",
        "2030-01-01T01:00:00+01:00",
        "2030-01-01 00:00:00",
    ],
)
def test_a_token_ends_when_it_expires(expires: str) -> None:
    table = parse_tokens(tokens_text(more=f"    expires: {expires}\n"))

    assert table.authenticate("secret", MIDNIGHT_20300101_SECONDS - 1) is not None
    assert table.authenticate("secret", MIDNIGHT_20300101_SECONDS) is None


def test_a_token_without_an_end_has_none() -> None:
    table = parse_tokens(tokens_text(more="    expires: null\n"))

    assert table.authenticate("secret", 1e12) is not None


def test_the_file_may_be_json() -> None:
    text = (
        f'{{"tokens": [{{"sha256": "{sha256("a").upper()}", "principal": "a", "role": "viewer",'
        ' "expires": "2030-01-01"}]}'
    )

    assert Principal("a", Role.VIEWER) == parse_tokens(text).authenticate("a", NOW_SECONDS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "tokens: 1",
        "tokens:",
        "tokens: []\nextra: 1",
        "tokens: [1]",
        "tokens: [{}]",
        "tokens: [",
        "{" * 3000,
        "tokens: []\ntokens: []",
        "!!python/object/apply:os.system ['true']",
        "? [a]\n: 1",
        tokens_text(more="    scope: all\n"),
        tokens_text(more="    role: viewer\n"),
        tokens_text(more="    expires: soon\n"),
        tokens_text(more="    expires: 2030-13-01\n"),
        tokens_text(more="    expires: 5\n"),
        tokens_text(role="admin"),
        tokens_text(role="[operator]"),
        tokens_text().replace("kim", "'k\\nm'"),
        tokens_text().replace("kim", "7"),
        tokens_text().replace(sha256("secret"), "secret"),
        tokens_text().replace(sha256("secret"), "12"),
        tokens_text() + tokens_text().removeprefix("tokens:\n"),
    ],
)
def test_a_file_that_is_not_clear_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_tokens(text)


def test_a_token_written_where_its_digest_belongs_is_not_shown() -> None:
    token, _ = new_token()

    for text in (
        tokens_text().replace(sha256("secret"), token),
        tokens_text().replace("kim", f"'{token} '"),
        tokens_text(more=f"    {token}: x\n"),
        tokens_text(more=f"  {token}"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_tokens(text)
        shown = f"{caught.value} {caught.value.value} {caught.value.field} {caught.value.allowed}"
        assert token not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o601])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "tokens.yaml", tokens_text(), mode)

    with pytest.raises(StateError, match="chmod 600"):
        load_tokens(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_who_could_let_anybody_in(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.yaml", tokens_text())
    file = TokenFile(path)
    assert file.table().authenticate("secret", NOW_SECONDS) is not None
    os.chown(path, 12345, 0)

    for load in (lambda: load_tokens(path), file.table):
        with pytest.raises(StateError, match="belongs to user 12345, who could let anybody in"):
            load()


def test_nobody_is_named_as_the_service_itself_in_the_audit_log() -> None:
    for name in ("joulestat", "JOULESTAT"):
        with pytest.raises(ConfigError, match="must not be 'joulestat'"):
            parse_tokens(tokens_text().replace("kim", name))


def test_a_file_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(StateError):
            load_tokens(path)


def test_who_has_no_file_yet_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="joulestat lease token"):
        load_tokens(tmp_path / "missing")


def test_a_link_to_a_mounted_secret_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "tokens.yaml"
    link.symlink_to(written(tmp_path / "real", tokens_text(), 0o400))

    assert 1 == len(load_tokens(link).entries)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = TokenFile(written(tmp_path / "tokens.yaml", tokens_text("old")))
    before = file.table()
    assert before is file.table()

    replacement = written(tmp_path / "new", tokens_text("new"))
    replacement.replace(tmp_path / "tokens.yaml")

    assert file.table().authenticate("old", NOW_SECONDS) is None
    assert file.table().authenticate("new", NOW_SECONDS) is not None


def test_a_file_that_went_bad_lets_nobody_in_until_it_is_good_again(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.yaml", tokens_text())
    file = TokenFile(path)

    path.chmod(0o644)
    for _ in range(2):
        with pytest.raises(StateError, match="chmod 600"):
            file.table()
    path.unlink()
    for _ in range(2):
        with pytest.raises(StateError):
            file.table()
    written(path, "tokens: 7")
    for _ in range(2):
        with pytest.raises(ConfigError):
            file.table()
    written(path, tokens_text())

    assert file.table().authenticate("secret", NOW_SECONDS) is not None


def test_a_bad_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        TokenFile(tmp_path / "missing")


def entry(number: int) -> dict[str, str]:
    return {"sha256": f"{number:064x}", "principal": f"p{number}", "role": "viewer"}


def test_of_tokens_added_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_token(path, entry(number)), range(24)))

    names = {each.principal.name for each in load_tokens(path).entries}
    assert {f"p{number}" for number in range(24)} == names
    assert ["tokens.yaml"] == [each.name for each in tmp_path.iterdir()]


def test_a_token_is_added_where_a_link_leads(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "tokens.yaml"
    link.symlink_to(real)

    add_token(link, entry(1))
    add_token(link, entry(2))

    assert link.is_symlink()
    assert len(load_tokens(real).entries) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_root_adds_to_stays_the_exporters_own(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    add_token(path, entry(1))
    os.chown(path, 12345, 54321)

    add_token(path, entry(2))

    assert (12345, 54321) == (path.stat().st_uid, path.stat().st_gid)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        add_token(tmp_path / "no" / "tokens.yaml", entry(1))
