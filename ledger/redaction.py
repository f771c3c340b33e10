"""Personal data and keys taken out of texts: found by shape, confirmed by check sums, replaced by a word.

The same function stands in front of what is stored and of what a student reads, so that it is trained on what it
will see. It does not find everything: docs/record.md has recall and precision on the labelled set of the tests.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import cache


class Kind(StrEnum):
    """What is looked for."""

    EMAIL = "email"
    CARD = "card"  # payment card numbers: 13 to 19 digits of a known network that pass Luhn's check
    IBAN = "iban"  # country's length, and the remainder of ISO 7064 mod 97-10
    PHONE = "phone"  # with country code, North American, or with a trunk 0 and separators
    KEY = "key"  # known prefixes, private key blocks, what follows "password:", long tokens of high entropy


Redactor = Callable[[str], str]

_TOKEN_ENTROPY_BITS = 3.7  # per character; words joined by hyphens stay below it

_KEY_CHARACTERS = 16  # of the shortest that is known by its shape

_DIGIT = re.compile(r"[0-9]")
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_CARD = re.compile(r"(?<![\d.,])[2-6](?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")
_PHONE = re.compile(
    r"(?<![\w.+])(?<!\d[ -])(?:"
    r"(?:\+|00)[1-9](?:[ ().\-/]{0,3}\d){6,14}"
    r"|(?:1[ .-])?\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4}"
    r"|\(?0[1-9]\d{0,4}\)?[ /-]\d{2,8}(?:[ -]\d{2,5}){0,4}"
    r")(?![\w-]|[.,]\d)"
)
_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-[\w-]{16,200}|[rsp]k_(?:live|test)_\w{10,200}|gh[pousr]_\w{30,100}|github_pat_\w{22,100}"
    r"|glpat-[\w-]{20,100}|xox[abeoprs]-[\w-]{10,200}|A(?:KIA|SIA|ROA|IDA)[0-9A-Z]{16}|AIza[\w-]{35}"
    r"|ya29\.[\w-]{20,300}|hf_\w{30,60}|npm_\w{36}|pypi-[\w-]{50,300}|SG\.[\w-]{16,40}\.[\w-]{16,80}"
    r"|eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{4,1000}|stg_(?:viewer|operator|validator|admin)_\w{30,60}"
    r")(?![A-Za-z0-9])"
)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,10000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
)
_NAMED = re.compile(
    r"(?i)\b((?:api[ _-]?key|access[ _-]?key|auth[ _-]?token|token|secret|passw(?:or)?d|pwd|bearer)"
    r"(?:\s{0,2}(?:is|[:=])\s{0,2}|\s)[\"']?)(?=[^\s\"']{0,40}\d)([^\s\"',;]{8,200})"
)
_TOKEN = re.compile(r"(?<![\w+/=.-])[A-Za-z0-9_+/-]{24,200}={0,2}(?![\w+/])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# ISO 13616, by country
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FO FI GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}


@cache
def redactor(kinds: Collection[Kind]) -> Redactor:
    """One function that replaces every kind named: `[email]`, `[card]`, and so on. `kinds` is a frozenset."""
    steps = [step for kind, step in _STEPS.items() if kind in kinds]

    def redact(text: str) -> str:
        if "@" not in text and _DIGIT.search(text) is None and "-----BEGIN" not in text:
            return text  # most texts, in about a microsecond
        digits = len(_DIGIT.findall(text))
        for least_digits, step in steps:
            if digits >= least_digits:
                text = step(text)
        return text

    return redact if steps else unredacted


def passes_luhn(digits: str) -> bool:
    """Luhn's check, ISO/IEC 7812-1 annex B."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[::-2]))) % 10 == 0


def is_iban(text: str) -> bool:
    """An IBAN without separators, in capitals."""
    if len(text) != _IBAN_LENGTHS.get(text[:2]):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def entropy_bits(text: str) -> float:
    """Shannon's entropy per character of the text's own distribution."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def unredacted(text: str) -> str:
    """The redactor of no kinds."""
    return text


def _without_emails(text: str) -> str:
    return _EMAIL.sub("[email]", text) if "@" in text else text


def _without_cards(text: str) -> str:
    return _CARD.sub(_card, text)


def _without_ibans(text: str) -> str:
    pieces, done = list[str](), 0
    for match in _IBAN.finditer(text):
        end = _iban_end(text, match.start()) if match.start() >= done else 0
        if end:
            pieces += (text[done : match.start()], "[iban]")
            done = end
    return "".join((*pieces, text[done:]))


def _without_phones(text: str) -> str:
    return _PHONE.sub(_phone, text)


def _without_keys(text: str) -> str:
    if "-----BEGIN" in text:
        text = _KEY_BLOCK.sub("[key]", text)
    if len(max(text.split(), key=len, default="")) >= _KEY_CHARACTERS:
        text = _TOKEN.sub(_token, _KEY.sub("[key]", text))
    return _NAMED.sub(_named, text) if _names_a_key(text.lower()) else text


# Kind -> the least digits in a text that can hold one, and what takes them out. Keys first: they may hold what
# looks like the others. Cards and IBANs before telephones, which are looser.
_STEPS: dict[Kind, tuple[int, Redactor]] = {
    Kind.KEY: (0, _without_keys),
    Kind.EMAIL: (0, _without_emails),
    Kind.IBAN: (7, _without_ibans),
    Kind.CARD: (13, _without_cards),
    Kind.PHONE: (8, _without_phones),
}


def _names_a_key(text: str) -> bool:
    return (
        "key" in text
        or "pass" in text
        or "token" in text
        or "secret" in text
        or "pwd" in text
        or "bearer" in text
    )


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    is_card = passes_luhn(digits) and len(set(digits)) > 1 and _is_network(digits)
    return "[card]" if is_card else match[0]


def _is_network(digits: str) -> bool:
    """Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro by prefix and length."""
    two, four, length = int(digits[:2]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if two in (30, 36, 38, 39):
        return 14 <= length <= 19
    return ((two == 35 or digits[0] == "6") and 16 <= length <= 19) or two in (50, 56, 57, 58)


def _iban_end(text: str, start: int) -> int:
    """Where the IBAN that begins here ends, single separators skipped; 0 if it is none."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    match = None if length is None else _iban_shape(length).match(text, start)
    if match is None:
        return 0
    return match.end() if is_iban(match[0].replace(" ", "").replace("-", "").upper()) else 0


@cache
def _iban_shape(length: int) -> re.Pattern[str]:
    return re.compile(rf"(?:[A-Za-z0-9][ -]?){{{length - 1}}}[A-Za-z0-9](?![^\W_])")


def _phone(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    least = 9 if digits[0] == "0" and match[0][0] != "+" else 8
    return "[phone]" if least <= len(digits) <= 15 and len(set(digits)) > 2 else match[0]


def _named(match: re.Match[str]) -> str:
    return match[1] + "[key]" if entropy_bits(match[2]) > 2 else match[0]


def _token(match: re.Match[str]) -> str:
    token = match[0]
    mixed = any(map(str.isdigit, token)) and any(map(str.isupper, token)) and any(map(str.islower, token))
    if not mixed or _UUID.fullmatch(token) or "//" in token or token.count("/") > 2:
        return token
    return "[key]" if entropy_bits(token) >= _TOKEN_ENTROPY_BITS else token
