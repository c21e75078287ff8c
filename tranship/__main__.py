"""`python -m tranship`: the command, as if it had been called by its name.

Python puts the folder in which it is called first on the path of imports. A file there that happens to have the name of
a module is no business of the command, so that folder leaves the path before anything more is imported.
"""

import os
import sys

if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109  (pathlib may not be imported yet)
    del sys.path[0]

from tranship import main

if __name__ == "__main__":
    main()
