"""python -m lvmm: the command line."""

import sys

from lvmm.cli import main

sys.exit(main())
