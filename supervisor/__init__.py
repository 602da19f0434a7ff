"""The core: actors, lifecycle, output log, keeper. Knows no network and no database.

Kept empty of imports: the keeper runs from this package and must stay small.
"""
