"""`python -m tranship`: the same as the command `tranship`. Python puts the working directory first on the import path.
A file there may happen to have the name of a module, so that folder is removed from the path before anything else is
imported.
"""

import os
import sys

try:
    here = os.getcwd()  # noqa: PTH109  (pathlib may not be imported yet)
except OSError:  # it was removed
    here = ""
if not sys.flags.safe_path and sys.path and sys.path[0] == here:
    del sys.path[0]

from tranship import main

if __name__ == "__main__":
    main()
