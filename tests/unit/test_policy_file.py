"""The policy file: strict, its owner's alone, and never wider than it says."""

import os
import re
from pathlib import Path

import pytest

from joulestat.domain.errors import ConfigError
from joulestat.power.policy import Bounds, LeasePolicy
from joulestat.power.policy_file import KEYS, HostPolicy, read_policy

CHECKOUT = Path(__file__).parents[2]

EVERYTHING = """
floor-watts: 200
ceiling-watts: 600
models:
  NVIDIA H100 80GB HBM3: {ceiling-watts: 650}
  Tesla V100-SXM2-16GB:
    floor-watts: 150
    ceiling-watts: 250
max-ttl: 2h
min-ttl: 30s
write-interval: 20s
write-burst: 2
max-step-ratio: 0.3
node-ceiling-watts: 4000
allowed-users: [root, 4711]
allowed-groups: root
"""


def written(folder: Path, text: str, mode: int = 0o644) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    folder.chmod(0o755)
    return file


def test_every_key_says_what_it_says(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, EVERYTHING), LeasePolicy())

    assert policy == HostPolicy(
        LeasePolicy(
            max_ttl_seconds=7200.0,
            min_ttl_seconds=30.0,
            write_interval_seconds=20.0,
            write_burst=2,
            bounds=Bounds(200.0, 600.0),
            models={
                "NVIDIA H100 80GB HBM3": Bounds(200.0, 650.0),
                "Tesla V100-SXM2-16GB": Bounds(150.0, 250.0),
            },
            max_step_ratio=0.3,
            node_ceiling_watts=4000.0,
        ),
        frozenset({0, 4711}),
        frozenset({0}),
    )
    assert all(key in EVERYTHING for key in KEYS)


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
def test_an_empty_policy_is_the_usual_one(tmp_path: Path, text: str) -> None:
    usual = LeasePolicy(max_ttl_seconds=60.0, write_burst=7)

    assert HostPolicy(usual) == read_policy(written(tmp_path, text), usual)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("floor-wats: 1", "floor-wats is not a setting; did you mean floor-watts?"),
        ("floor-watts: 0", "floor-watts cannot be '0'"),
        ("floor-watts: 200W", "floor-watts cannot be '200W'"),
        ("floor-watts: [1, 2]", "floor-watts is not a single value"),
        ("floor-watts: .nan", "floor-watts cannot be '.nan'"),
        ("floor-watts: 300\nfloor-watts: 100", "floor-watts stands there twice"),
        ("floor-watts: 300\nceiling-watts: 200", "of 300 W lies above the ceiling of 200 W"),
        ("ceiling-watts: 200\nmodels: {A: {floor-watts: 300}}", "models.A.floor-watts of 300 W"),
        ("models: {A: {max-ttl: 1h}}", "models.A.max-ttl is not a setting"),
        ("models: [A]", "models is not a mapping"),
        ("max-ttl: 1h\nmin-ttl: 2h", "min-ttl is longer than max-ttl"),
        ("max-ttl: 10s\nmin-ttl: 20s", "min-ttl is longer than max-ttl"),
        ("write-burst: 0", "write-burst cannot be '0'"),
        ("max-step-ratio: 30", "max-step-ratio cannot be '30'"),
        ("node-ceiling-watts:", "node-ceiling-watts has no value"),
        ("allowed-users: [nobody-of-that-name]", "'nobody-of-that-name', whom this host does not"),
        ("allowed-groups: ['a b']", "allowed-groups cannot be 'a b'"),
        ("- floor-watts", "is not a mapping"),
        ("floor-watts: {", "cannot read"),
    ],
)
def test_what_is_not_allowed_is_one_clear_error_at_its_line(
    tmp_path: Path, text: str, what: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        read_policy(file, LeasePolicy())

    assert what in str(refused.value)
    assert str(refused.value).startswith(f"{file}")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o620])
def test_a_file_that_others_can_change_is_no_policy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}.* chmod go-w"):
        read_policy(written(tmp_path, "", mode), LeasePolicy())


