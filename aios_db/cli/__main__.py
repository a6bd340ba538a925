"""`python -m aios_db.cli`, the same as `aios`."""

import sys

from aios_db.cli.app import main

sys.exit(main())
