"""Tests a program that speaks the worker protocol, in whatever language it is written (EXT-44).

`python -m web4.ext.conformance [--name NAME] [--patience SECONDS] -- ARGV...` starts the program once for each check,
over a socketpair and without a sandbox, and says line by line what it does right. The program offers the operations
of `docs/reference/worker-protocol.md`; `examples/workers` holds it in three languages.
"""
