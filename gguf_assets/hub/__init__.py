"""Speaking to the Hugging Face Hub: one transport, the listing walk, details, typed errors.

A border room: it knows the Hub's protocol and nothing of catalogues, stores or Dagster. `client.HubClient`
sends requests; `walk` and `details` hand what came to sinks that somebody else provides.
"""

import os

# Read by huggingface_hub when it is imported: without it, building headers probes another host.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
