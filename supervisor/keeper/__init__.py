"""The keeper: a small program that is the parent of every child, and the daemon's side of it.

`program.py` and what it imports run as `python -I -S <this folder> RUN_DIR`; `client.py` and
`containment.py` run in the daemon. Both speak `wire.py`.
"""
