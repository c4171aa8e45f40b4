# SPDX-License-Identifier: Apache-2.0
"""`python -m powermeter` is the `powermeter` command."""

from powermeter.cli.commands import main

main()
