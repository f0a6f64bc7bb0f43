"""The words a generated Hub is made of: people, base models, fine-tunes, licences; all of them invented.

Architectures, licence ids and quantization labels are the field's own; no owner or model of the real Hub is
named, since things happen to the generated ones that never happened to anyone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BaseModel:
    """What fine-tunes start from: name with size, parameter count, GGUF architecture, context length."""

    name: str
    parameters: int
    architecture: str
    context_length: int
    vision: bool = False


def _sizes(name: str, architecture: str, context: int, *sizes: str, vision: bool = False) -> list[BaseModel]:
    unit = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
    return [
        # Some 0.7 % above the round figure, as real parameter counts are.
        BaseModel(
            f"{name}-{size}", round(float(size[:-1]) * unit[size[-1]] * 1.007), architecture, context, vision
        )
        for size in sizes
    ]


BASE_MODELS: tuple[BaseModel, ...] = (
    *_sizes("Aster-3", "llama", 131_072, "1B", "3B", "8B", "70B"),
    *_sizes("Boreal-2.5", "qwen2", 32_768, "0.5B", "1.5B", "7B", "14B", "32B", "72B"),
    *_sizes("Cobalt-3", "qwen3", 40_960, "0.6B", "4B", "8B", "14B", "32B"),
    *_sizes("Cobalt-3-A", "qwen3moe", 262_144, "30B", "235B"),
    *_sizes("Delphin", "gemma3", 131_072, "1B", "4B", "12B", "27B", vision=True),
    *_sizes("Ember-Nemo", "llama", 131_072, "7B", "12B", "24B"),
    *_sizes("Fathom", "phi3", 131_072, "3.8B", "14B"),
    *_sizes("Gneiss", "granite", 131_072, "2B", "8B"),
    *_sizes("Pebble", "llama", 512, "260K", "15M"),
)

ADJECTIVES = (
    "Amber Ardent Azure Bold Brisk Bright Calm Candid Clever Coral Crimson Dapper Deft Distant Eager "
    "Early Fabled Fearless Gentle Gilded Golden Hidden Honest Humble Ivory Jolly Keen Lively Lucid Lunar "
    "Mellow Misty Nimble Noble Opal Patient Quiet Rapid Restless Rustic Silent Solar Steady Stellar "
    "Subtle Velvet Vivid Wandering"
).split()
NOUNS = (
    "Albatross Anchor Badger Bard Beacon Bishop Brook Canyon Cedar Comet Compass Condor Cricket Drifter "
    "Falcon Fern Fjord Forge Gale Harbor Heron Kestrel Lantern Lark Lynx Magpie Maple Marten Meadow "
    "Mentor Nomad Oracle Otter Pilot Pine Quill Raven Ridge Sage Sailor Scholar Sparrow Spruce Thistle "
    "Tutor Warden Weaver Willow"
).split()
VARIANTS = ("Instruct", "Chat", "Coder", "RP", "v0.1", "v1", "v2", "v2.1", "DPO", "Thinking")

PIPELINE_TAGS: tuple[str | None, ...] = ("text-generation", "text-generation", "text-generation", None, None)
LICENSES: tuple[str | None, ...] = (
    *["apache-2.0"] * 41, *[None] * 36, *["mit"] * 8, *["other"] * 7, *["cc-by-nc-4.0"] * 4, *["gpl-3.0"] * 2,
    *["cc-by-sa-4.0"] * 2,
)  # fmt: skip
LANGUAGES = ("en", "en", "en", "de", "fr", "zh", "ja", "ko", "es")


def fine_tune(number: int) -> tuple[str, BaseModel]:
    """Return name and base of fine-tune `number`; different numbers have different names."""
    combinations = len(BASE_MODELS) * len(ADJECTIVES) * len(NOUNS) * len(VARIANTS)
    series, position = divmod(number, combinations)
    # A stride that shares no factor with the count visits every combination once, neighbours looking unalike.
    rest = position * 386_413 % combinations
    rest, base = divmod(rest, len(BASE_MODELS))
    rest, adjective = divmod(rest, len(ADJECTIVES))
    variant, noun = divmod(rest, len(NOUNS))
    name = f"{BASE_MODELS[base].name}-{ADJECTIVES[adjective]}{NOUNS[noun]}-{VARIANTS[variant]}"
    return (f"{name}-r{series}" if series else name), BASE_MODELS[base]


def person(number: int) -> str:
    """Return the account name of person `number`; different numbers have different names."""
    rest, adjective = divmod(number * 1_009, len(ADJECTIVES))
    series, noun = divmod(rest, len(NOUNS))
    return f"{ADJECTIVES[adjective]}{NOUNS[noun]}".lower() + (str(series) if series else "")
