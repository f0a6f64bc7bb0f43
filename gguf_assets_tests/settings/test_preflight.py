"""The checklist before a deployment: what passes, what warns, what fails, and with which remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gguf_assets.settings.files import shipped_profile
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.preflight import as_json, preflight
from gguf_assets.settings.tree import ConfigTree

TOKEN = "hf_" + "Qz7" * 11
REFERENCE = "notifications:\n  webhook_urls: [env:HOOK]\n"
HOOKED = "monitoring:\n  alert_channels: [log, webhook]\n"


MAILED = "notifications:\n  notification_channels: [email]\n  email_recipients: [ops@example.org]\n"
WEBHOOKS, NOBODY = "notifications.webhook_urls", "nobody is reached that way"


class Place:
    """A configuration folder that nobody else may read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.tree = ConfigTree(folder)

    def write(self, text: str, environment: str = "production", name: str | None = None) -> Path:
        path = self.tree.file_of(environment) if name is None else self.tree.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def states(self, environment: str = "production", source: Path | None = None, **environ: str) -> dict:
        """Return state, text and remedy of every item by topic, the worst one of each."""
        file = self.tree.file_of(environment) if source is None else source
        found = preflight(self.tree, environment, file, environ)
        order = ["ok", "note", "problem"]
        items = sorted(found, key=lambda item: order.index(item.state))
        assert as_json(found, environment, file)["ready"] == all(item.state != "problem" for item in found)
        return {item.topic: (item.state, item.text, item.remedy) for item in items}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "config")


def failing(states: dict) -> set[str]:
    return {topic for topic, (state, _, _) in states.items() if state == "problem"}


def test_the_shipped_production_profile_is_ready_given_a_token(place):
    place.write(shipped_profile(SYNC_DOCUMENT, "production").decode())
    states = place.states(HF_TOKEN=TOKEN)
    assert failing(states) == set()
    assert states["token"][:2] == ("ok", "from environment variable HF_TOKEN")
    assert states["rollback"][0] == "note", "there is nothing to go back to yet"
    assert TOKEN not in repr(states)
    assert failing(place.states()) == {"token"}
    assert "HUGGINGFACE_TOKEN" in place.states()["token"][2]


def test_a_missing_file_fails_with_the_command_that_makes_it(place):
    states = place.states("staging")
    assert failing(states) == {"file"}
    assert states["file"][2] == "gguf-assets config create staging"


def test_an_invalid_file_fails_and_a_literal_token_is_named_without_being_shown(place):
    file = place.write(f"environment: production\nhuggingface_token: {TOKEN}\n")
    states = place.states(HF_TOKEN="x" * 20)
    assert failing(states) == {"file", "secrets"}
    assert f"{file}, line 2" in states["secrets"][1]
    assert TOKEN not in repr(states)


def test_a_file_of_another_environment_fails(place):
    file = place.write("environment: staging\n", name="sync-config-other.yaml")
    states = place.states("development", source=file)
    assert states["environment"][:2] == ("problem", "the file is for staging, and not for development")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_production_files_that_others_may_read_fail(place, mode):
    file = place.write("environment: production\n")
    file.chmod(mode)
    states = place.states(HF_TOKEN=TOKEN)
    assert failing(states) == {"permissions"}
    assert states["permissions"][2] == f"chmod 600 {file}"
    place.write("environment: staging\n", "staging").chmod(mode)
    assert failing(place.states("staging", HF_TOKEN=TOKEN)) == set()


def test_a_folder_that_others_may_enter_fails(place):
    place.write("environment: production\n")
    place.tree.folder.chmod(0o755)
    assert place.states(HF_TOKEN=TOKEN)["permissions"][2] == f"chmod 700 {place.tree.folder}"


def test_a_folder_that_cannot_be_written_to_fails(place, tmp_path):
    file = place.write("environment: staging\n", "staging")
    (tmp_path / "taken").write_text("a file")
    place.tree = ConfigTree(tmp_path / "taken" / "config")
    states = place.states("staging", source=file, HF_TOKEN=TOKEN)
    assert failing(states) == {"folder"}
    assert states["folder"][2] == f"Check the permissions of {tmp_path / 'taken'}"


