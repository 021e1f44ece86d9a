"""Finds personal data in a text: what has its form, and where there is a check digit, what passes it (FETCH-2).

It is a detector of forms. It finds what is written as people write it; it does not know whose it is, and a text that
hides an address behind words ("ada at example dot org") passes. When in doubt it says yes: then a page is not read.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

# Each pattern is linear: no repetition within a repetition, and every piece is bounded.
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@|\s?\(at\)\s?|\s?\[at\]\s?)[^\W_](?:[\w-]{0,62}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w.+/=-])(?:\+|00)[1-9][0-9]{0,2}[ ./-]{0,2}(?:\(0?[0-9]{0,4}\)[ ./-]{0,2})?"
    r"(?:[0-9][ ./-]{0,2}){6,13}(?![\w=])"
)
_PHONE_NATIONAL = re.compile(
    r"(?<![\w.+/=-])(?:\([0-9]{2,5}\)|0[0-9]{1,4}|[2-9][0-9]{2})[ ./-]{1,3}"
    r"[0-9]{3,4}[ ./-]{1,2}[0-9]{2,5}(?:[ ./-][0-9]{2,4})?(?![\w=])"
)
_TEL = re.compile(r"(?i)\btel:\+?[0-9()./ -]{5,24}")
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?[0-9]){11,18}(?![\w-])")
_US_SOCIAL = re.compile(r"(?<![\w.-])(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-])")
_GB_INSURANCE = re.compile(
    r"(?<!\w)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D](?!\w)"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}(?!\w)")
_LONG_NUMBER = re.compile(r"(?<![\w.-])[0-9]{11}(?![\w-])")
_ES_ID = re.compile(r"(?<!\w)[XYZ0-9][0-9]{7}-?[A-Z](?!\w)")
_FR_SOCIAL = re.compile(
    r"(?<!\w)[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?!\w)"
)


def found_in(text: str, hidden: str = "", source: str = "") -> list[str]:
    """The kinds of personal data that a body holds: `card`, `email`, `identity`, `phone`.

    Args:
        text: What a reader sees.
        hidden: Links and attributes.
        source: Markup, scripts and comments. Plain phone numbers are not looked for here: drawings are made of numbers.
    """
    kinds = set()
    unseen = unquote(html.unescape(hidden))
    for one in (text, unseen, unquote(html.unescape(source))):
        if _EMAIL.search(one):
            kinds.add("email")
        if _TEL.search(one):
            kinds.add("phone")
        if any(luhn(found[0]) for found in _CARD.finditer(one)):
            kinds.add("card")
        if _identity(one):
            kinds.add("identity")
    for one in (text, unseen):
        national = (found[0] for found in _PHONE_NATIONAL.finditer(one))
        if _PHONE.search(one) or any(_digits(found) > 6 and not _is_date(found) for found in national):
            kinds.add("phone")
    return sorted(kinds)


def _identity(text: str) -> bool:
    """Numbers that a state or a bank gave to a person."""
    return (
        _US_SOCIAL.search(text) is not None
        or _GB_INSURANCE.search(text) is not None
        or any(iban(found[0]) for found in _IBAN.finditer(text))
        or any(german_tax(found[0]) for found in _LONG_NUMBER.finditer(text))
        or any(spanish(found[0]) for found in _ES_ID.finditer(text))
        or any(french(found[0]) for found in _FR_SOCIAL.finditer(text))
    )


def luhn(text: str) -> bool:
    """Whether a number passes the check of payment cards."""
    digits = [int(one) for one in text if one.isdigit()]
    if not 12 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def iban(text: str) -> bool:
    """Whether an account number passes its check."""
    plain = text.replace(" ", "")
    # The pattern may have taken a word that follows: every length that can be one is tried.
    return any(_iban_of(plain[:length]) for length in range(15, min(len(plain), 34) + 1))


def _iban_of(plain: str) -> bool:
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1 and plain[
        4:
    ] != "0" * len(plain[4:])


def german_tax(text: str) -> bool:
    """Whether eleven digits are a German tax number."""
    if text[0] == "0" or not 8 <= len(set(text[:10])) <= 9:
        return False
    product = 10
    for one in text[:10]:
        total = (int(one) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(text[10])


def spanish(text: str) -> bool:
    """Whether it is a Spanish identity number."""
    plain = text.replace("-", "")
    number = int(str("XYZ".find(plain[0])) + plain[1:8] if plain[0] in "XYZ" else plain[:8])
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == plain[8]


def french(text: str) -> bool:
    """Whether it is a French social security number."""
    plain = text.replace(" ", "")
    return 97 - int(plain[:13]) % 97 == int(plain[13:])


def _digits(text: str) -> int:
    return sum(one.isdigit() for one in text)


def _is_date(text: str) -> bool:
    """Dates are written with the same marks: 2024-05-17 is none of anybody's numbers."""
    parts = re.split(r"[ ./-]+", text.strip("()"))
    return any(len(one) == 4 and one[:2] in {"19", "20"} for one in parts) and len(parts) <= 3
