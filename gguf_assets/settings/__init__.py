"""Typed settings: one tree, profiles per environment, and where every value came from.

What belongs here: schema, layers, precedence and rules of configuration documents. What does not: acting on
a setting (the room that does what it says) and speaking to the Hub.
"""
