"""`python -m api`: the same as `holdfastd`."""

import sys

from api.daemon import main

if __name__ == "__main__":
    sys.exit(main())
