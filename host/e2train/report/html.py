# SPDX-License-Identifier: Apache-2.0
"""Pages from templates: one base and one style for run report, campaign report and live page.

Every page is one file that fetches nothing and runs no script. All text is escaped by jinja2.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from e2train.errors import UserError
from e2train.report.style import DARK, LIGHT

if TYPE_CHECKING:
    from jinja2 import Environment

# A hostile name in a run folder meets escaping first and this policy second.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NONE = "–"


@dataclass(frozen=True)
class TableRow:
    """One row: its name, the text of its cells, and how the name is marked."""

    name: str
    cells: Sequence[str]
    swatch: str = ""
    state: str = ""
    grey: bool = False


@dataclass(frozen=True)
class Table:
    """A table in a box of its own. `corner` heads the column of the rows' names."""

    caption: str
    label: str
    corner: str
    headings: Sequence[str]
    rows: Sequence[TableRow]
    is_text: bool = False
    footnote: str = ""


def build_html(template: str, **context: object) -> str:
    """The page that the named template makes of `context`.

    Raises UserError, saying how to install it, where jinja2 is missing.
    """
    return environment().get_template(template).render(context)


@cache
def environment() -> Environment:
    """The templates of this package; text that they show is escaped."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise UserError("the HTML pages need jinja2: pip install e2train[report]") from None
    made = Environment(
        loader=PackageLoader("e2train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(policy=Markup(POLICY), light=LIGHT, dark=DARK)
    made.filters["data_url"] = data_url
    return made


def data_url(png: bytes) -> Any:
    """A PNG as the address of an image inside the page."""
    from markupsafe import Markup

    return Markup("data:image/png;base64," + base64.b64encode(png).decode())