def test_a_folder_in_which_others_can_replace_the_file_makes_it_none(tmp_path: Path) -> None:
    file = written(tmp_path, "")
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="can be changed by others"):
        read_policy(file, LeasePolicy())
    tmp_path.chmod(0o1777)

    assert HostPolicy(LeasePolicy()) == read_policy(file, LeasePolicy())


def test_a_link_that_others_can_turn_elsewhere_is_no_policy(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(0o755)
    link = tmp_path / "links" / "policy.yaml"
    link.parent.mkdir()
    link.symlink_to(written(real, "max-ttl: 1h"))
    assert 3600.0 == read_policy(link, LeasePolicy()).lease.max_ttl_seconds
    link.parent.chmod(0o777)

    with pytest.raises(ConfigError, match="links has mode 0777"):
        read_policy(link, LeasePolicy())


def test_every_folder_on_the_way_counts_however_far_up_and_on_whatever_link(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared" / "etc").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    deep = written(tmp_path / "shared" / "etc", "max-ttl: 1h")
    step = tmp_path / "other" / "step"
    step.symlink_to(deep)
    linked = tmp_path / "policy.yaml"
    linked.symlink_to("other/../other/step")
    assert 3600.0 == read_policy(linked, LeasePolicy()).lease.max_ttl_seconds

    (tmp_path / "shared").chmod(0o777)
    for file in (deep, linked):
        with pytest.raises(ConfigError, match="shared has mode 0777"):
            read_policy(file, LeasePolicy())
    (tmp_path / "shared").chmod(0o755)
    (tmp_path / "other").chmod(0o777)
    with pytest.raises(ConfigError, match="other has mode 0777"):
        read_policy(linked, LeasePolicy())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")
def test_a_link_of_another_user_is_no_policy_even_where_nobody_can_replace_it(
    tmp_path: Path,
) -> None:
    link = tmp_path / "policy.yaml"
    (tmp_path / "real").mkdir()
    link.symlink_to(written(tmp_path / "real", ""))
    tmp_path.chmod(0o1777)
    os.chown(link, 4711, 0, follow_symlinks=False)

    with pytest.raises(ConfigError, match=r"belongs to user 4711 .* who could allow everything"):
        read_policy(link, LeasePolicy())


def test_what_is_read_is_what_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is turned while it is being looked at is noticed, and not followed."""
    (tmp_path / "strict").mkdir()
    (tmp_path / "lax").mkdir()
    strict = written(tmp_path / "strict", "max-ttl: 1h")
    lax = written(tmp_path / "lax", "max-ttl: 7h")
    link = tmp_path / "policy.yaml"
    link.symlink_to(strict)
    look = Path.readlink

    def turn(self: Path) -> Path:
        found = look(self)
        link.unlink()
        link.symlink_to(lax)
        return found

    monkeypatch.setattr(Path, "readlink", turn)
    assert 3600.0 == read_policy(link, LeasePolicy()).lease.max_ttl_seconds


def test_the_example_of_the_page_is_a_policy(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "actuator.md").read_text(encoding="utf-8")
    ((example,),) = [re.findall(r"```yaml\n(floor-watts.*?)```", page, re.DOTALL)]
    there = example.replace("joulestat", "root")

    policy = read_policy(written(tmp_path, there), LeasePolicy())

    assert 350.0 == policy.lease.bounds_of("NVIDIA H100 80GB HBM3").floor_watts
    assert frozenset({0}) == policy.allowed_uids
    assert [] == [key for key in KEYS if f"`{key}`" not in page]


def test_a_file_of_another_user_is_no_policy(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    file = written(tmp_path, "")
    os.chown(file, 4711, 0)

    with pytest.raises(ConfigError, match=r"belongs to user 4711 .* chown root"):
        read_policy(file, LeasePolicy())


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy file .*none\.yaml cannot be read: No such file"):
        read_policy(tmp_path / "none.yaml", LeasePolicy())