@pytest.mark.parametrize(
    ("text", "environ", "wanted"),
    [
        (HOOKED, {}, f"monitoring.alert_channels names webhook, and {WEBHOOKS} is empty: {NOBODY}"),
        (f"{HOOKED}{REFERENCE}", {}, "env:HOOK refers to a variable that is not set"),
        (
            "notifications:\n  notification_channels: [email]\n",
            {"GGUF_ASSETS_SMTP_URL": "smtp://127.0.0.1:25"},
            "notifications.notification_channels names email, and notifications.email_recipients is empty: "
            f"{NOBODY}",
        ),
        (MAILED, {}, "the channel email has no mail server: no mail is sent"),
        (
            f"{HOOKED}{REFERENCE}security:\n  enable_request_signing: true\n",
            {"HOOK": "https://example.org/x"},
            "security.enable_request_signing is on, and there is no secret to sign with: no webhook is sent",
        ),
    ],
)  # fmt: skip
def test_channels_that_reach_nobody_fail(place, text, environ, wanted):
    place.write(f"environment: staging\n{text}", "staging")
    states = place.states("staging", HF_TOKEN=TOKEN, **environ)
    assert states["alerts"][:2] == ("problem", wanted)
    assert states["alerts"][2]


def test_channels_with_all_they_need_pass_and_github_elsewhere_is_only_skipped(place):
    signed = f"{HOOKED}{REFERENCE}security:\n  enable_request_signing: true\n"
    place.write(f"environment: staging\n{signed}", "staging")
    hook = {"HOOK": "https://example.org/x", "GGUF_ASSETS_WEBHOOK_SECRET": "s1gn-with-this"}
    states = place.states("staging", HF_TOKEN=TOKEN, **hook)
    assert states["alerts"] == ("ok", "channels: log, webhook", None)
    assert "s1gn-with-this" not in repr(states)
    place.write(f"environment: staging\n{MAILED}", "staging")
    mailed = {"GGUF_ASSETS_SMTP_URL": "smtp://127.0.0.1:25", "GITHUB_REPOSITORY": "owner/name"}
    assert place.states("staging", HF_TOKEN=TOKEN, **mailed)["alerts"] == (
        "note",
        "GITHUB_TOKEN is not set: the channel github is skipped",
        "export GITHUB_TOKEN=…, or take github out of the channels",
    )


def test_a_channel_without_an_address_is_named_once(place):
    place.write(f"environment: staging\n{HOOKED}", "staging")
    file = place.tree.file_of("staging")
    found = preflight(place.tree, "staging", file, {"HF_TOKEN": TOKEN})
    assert [item.topic for item in found if WEBHOOKS in item.text] == ["alerts"]


def test_channels_count_only_where_something_would_be_sent(place):
    hooked = f"environment: staging\n{HOOKED}{REFERENCE}"
    place.write(hooked, "staging")
    assert place.states("staging", HF_TOKEN=TOKEN, HOOK="https://example.org/x")["alerts"] == (
        "ok", "channels: log, webhook", None
    )  # fmt: skip
    off = "environment: staging\nmonitoring:\n  enable_alerts: false\n  alert_channels: [webhook]\n"
    place.write(off, "staging")
    assert place.states("staging", HF_TOKEN=TOKEN)["alerts"][:2] == ("ok", "channels: log")
    place.write(off + "error_handling:\n  enable_notifications: false\n", "staging")
    assert place.states("staging", HF_TOKEN=TOKEN)["alerts"][0] == "note"


def test_an_address_in_the_file_warns_and_does_not_fail(place):
    place.write(
        f"environment: staging\n{HOOKED}notifications:\n  webhook_urls: ['https://x.org/s3cr3t']\n", "staging"
    )
    states = place.states("staging", HF_TOKEN=TOKEN)
    assert failing(states) == set()
    assert states["secrets"][0] == "note"
    assert "s3cr3t" not in repr(states)


def test_warnings_are_listed_and_what_needs_a_reload_is_named(place):
    place.write("environment: staging\n", name="sync-config.yaml")
    place.write('environment: staging\ndry_run: true\nsync_behavior:\n  schedule_time: "03:00"\n', "staging")
    states = place.states("staging", HF_TOKEN=TOKEN)
    assert failing(states) == set()
    assert states["warning"][1].startswith("dry_run: ")
    assert states["automation"][0] == "note" and states["automation"][1].endswith(
        ": sync_behavior.schedule_time"
    )
    assert states["rollback"][0] == "ok"


def test_no_token_is_asked_for_where_none_is_needed(place):
    place.write("environment: development\n", "development")
    assert place.states("development")["token"][0] == "ok"
    place.write("environment: staging\napi_base_url: http://127.0.0.1:9\n", "staging")
    assert place.states("staging")["token"][0] == "ok"
