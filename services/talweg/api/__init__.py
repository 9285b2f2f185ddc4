"""The laboratory over HTTP: parse, authorise, call, serialise.

`app.create_app` makes the application; `python -m talweg.api` serves it.
"""
