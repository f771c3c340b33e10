"""The document around a page: its style, and a policy that lets nothing be fetched or run."""

import base64
import hashlib
from pathlib import Path

from monitor.drawing.markup import Markup, element, void

STYLE = Path(__file__).with_name("style.css")


def whole_page(title: str, *body: Markup) -> str:
    """A whole HTML document that refers to nothing outside itself and holds no script."""
    style = STYLE.read_text(encoding="utf-8")
    head = element(
        "head",
        None,
        void("meta", {"charset": "utf-8"}),
        void("meta", {"http_equiv": "Content-Security-Policy", "content": _policy(style)}),
        void("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        void("meta", {"name": "color-scheme", "content": "light dark"}),
        void("meta", {"name": "referrer", "content": "no-referrer"}),
        element("title", None, title),
        element("style", None, Markup(style)),
    )
    return f"<!doctype html>\n{element('html', {'lang': 'en'}, head, element('body', None, *body))}\n"


def _policy(style: str) -> str:
    """Nothing may be fetched or run, should anything in here ever look like a request to do so."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
