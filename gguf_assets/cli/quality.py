"""The command that says what a day is judged by; how it looks is in `printing_quality`."""

from __future__ import annotations

import os

from gguf_assets.cli.exits import Json, clear, print_json


@clear
def rules(as_json: Json = False) -> None:
    """List the rules that a day is judged by: what they promise, why, and which are off by the settings.

    Rules that are on or off can be named in validation.disabled_rules; those that always hold cannot.

    Example: gguf-assets rules
    """
    from gguf_assets.orchestration.rule_switches import listed_rules
    from gguf_assets.printing_quality import print_rules
    from gguf_assets.settings.load import load_settings

    listed = listed_rules(load_settings(os.environ).settings.validation)
    if as_json:
        print_json({"rules": [rule.as_json() for rule in listed]})
    else:
        print_rules(listed)
