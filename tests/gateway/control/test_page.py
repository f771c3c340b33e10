"""The status page: served as it is, allowed to run nothing but itself, and unable to be written into."""

import base64
import hashlib
import re

from gateway.control.page import PAGE, content_security_policy
from tests.gateway.control.desk import Desk


def test_the_page_needs_no_key_and_carries_its_policy(desk: Desk) -> None:
    """It is an empty shell; what it shows needs a key."""
    page = desk.ask("", "GET", "/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == content_security_policy(page.text)
    assert page.headers["x-frame-options"] == "DENY"


def test_the_policy_allows_the_scripts_of_the_page_and_no_other() -> None:
    """Each script and style is named by its digest."""
    page = PAGE.read_text()
    policy = content_security_policy(page)
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy


def test_nothing_that_the_api_says_can_become_markup() -> None:
    """Text content only, and no attribute or element that the policy would block."""
    page = PAGE.read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style="):
        assert word not in page
    assert not re.search(r"\son[a-z]+=", page)


def test_the_page_loads_nothing_from_elsewhere() -> None:
    """No address of another server stands in it."""
    page = PAGE.read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert re.findall(r'fetch\("([^"]+)"', page) == ["/api/v1/status"]


def test_life_needs_no_key(desk: Desk) -> None:
    """A supervisor has none."""
    assert desk.ask("", "GET", "/livez").json() == {"alive": True}
