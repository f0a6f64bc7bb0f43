"""The layers know no document by heart: another schema, another file, another prefix, the same rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import Field

from gguf_assets.settings.layers import (
    Contradiction,
    Document,
    environment_layer,
    file_layer,
    override_layer,
    resolve,
)
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets.settings.sections import Section, about


class Downloads(Section):
    concurrent: int = Field(default=3, ge=1, le=10)
    retry_delay_seconds: float = Field(default=30.0, ge=0.1)
    longest_delay_seconds: float = Field(default=300.0, ge=0.1)


class Service(Section):
    downloads: Downloads = Downloads()
    api_key: None = Field(default=None, json_schema_extra=about(env=("DEMO_API_KEY",), secret=True))
    workers: int = Field(default=4, json_schema_extra=about(env=("DEMO_WORKERS",)))


def delays(settings: Service) -> Iterator[Contradiction]:
    if settings.downloads.retry_delay_seconds > settings.downloads.longest_delay_seconds:
        yield Contradiction(
            ("downloads.retry_delay_seconds", "downloads.longest_delay_seconds"),
            "Retry delay must not exceed the longest one",
            f"at most {settings.downloads.longest_delay_seconds:g}",
        )


SERVICE = Document(
    model=Service,
    active_file="service.json",
    environment_file="service-{environment}.json",
    prefix="DEMO__",
    contradictions=delays,
)


def test_a_second_document_resolves_by_the_same_precedence() -> None:
    file = file_layer(Service, b'{"downloads": {"concurrent": 5}, "workers": 8}', "file service.json")
    variables = environment_layer(
        SERVICE, {"DEMO_WORKERS": "2", "DEMO_API_KEY": "opensesame77", "SYNC_MODE": "x"}
    )
    resolved = resolve(SERVICE, [file, variables, override_layer(Service, {"downloads.concurrent": 1})])
    assert resolved.settings == Service(downloads=Downloads(concurrent=1), workers=2)
    assert resolved.origins == {
        "downloads.concurrent": "command line",
        "downloads.retry_delay_seconds": "default",
        "downloads.longest_delay_seconds": "default",
        "api_key": "default",
        "workers": "environment variable DEMO_WORKERS",
    }
    assert variables.secrets[("api_key",)].value == "opensesame77"


def test_a_contradiction_blames_the_layer_of_the_value_it_names() -> None:
    variables = environment_layer(SERVICE, {"DEMO__DOWNLOADS__LONGEST_DELAY_SECONDS": "20"})
    with pytest.raises(InvalidSettings) as caught:
        resolve(SERVICE, [variables])
    (problem,) = caught.value.problems
    assert (problem.key, problem.value, problem.origin) == (
        "downloads.retry_delay_seconds",
        "30.0",
        "default",
    )
    assert problem.allowed == "at most 20"


def test_a_wrong_value_is_not_judged_twice() -> None:
    variables = environment_layer(
        SERVICE,
        {"DEMO__DOWNLOADS__LONGEST_DELAY_SECONDS": "0", "DEMO__DOWNLOADS__RETRY_DELAY_SECONDS": "400"},
    )
    with pytest.raises(InvalidSettings) as caught:
        resolve(SERVICE, [variables])
    (problem,) = caught.value.problems
    assert problem.key == "downloads.longest_delay_seconds"
    assert problem.headline.endswith("Longest delay seconds must be at least 0.1")
