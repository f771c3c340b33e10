"""The status page: one file, whose script and style are allowed by their own digests and nothing else is."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi.responses import HTMLResponse

PAGE = Path(__file__).with_name("page.html")


def page_response() -> HTMLResponse:
    """Read once, at the start of the process; every request gets the same bytes."""
    text = PAGE.read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": content_security_policy(text),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return HTMLResponse(text, headers=headers)


def content_security_policy(page: str) -> str:
    """No source but this server for what is fetched, and no script or style but those of the page itself."""
    script, style = (_digests(page, tag) for tag in ("script", "style"))
    return (
        f"default-src 'self'; script-src {script}; style-src {style}; img-src data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    )


def _digests(page: str, tag: str) -> str:
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return " ".join(f"'sha256-{_digest(content)}'" for content in contents) or "'none'"


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
