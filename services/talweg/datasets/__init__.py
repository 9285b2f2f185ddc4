"""Uploaded datasets: parsed within limits, stored by digest, loaded where a spec names one.

An upload is parsed in a separate process without secrets, with limits of memory and time (`parser_process`), and stored
in one canonical form (`preparing`), whose sha256 is the dataset's digest. A run's spec holds the name and the digest,
so that a replay reads the same numbers (`sources`).

This module imports nothing: each parser process would load the store and the engine with it.
"""
