"""One wrong value at any key, in any layer: refused, and named with this key and this layer and no other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.settings.layers import environment_layer, file_layer, override_layer
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets.settings.resolving import resolve
from gguf_assets_tests.settings.configs import ConfigFolder
from gguf_assets_tests.settings.generated import (
    FOLDERS,
    KEYS,
    LISTS,
    NAMED,
    NUMBERS,
    SWITCHES,
    TEXTS,
    TOKEN,
    WHOLE,
    WORD_LISTS,
    WORDS,
    generic,
)

INF, NAN = math.inf, math.nan
SECRET = "hf_" + "Jj5" * 11
LAYERS = ("file", "generic variable", "named variable", "override")

_TEXT_FAULTS: dict[str, list[Any]] = {
    "api_base_url": [
        "huggingface.co",
        "ftp://huggingface.co",
        "https://",
        "https://a b",
        "https://u:p@huggingface.co",
    ],
    "sync_behavior.schedule_time": ["24:00", "2:30", "12:60", "noon"],
    "sync_behavior.weekly_full_cron": [
        "0 4 * *",
        "60 * * * *",
        "0 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "5-1 * * * *",
    ],
    "sync_behavior.last_sync_file": ["s3://bucket/x", "a\x07b"],
    "notifications.webhook_urls": [["http://example.org/x"], ["env:1X"], ["https://ok.example.org", ""]],
    "notifications.email_recipients": [
        ["nobody"],
        ["a@b"],
        ["a b@example.org"],
        ["ok@example.org", "x"],
        ["\x07a@example.org"],
    ],
    "security.allowed_domains": [
        ["https://huggingface.co"],
        ["a_b"],
        ["huggingface.co:443"],
        ["huggingface.co", "-"],
    ],
}


def faults(key: str) -> list[Any]:
    """Return values, as a file would hold them, none of which may stand at a key."""
    if key in WHOLE:
        least, most = WHOLE[key]
        beyond = [] if most is None else [most + 1, 10**17]
        return [
            least - 1,
            -(10**17),
            *beyond,
            least + 0.5,
            NAN,
            INF,
            -INF,
            True,
            "many",
            f"{least}x",
            "",
            [least],
            {"a": 1},
        ]
    if key in NUMBERS:
        low, high, including = NUMBERS[key]
        edges = [math.nextafter(low, -INF), *([] if including else [low])]
        edges += [] if high is None else [math.nextafter(high, INF), 1e300]
        return [*edges, -1, NAN, INF, -INF, True, "much", "1,0", "0x1", [1], {"a": 1}]
    if key in SWITCHES:
        return ["maybe", "2", 2, -1, 1.5, NAN, "truee", [True], {"a": True}]
    if key in WORDS:
        return ["nonsense", "autoo", "prod", 5, 1.5, True, ["full"], {"a": 1}]
    if key in WORD_LISTS:
        word = WORD_LISTS[key][0]
        return ["sms", [word, "sms"], [word.upper()], [5], [["log"]], [None], 5, True, {"a": 1}]
    if key in LISTS:
        return [*_TEXT_FAULTS[key], [5], [["x"]], [None], 5, True, {"a": 1}]
    if key in FOLDERS:
        return ["s3://bucket/x", "a\x07b", "a\u2028b", 5, 1.5, True, ["a"], {"a": 1}]
    if key in TEXTS:
        return [*_TEXT_FAULTS[key], 5, 1.5, True, ["a"], {"a": 1}]
    if key == TOKEN:
        return [SECRET, "x", 5, True, ["x"], {"a": 1}]
    return [5, 1.5, True, "text", ["a"]]


def as_text(value: Any) -> str | None:
    """Return a wrong value as a variable would hold it; None where it would count as unset."""
    if isinstance(value, str):
        return value or None
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def wrong_as_text(key: str, value: Any) -> bool:
    """Return whether a value is wrong as text, too."""
    text = as_text(value)
    if text is None or not text.strip():
        return False
    if key in FOLDERS or key == "sync_behavior.last_sync_file":
        return "://" in text or not text.isprintable()  # almost any text is the name of a folder
    if key == "log_level":
        return text.upper() not in WORDS[key]
    if key == TOKEN:
        return False  # a variable is where it belongs
    if key == "security.allowed_domains":
        return isinstance(value, (str, list, dict))  # 5 and True are names of hosts
    return True


def refusal(layer: str, key: str, value: Any) -> tuple[InvalidSettings, str]:
    """Load one wrong value in one layer; return the error and the origin it must name."""
    lines, environ, overrides = b"", {}, {}
    if layer == "file":
        *sections, name = key.split(".")
        text = f"debug_mode: {'false' if key != 'debug_mode' else in_yaml(value)}\n"
        if key != "debug_mode":
            text += "".join(f"{section}:\n" for section in sections)
            text += f"{'  ' * len(sections)}{name}: {in_yaml(value)}\n"
        lines, origin = text.encode(), f"file x, line {text.count(chr(10))}"
    elif layer == "override":
        overrides, origin = {key: value}, "command line"
    else:
        variable = generic(key) if layer == "generic variable" else NAMED[key]
        environ, origin = {variable: as_text(value)}, f"environment variable {variable}"
    with pytest.raises(InvalidSettings) as caught:
        resolve(
            SYNC_DOCUMENT,
            [
                *([file_layer(SyncConfiguration, lines, "file x")] if lines else []),
                environment_layer(SYNC_DOCUMENT, environ),
                override_layer(SyncConfiguration, overrides),
            ],
        )
    return caught.value, origin


def in_yaml(value: Any) -> str:
    """Return a value on one line of YAML."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
    return json.dumps(value)


