"""Datasets that users upload: parsed within limits, kept by digest, found wherever a spec names one.

What is uploaded is parsed in a process of its own (`child`), which has no secrets, little memory and little time;
what comes out is kept in one canonical form (`packing`), whose sha256 is the dataset's digest. A run's spec holds
that digest beside the name, so that a replay meets the same numbers (`sources`).

Nothing is imported here: each parsing process would load the store and the engine with it.
"""
