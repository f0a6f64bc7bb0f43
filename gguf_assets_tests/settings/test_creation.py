"""New configuration files: the shipped text, or another file with one line changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import PermanentError, Refused
from gguf_assets.settings import files
from gguf_assets.settings.checking import check_file
from gguf_assets.settings.creation import shipped_profiles, with_environment
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets_tests.settings.trees import PRODUCTION, STAGING, Tree, mode

PROFILES = Path(files.__file__).parent / "profiles"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_every_shipped_profile_can_be_written_with_its_comments(tree: Tree) -> None:
    names = {path.stem.removeprefix("sync-config-") for path in PROFILES.glob("*.yaml")}
    assert set(shipped_profiles()) == names
    assert shipped_profiles()[:4] == ["development", "staging", "production", "testing"]
    for name in names:
        created = tree.create(name)
        assert created.path == tree.tree.folder / f"sync-config-{name}.yaml"
        assert created.path.read_bytes() == (PROFILES / created.path.name).read_bytes()
        assert (created.replaced, mode(created.path)) == (False, 0o600)
        assert check_file(created.path).valid
    assert mode(tree.tree.folder) == 0o700


def test_a_variant_of_an_environment_starts_from_its_profile(tree: Tree) -> None:
    path = tree.create("staging-v2").path
    assert path.read_bytes() == (PROFILES / "sync-config-staging.yaml").read_bytes()
    assert tree.create("production-v2", base=path).path.read_bytes().count(b"environment: production") == 1


@pytest.mark.parametrize(
    "name", ["prod", "", "stagin", "Staging", "production-v2/../../x", "staging v2", "v2-staging"]
)
def test_other_names_are_refused(tree: Tree, name: str) -> None:
    for base in (None, tree.write("base.yaml", STAGING)):
        with pytest.raises(InvalidSettings) as caught:
            tree.create(name, base=base)
        assert str(caught.value) == (
            f"Invalid environment: {name}\nValid environments: development, staging, production, testing"
        )


def test_a_file_that_is_there_is_replaced_by_force_only_and_a_copy_is_kept(tree: Tree) -> None:
    path = tree.write("sync-config-staging.yaml", "environment: staging  # mine\n")
    with pytest.raises(Refused, match=r"There is a file .*sync-config-staging\.yaml already"):
        tree.create("staging")
    assert path.read_text() == "environment: staging  # mine\n"
    created = tree.create("staging", force=True)
    assert created.replaced
    assert path.read_bytes() == (PROFILES / path.name).read_bytes()
    assert created.copy == tree.tree.backups / "sync-config-staging_backup_20260301_120000.yaml"
    assert created.copy.read_text() == "environment: staging  # mine\n"
    assert tree.tree.backup_files() == []
    again = tree.create("staging", force=True)
    assert (again.replaced, again.copy, tree.events()) == (False, None, ["create"])


def test_what_is_in_the_way_and_no_file_is_not_replaced(tree: Tree) -> None:
    folder = tree.tree.folder / "sync-config-staging.yaml"
    folder.mkdir(parents=True)
    with pytest.raises(Refused):
        tree.create("staging")
    with pytest.raises(PermanentError, match="it is a folder"):
        tree.create("staging", force=True)
    folder.rmdir()
    folder.symlink_to("nowhere")
    with pytest.raises(Refused):
        tree.create("staging")
    assert not tree.create("staging", force=True).replaced
    assert folder.is_file() and not folder.is_symlink()


def test_a_result_that_is_invalid_is_reported_and_not_written(tree: Tree) -> None:
    base = tree.write(
        "sync-config-staging.yaml", "environment: staging\nrate_limiting: {requests_per_second: 9}\n"
    )
    with pytest.raises(InvalidSettings, match=r"at most 2\.0 in production"):
        tree.create("production", base=base)
    path = tree.tree.file_of("production")
    assert not path.exists()
    tree.create("production", base=base, force=True)
    assert path.read_text() == "environment: production\nrate_limiting: {requests_per_second: 9}\n"
    assert tree.trail.entries()[-1]["problems"] == 1


def test_a_base_that_cannot_be_used_is_said(tree: Tree) -> None:
    with pytest.raises(Refused, match=r"Configuration file not found: nothing\.yaml"):
        tree.create("staging", base=Path("nothing.yaml"))
    for content in (b"a: [", b"", b"\xff", b"- a\n"):
        with pytest.raises(InvalidSettings, match=r"base\.yaml cannot be used"):
            tree.create("staging", base=tree.write("base.yaml", content), force=True)
    with pytest.raises(InvalidSettings, match="it is a folder"):
        tree.create("staging", base=tree.tree.folder)
    assert not tree.tree.file_of("staging").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"environment: production\n", b"environment: testing\n"),
        (b"environment: production", b"environment: testing"),
        (b"# environment: a\nenvironment:   production   # why\na: 1\n", None),
        (b"\xef\xbb\xbfenvironment: production\r\nlog_level: INFO\r\n", None),
        (b"log_level: INFO\nenvironment : production\n", None),
        (b"'environment': production\n", None),
        (b"? environment\n: production\n", None),
        (b"environment: 'production' # x\n", b"environment: testing # x\n"),
        (b'environment: "production"\n', b"environment: testing\n"),
        (b"environment:\nlog_level: INFO\n", b"environment: testing\nlog_level: INFO\n"),
        (b"environment: # soon\nlog_level: INFO\n", b"environment: testing # soon\nlog_level: INFO\n"),
        (b"environment: null\n", b"environment: testing\n"),
        (b"environment:\n  production\n", None),
        (b"--- # head\nenvironment: production\n...\n", None),
        (b"{log_level: INFO, environment: production}\n", None),
        (b"{log_level: INFO}\n", b"{environment: testing, log_level: INFO}\n"),
        (b"{}\n", b"{environment: testing}\n"),
        (b"# head\n\nlog_level: INFO\n", b"# head\n\nenvironment: testing\nlog_level: INFO\n"),
        (b"\xef\xbb\xbflog_level: INFO\r\n", b"\xef\xbb\xbfenvironment: testing\r\nlog_level: INFO\r\n"),
        (
            b"  log_level: INFO\n  debug_mode: on\n",
            b"  environment: testing\n  log_level: INFO\n  debug_mode: on\n",
        ),
        ("# é😀\nlog_level: 'é'\nenvironment: production # é\n".encode(), None),
        (
            b"custom_settings: {environment: production}\n",
            b"environment: testing\ncustom_settings: {environment: production}\n",
        ),
    ],
)
def test_only_the_environment_is_rewritten(before: bytes, after: bytes | None) -> None:
    expected = before.replace(b"production", b"testing") if after is None else after
    assert with_environment(before, "testing", Path("base.yaml")) == expected


@pytest.mark.parametrize(
    "content", [b"environment: |\n  production\nlog_level: INFO\n", b"environment: {a: b}\n"]
)
def test_unusual_writings_come_out_right_or_are_refused(content: bytes) -> None:
    try:
        rewritten = with_environment(content, "testing", Path("base.yaml"))
    except Refused as error:
        assert "base.yaml" in error.message
    else:
        assert yaml.safe_load(rewritten) == yaml.safe_load(content) | {"environment": "testing"}


_LINES = st.lists(
    st.sampled_from(
        [
            "",
            "# environment: staging",
            "log_level: INFO  # é",
            "debug_mode:   off",
            "custom_settings:",
            "    a: [1, '#']",
        ]
    ),
    unique=True,
)


@given(
    above=_LINES,
    line=st.sampled_from([None, "environment: staging", "environment: 'staging'   # x"]),
    crlf=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_every_other_byte_stays(above: list[str], line: str | None, crlf: bool) -> None:
    newline = "\r\n" if crlf else "\n"
    kept = [entry for entry in above if entry != "    a: [1, '#']"] + ["validation: {}", ""]
    content = newline.join(kept[:-1] + ([] if line is None else [line]) + [""]).encode()
    rewritten = with_environment(content, "production", Path("base.yaml")).decode()
    changed = {
        "environment: staging": "environment: production",
        "environment: 'staging'   # x": "environment: production   # x",
    }
    expected = kept[:-1] + ([] if line is None else [changed[line]]) + [""]
    if line is None:
        first = next(index for index, entry in enumerate(kept) if entry and not entry.startswith("#"))
        expected = [*kept[:first], "environment: production", *kept[first:]]
    assert rewritten == newline.join(expected)


def test_the_active_configuration_is_not_touched(tree: Tree) -> None:
    tree.write("sync-config.yaml", PRODUCTION)
    tree.create("staging", base=tree.tree.find("active"))
    assert tree.tree.active.read_bytes() == PRODUCTION
    assert tree.tree.find("staging").read_bytes() == PRODUCTION.replace(b"production", b"staging")
