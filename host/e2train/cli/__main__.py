# SPDX-License-Identifier: Apache-2.0
"""`python -m e2train.cli`: the command line without its installed script."""

from . import main

main()
