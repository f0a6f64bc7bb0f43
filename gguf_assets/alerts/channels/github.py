"""Alerts as issues on GitHub: one per condition, a comment while it lasts, closed when it is over.

An issue is found again by its label and a marker in its body, never by a number that could be lost. What does
not belong here: annotations of a workflow (`actions`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import requests
from github import Auth, Github, GithubException, RateLimitExceededException
from github.Issue import Issue
from github.Repository import Repository
from pydantic import SecretStr

from gguf_assets.alerts.alert import Alert, ChannelError
from gguf_assets.alerts.channels.places import place_of
from gguf_assets.alerts.wording import heading, kind, markdown, one_line
from gguf_assets.masking import mask

LABEL: Final = "gguf-assets-alert"
PUBLIC_API: Final = "https://api.github.com"

_TIMEOUT_SECONDS = 10
_MOST_ISSUES = 1000
_REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}")
_logger = logging.getLogger("gguf_assets.alerts")


class GitHubChannel:
    """Keeps one issue per condition.

    Args:
        token: may read and write issues of the repository.
        repository: `owner/name`.
        api_url: of GitHub, or of a GitHub Enterprise server (`https://host/api/v3`).
        timeout_seconds: bound of every single request; none is repeated here.

    Raises:
        ChannelError: the repository or the address is none.
    """

    name = "github"
    takes_notes = False  # an issue is for what lasts

    def __init__(
        self,
        token: SecretStr,
        repository: str,
        *,
        api_url: str = PUBLIC_API,
        timeout_seconds: int = _TIMEOUT_SECONDS,
    ) -> None:
        if not _REPOSITORY.fullmatch(repository):
            raise ChannelError(f"the repository {one_line(repository)} is not of the form owner/name")
        self._token = token
        self._repository = repository
        self._api_url = api_url.rstrip("/")
        self._host = _host(self._api_url)
        self._timeout = timeout_seconds

    def send(self, alert: Alert, *, over: bool) -> None:
        """Open the issue of a condition, comment on it, or close it.

        Raises:
            ChannelError: GitHub cannot be reached or refused.
        """
        with self._repository_on_github() as repository:
            issue = self._open_issue(repository, alert.condition)
            if over:
                if issue is not None:
                    # Closed first: a comment that fails must not be written twice.
                    issue.edit(state="closed", state_reason="completed")
                    issue.create_comment(f"Over. {markdown(alert)}")
            elif issue is not None:
                issue.create_comment(f"**{kind(alert, over=False)}**: {markdown(alert)}")
            else:
                self._open(repository, alert)

    def _open(self, repository: Repository, alert: Alert) -> None:
        title = f"[{kind(alert, over=False)}] {heading(alert, over=False)}"
        body = f"{_marker(alert.condition)}\n{markdown(alert)}\n\n{_FOOTER}"
        issue = repository.create_issue(title=title, body=body, labels=[LABEL])
        if LABEL not in {label.name for label in issue.labels}:
            _logger.warning(
                "Issue %s#%d did not get the label %s, so it cannot be updated or closed later. "
                "The token needs the permission to write issues.",
                self._repository,
                issue.number,
                LABEL,
            )

    @staticmethod
    def _open_issue(repository: Repository, condition: str) -> Issue | None:
        marker = _marker(condition)
        issues = repository.get_issues(state="open", labels=[LABEL])
        for issue in itertools.islice(issues, _MOST_ISSUES):
            if marker in (issue.body or ""):
                return issue
        return None

    @contextlib.contextmanager
    def _repository_on_github(self) -> Iterator[Repository]:
        # Not PyGithub's own retries and pauses: a broken GitHub would cost minutes.
        github = Github(
            auth=Auth.Token(self._token.get_secret_value()),
            base_url=self._api_url,
            timeout=self._timeout,
            user_agent="gguf_assets alerts",
            per_page=100,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
            lazy=True,
        )
        try:
            yield github.get_repo(self._repository)
        except RateLimitExceededException as error:
            raise ChannelError(f"{self._host} takes no more requests for now ({error.status})") from error
        except GithubException as error:
            raise ChannelError(self._refusal(error)) from error
        except requests.exceptions.Timeout as error:
            raise ChannelError(f"{self._host} did not answer within {self._timeout} s") from error
        except requests.exceptions.SSLError as error:
            raise ChannelError(f"{self._host} cannot be reached: its certificate was refused") from error
        except requests.exceptions.RequestException as error:
            raise ChannelError(f"{self._host} cannot be reached ({type(error).__name__})") from error
        except (AssertionError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            # What PyGithub makes of an answer that is not GitHub's.
            raise ChannelError(
                f"{self._host} does not answer like GitHub ({type(error).__name__})"
            ) from error
        finally:
            github.close()

    def _refusal(self, error: GithubException) -> str:
        message = error.data.get("message") if isinstance(error.data, dict) else None
        said = f": {one_line(str(message))}" if message else ""
        said = said.replace(self._token.get_secret_value(), "***")
        if error.status == 401:
            return f"{self._host} refused the token (401{said})"
        if error.status in (403, 404, 410):
            return (
                f"{self._host} does not let this token write issues in {self._repository} "
                f"({error.status}{said})"
            )
        return f"{self._host} answered {error.status}{said}"


_FOOTER = "_Opened by gguf_assets, which comments while this lasts and closes it when it is over._"


def _marker(condition: str) -> str:
    """Return what is in the body of a condition's issue, invisible there."""
    return f"<!-- gguf-assets:{quote(mask(condition), safe=':_.')} -->"


def _host(api_url: str) -> str:
    """Return `host[:port]` of the API.

    Raises:
        ChannelError: it is no https address (http on this machine).
    """
    place = place_of(api_url)
    if place is None or not place.is_safe:
        raise ChannelError("the address of GitHub's API is no https address; http is for this machine only")
    return place.netloc
