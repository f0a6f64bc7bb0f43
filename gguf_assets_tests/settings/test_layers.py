"""The layers know no document by heart: another schema, another file, another prefix, the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import Field

from gguf_assets.settings.declaring import Section, about
from gguf_assets.settings.document import Contradiction, Document
from gguf_assets.settings.layers import environment_layer, file_layer, override_layer
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets.settings.resolving import resolve


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


class Free(Section):
    environment: str = "any"
    extra: dict[str, Any] = Field(default_factory=dict)


FREE = Document(
    model=Free,
    active_file="free.yaml",
    environment_file="free-{environment}.yaml",
    prefix="FREE__",
    contradictions=lambda settings: (),
)


@pytest.mark.parametrize(
    ("file", "variables", "overrides", "value", "origins"),
    [
        ("{a: 5}", {"A__B": "1"}, {}, {"a": {"b": 1}}, {"a.b": "variable"}),
        ("{a: {x: 1}}", {"A__B": "2"}, {}, {"a": {"x": 1, "b": 2}}, {"a": "file", "a.b": "variable"}),
        ("{a: {b: 1}}", {"A": "7"}, {}, {"a": 7}, {"a": "variable"}),
        ("{a: 5}", {"A__B": "1"}, {"extra.a": 3}, {"a": 3}, {"a": "override"}),
        ("{a: {b: 5}}", {}, {"extra.a.b.c": 1}, {"a": {"b": {"c": 1}}}, {"a": "file", "a.b.c": "override"}),
        ("{}", {"A": "1", "A__B": "2"}, {}, {"a": {"b": 2}}, {"a.b": "variable"}),
        ("{a: 1}", {"C": "2"}, {"extra": {"d": 3}}, {"a": 1, "c": 2, "d": 3},
         {"a": "file", "c": "variable", "d": "override"}),
    ],
)  # fmt: skip
def test_keys_within_a_free_map_follow_the_precedence_too(
    file: str,
    variables: dict[str, str],
    overrides: dict[str, Any],
    value: dict[str, Any],
    origins: dict[str, str],
) -> None:
    environ = {f"FREE__EXTRA__{name}": text for name, text in variables.items()}
    layers = [
        file_layer(Free, f"extra: {file}".encode(), "file x"),
        environment_layer(FREE, environ),
        override_layer(Free, overrides),
    ]
    for _ in range(2):  # laying layers over each other changes none of them
        resolved = resolve(FREE, layers)
        assert resolved.settings.extra == value
        words = {"file": "file x", "override": "command line"}
        found = {key.removeprefix("extra."): origin for key, origin in resolved.origins.items() if "." in key}
        assert found == {
            key: words.get(layer, f"environment variable FREE__EXTRA__{key.upper().replace('.', '__')}")
            for key, layer in origins.items()
        }


@pytest.mark.parametrize(
    "text",
    ["!!timestamp 2020-01-01", "!!binary aGk=", "!!set {a}", ".nan", "[-.inf]", "{x: {y: !!omap [a: 1]}}",
     '"\\ud800"', "!!int '18446744073709551616'", "[" * 50 + "]" * 50],
)  # fmt: skip
def test_a_free_map_holds_what_every_format_can_say(text: str) -> None:
    layer = file_layer(Free, f"extra:\n  word: {text}\n".encode(), "file x")
    with pytest.raises(InvalidSettings) as caught:
        resolve(FREE, [layer])
    (problem,) = caught.value.problems
    assert problem.headline.endswith(
        "Extra must hold nothing but text, numbers of 64 bits, true, false, null, lists and mappings"
    )
    assert (problem.key, problem.origin) == ("extra", "file x, line 2")


def test_a_variable_that_reads_nan_is_a_word() -> None:
    layer = environment_layer(FREE, {"FREE__EXTRA__WORD": "NaN", "FREE__EXTRA__LIST": "[Infinity]"})
    assert resolve(FREE, [layer]).settings.extra == {"word": "NaN", "list": "[Infinity]"}
