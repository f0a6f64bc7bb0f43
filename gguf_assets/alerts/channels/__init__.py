"""The ways to reach people, one per file. Each takes an alert or raises `ChannelError`, within seconds.

What does not belong here: when something is told, trying again, and where addresses come from.
"""
