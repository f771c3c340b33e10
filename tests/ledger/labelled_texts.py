"""The labelled set that redaction is measured on: sentences with one planted value each, and sentences with what
only looks like one. Generated from a seed, so that no real person's data lies here; formats are those that people
write, some of them deliberately such that a finder by shape misses them.
"""

import random
import string
from dataclasses import dataclass

from ledger.redaction import Kind, is_iban, passes_luhn

PER_KIND = 200

_BEFORE = (
    "please use {}",
    "{}",
    "my details: {} thanks",
    "Hello,\nreach me: {}.",
    "({})",
    "as I said, {} and no other",
)
_NAMES = ("anna", "j.doe", "lee+news", "o'brien", "mueller_k", "x", "müller", "first.last", "sales-emea")
_HOSTS = (
    "example.com",
    "mail.example.co.uk",
    "sub.dept.example.org",
    "exämple.de",
    "example.museum",
    "example",
)
_CARDS = (("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("36", 14), ("3530", 16), ("4", 13))
_ACCOUNTS = (
    ("DE", r"\d" * 18),
    ("GB", "AAAA" + r"\d" * 14),
    ("FR", r"\d" * 23),
    ("NL", "AAAA" + r"\d" * 10),
    ("NO", r"\d" * 11),
)
_PHONES = (
    "+{c} {a} {l}", "+{c}{a}{l}", "00{c} {a} {l}", "+{c} (0){a} {l}", "0{a}/{l}", "0{a} {l}", "(0{a}) {l}",
    "({n}) {m}-{e}", "{n}-{m}-{e}", "{n}.{m}.{e}", "1-{n}-{m}-{e}", "{l}", "0{a}{l}",
)  # fmt: skip
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, and the one value in it that has to go; None where nothing has to."""

    text: str
    kind: Kind | None
    value: str


def labelled_texts(seed: int = 1) -> list[Labelled]:
    chance = random.Random(seed)
    planted = [
        Labelled(chance.choice(_BEFORE).format(value), kind, value)
        for kind, make in _MAKERS.items()
        for value in (make(chance) for _ in range(PER_KIND))
    ]
    innocent = [
        Labelled(chance.choice(_BEFORE).format(value), None, value)
        for value in (_look_alike(chance) for _ in range(2 * PER_KIND))
    ]
    return planted + innocent


def _email(chance: random.Random) -> str:
    at = chance.choices(("@", " at ", "(at)"), (95, 3, 2))[0]  # spelt out it is not found
    return f"{chance.choice(_NAMES)}{at}{chance.choice(_HOSTS)}"


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def _card(chance: random.Random) -> str:
    prefix, length = chance.choice(_CARDS)
    stem = prefix + _digits(chance, length - 1 - len(prefix))
    number = next(stem + check for check in string.digits if passes_luhn(stem + check))
    return _grouped(number, chance.choice(("", " ", "-", " ", "  ")))


def _grouped(text: str, separator: str) -> str:
    return separator.join(text[start : start + 4] for start in range(0, len(text), 4))


def _iban(chance: random.Random) -> str:
    country, pattern = chance.choice(_ACCOUNTS)
    signs = pattern.replace("\\d", "0")
    account = "".join(chance.choice(string.digits if s == "0" else string.ascii_uppercase) for s in signs)
    iban = next(
        f"{country}{check:02}{account}" for check in range(2, 99) if is_iban(f"{country}{check:02}{account}")
    )
    return chance.choice((iban, _grouped(iban, " "), iban.lower(), _grouped(iban, "-"), _grouped(iban, ".")))


def _phone(chance: random.Random) -> str:
    return chance.choice(_PHONES).format(
        c=chance.choice(("49", "44", "33", "1", "353", "91")),
        a=f"{chance.randrange(20, 999)}",
        l=f"{chance.randrange(100_000, 9_999_999)}",
        n=f"{chance.randrange(201, 989)}",
        m=f"{chance.randrange(201, 999)}",
        e=f"{chance.randrange(1000, 9999)}",
    )


def _key(chance: random.Random) -> str:
    def some(count: int, signs: str = _LETTERS) -> str:
        return "".join(chance.choices(signs, k=count))

    return chance.choice(
        (
            f"sk-{some(48)}",
            f"ghp_{some(36)}",
            f"AKIA{some(16, string.ascii_uppercase + string.digits)}",
            f"xoxb-{some(12, string.digits)}-{some(24)}",
            f"eyJ{some(30)}.eyJ{some(60)}.{some(43)}",
            some(40),
            f"password: {some(12)}1",
            f"token={some(20, string.hexdigits.lower())}1",
            some(32, "0123456789abcdef"),  # without a word before it, it could be any digest: not found
            "-----BEGIN PRIVATE KEY-----\n" + some(200) + "\n-----END PRIVATE KEY-----",
        )
    )


def _look_alike(chance: random.Random) -> str:
    """What people also write, and what must stay as it is."""
    return chance.choice(
        (
            f"order {_digits(chance, 10)}",
            f"parcel 1Z{_digits(chance, 16)}",
            f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02} {chance.randrange(24):02}:15:07",
            f"{chance.randrange(1, 29)}.{chance.randrange(1, 13)}.2026",
            f"{chance.randrange(1, 999)},{_digits(chance, 3)},{_digits(chance, 3)}.50 EUR",
            f"version {chance.randrange(9)}.{chance.randrange(99)}.{chance.randrange(99)}",
            f"10.{chance.randrange(255)}.{chance.randrange(255)}.{chance.randrange(255)}:8080",
            "123e4567-e89b-12d3-a456-426614174" + _digits(chance, 3),
            f"0x{chance.getrandbits(48):012x}",
            f"ISBN 978-3-{_digits(chance, 2)}-{_digits(chance, 6)}-{_digits(chance, 1)}",
            "4111 1111 1111 111" + str(chance.choice((0, 2, 3, 4))),  # fails Luhn
            "DE00 3704 0044 0532 0130 " + _digits(chance, 2),  # the wrong check digits
            "@everyone look here",
            "the half-finished-never-ending-story-of-2026",
            "https://example.com/articles/2026/11/22/why-things-break",
            f"in {chance.randrange(1900, 2100)} there were {_digits(chance, 6)} of them",
            f"{_digits(chance, 5)} {chance.choice(('Berlin', 'Paris', 'Austin'))}",
            f"Unix time 17{_digits(chance, 8)}",
        )
    )


_MAKERS = {
    Kind.EMAIL: _email,
    Kind.CARD: _card,
    Kind.IBAN: _iban,
    Kind.PHONE: _phone,
    Kind.KEY: _key,
}