def check(layer: str, key: str, value: Any) -> None:
    """Check that exactly this key and this layer are named."""
    error, origin = refusal(layer, key, value)
    (problem,) = error.problems
    assert (problem.key, problem.origin) == (key, origin), (layer, key, value)
    assert f"({origin})" in error.message
    named = set(error.message.replace(";", " ").replace(",", " ").split())
    assert not named & {other for other in KEYS if "." in other and other != key}, error.message
    assert SECRET not in error.message


PLACES = [(key, layer) for key in KEYS for layer in LAYERS if layer != "named variable" or key in NAMED]


@pytest.mark.parametrize(("key", "layer"), PLACES)
def test_any_wrong_value_is_named(key: str, layer: str) -> None:
    tried = 0
    for value in faults(key):
        if not layer.endswith("variable") or wrong_as_text(key, value):
            check(layer, key, value)
            tried += 1
    assert tried or (key == TOKEN and layer.endswith("variable"))


QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
_NO_NUMBER = st.text(max_size=12).filter(lambda text: text.strip() and not _is_number(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@st.composite
def out_of_range(draw: st.DrawFn) -> tuple[str, str, Any]:
    """Draw a layer, a key that holds numbers, and something that is none of those it may hold."""
    key, layer = draw(
        st.sampled_from([place for place in PLACES if place[0] in WHOLE or place[0] in NUMBERS])
    )
    low, high = WHOLE[key] if key in WHOLE else NUMBERS[key][:2]
    kinds = [
        st.integers(-(10**18) + 1, math.ceil(low) - 1),
        st.floats(max_value=low, exclude_max=True),
        _NO_NUMBER,
    ]
    if high is not None:
        kinds += [st.integers(math.floor(high) + 1, 10**18 - 1), st.floats(min_value=high, exclude_min=True)]
    if key in WHOLE:
        kinds.append(st.floats().filter(lambda number: not number.is_integer()))
    if not layer.endswith("variable"):
        kinds += [
            st.lists(st.integers(), max_size=2),
            st.dictionaries(st.text("ab", min_size=1), st.none()),
            st.booleans(),
        ]
    return layer, key, draw(st.one_of(kinds))


@QUICK
@given(fault=out_of_range())
def test_whatever_is_no_number_of_the_range_is_named(fault: tuple[str, str, Any]) -> None:
    check(*fault)


@QUICK
@given(
    place=st.sampled_from([place for place in PLACES if place[0] in SWITCHES or place[0] in WORDS]),
    text=st.text(min_size=1, max_size=12),
)
def test_whatever_is_no_word_of_the_set_is_named(place: tuple[str, str], text: str) -> None:
    key, layer = place
    known = WORDS.get(key, ["true", "false", "1", "0", "yes", "no", "on", "off"])
    if text.strip() and text.strip().lower() not in [word.lower() for word in known]:
        check(layer, key, text)


@pytest.mark.parametrize("variable", ["HUGGINGFACE_TOKEN", "HF_TOKEN", "GGUF_SYNC__HUGGINGFACE_TOKEN"])
@pytest.mark.parametrize("token", ["two words", "tab\there", "caf\u00e9-token"])
def test_a_token_that_can_be_none_is_named_and_not_shown(
    config: ConfigFolder, variable: str, token: str
) -> None:
    error = config.refused({variable: token})
    (problem,) = error.problems
    assert (problem.key, problem.origin) == ("huggingface_token", f"environment variable {variable}")
    assert token not in str(error) + repr(error.problems)


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_of_a_file_on_disk_is_named_with_path_and_line(config: ConfigFolder, key: str) -> None:
    *sections, name = key.split(".")
    value = faults(key)[0]
    text = "# first\n\n" + "".join(f"{section}:\n" for section in sections)
    path = config.write(f"{text}{'  ' * len(sections)}{name}: {in_yaml(value)}\n")
    (problem,) = config.refused().problems
    assert (problem.key, problem.origin) == (key, f"file {path}, line {3 + len(sections)}")
