"""Telling people: channels, one alert per condition with its cool-down, and the note that it is over.

Knows neither Dagster nor the store nor the settings: orchestration hands in what happened, the addresses and
the time.
"""
