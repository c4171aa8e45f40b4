# SPDX-License-Identifier: Apache-2.0
"""The one exception that reaches users as a single line."""


class UserError(Exception):
    """A mistake that the user can mend: the command line prints it as one line and exits with 2."""
