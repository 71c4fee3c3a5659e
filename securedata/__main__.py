"""`python -m securedata` is the `securedata` command."""

import sys

from securedata.cli.main import main

sys.exit(main())
