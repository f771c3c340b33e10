"""Asks the admin API, and turns what it refuses into the command's exit codes in one place."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from stillgate.exits import Exit
from stillgate.options import configuration_of

TIMEOUT_SECONDS = 30.0  # a locked control file is waited for up to ten

# plain HTTP needs no certificate authorities, and loading them takes 45 ms of every command
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

EXITS: Mapping[str, Exit] = {
    "no_key": Exit.FORBIDDEN,
    "role": Exit.FORBIDDEN,
    "second_person": Exit.FORBIDDEN,
    "verdict": Exit.VERDICT,
    "conflict": Exit.CONFLICT,
    "unknown": Exit.USAGE,
    "invalid": Exit.USAGE,
    "busy": Exit.UNREACHABLE,
    "store": Exit.UNREACHABLE,
}


class AdminRefusal(Exception):
    """The admin API did not do it: the sentence, its reasons, and the exit code that they mean."""

    def __init__(self, sentence: str, exit_code: Exit, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.exit_code, self.reasons = exit_code, reasons


@dataclass(frozen=True, slots=True)
class AdminClient:
    """One deployment's admin API, asked as the person whose key it is."""

    address: str  # host:port
    key: str = field(repr=False)

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        return self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1{path}"
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            # a proxy of the environment is for the outside, not for one's own admin API
            with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, verify=NO_AUTHORITIES) as client:
                response = client.request(method, url, json=body, headers=headers)
        except (httpx.HTTPError, ValueError) as error:
            raise AdminRefusal(_unreachable(self.address, error), Exit.UNREACHABLE) from error
        return _document(response)


def client_for(config: Path, key: str) -> AdminClient:
    """The admin API that the configuration names."""
    return AdminClient(configuration_of(config).control.listen, key)


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        sentence = f"{response.url} answered with status {response.status_code} and no JSON document"
        raise AdminRefusal(sentence, Exit.UNREACHABLE)
    if response.is_success:
        return document
    reasons = tuple(map(str, document.get("reasons", ())))
    exit_code = EXITS.get(str(document.get("code")), Exit.FAILED)
    raise AdminRefusal(str(document.get("error", response.status_code)), exit_code, reasons)


def _unreachable(address: str, error: Exception) -> str:
    return f"the admin API on {address} does not answer ({error}); `stillgate up` starts it"
