"""Quality: what must hold, how complete a day is, how healthy its models are, and the report. Pure."""
