"""What whoever asks may demand (FETCH-2), and what the detector of personal data finds."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocols.lip.web import SITE, answer, browsing, moved
from web4.protocols.lip.errors import ConstraintRefused
from web4.protocols.lip.extracting.extractor import DIRECTORY
from web4.protocols.lip.fetching.constraints import parse_constraints
from web4.protocols.lip.fetching.uris import parse_uri

if TYPE_CHECKING:
    from types import ModuleType


def module(name: str) -> ModuleType:
    """A module of the worker's, on its own."""
    spec = importlib.util.spec_from_file_location(f"web_reader_{name}", DIRECTORY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


PERSONAL = module("personal_data")

FOUND: dict[str, tuple[str, list[str]]] = {
    "e-mail": ("write to ada.lovelace@example.org, please", ["email"]),
    "e-mail with a plus": ("ada+web4@mail.example.co.uk", ["email"]),
    "e-mail in brackets": ("<ada@example.org>", ["email"]),
    "e-mail of another script": ("пётр@пример.рф", ["email"]),
    "e-mail, said otherwise": ("ada [at] example.org", ["email"]),
    "phone, international": ("call +44 20 7946 0958 now", ["phone"]),
    "phone, with zeros": ("0049 (0)30 123456-78", ["phone"]),
    "phone, run together": ("+4915112345678", ["phone"]),
    "phone, American": ("(415) 555-2671", ["phone"]),
    "phone, American with dots": ("415.555.2671", ["phone"]),
    "phone, national": ("Tel. 030 1234 5678", ["phone"]),
    "card": ("4111 1111 1111 1111", ["card"]),
    "card, run together": ("pay 5500005555555559 today", ["card"]),
    "card, with hyphens": ("3782-822463-10005", ["card"]),
    "US social security": ("SSN 536-22-1234", ["identity"]),
    "GB insurance": ("AB 12 34 56 C", ["identity"]),
    "IBAN": ("DE89 3704 0044 0532 0130 00", ["identity"]),
    "IBAN, run together": ("GB82WEST12345698765432", ["identity"]),
    "German tax number": ("Steuer-ID 86095742719", ["identity"]),
    "Spanish number": ("DNI 12345678Z", ["identity"]),
    "Spanish number of a foreigner": ("X1234567L", ["identity"]),
    "French number": ("1 85 12 75 108 005 19", ["identity"]),
}
CLEAN = {
    "nothing": "",
    "prose": "The lamp costs 12.50 and was made in 1987, in a run of 1,500.",
    "date": "on 2024-05-17, 17.05.2024 and 05/17/2024",
    "time": "2024-05-17T12:30:45.123Z, 12:30:45",
    "version": "web4 1.2.3, python 3.11.4 and 10.15.7",
    "address of a machine": "192.168.100.200 and 2001:db8::1",
    "handle": "@ada on the site, not ada@home",
    "card that fails the check": "4111 1111 1111 1112",
    "card of one digit": "4444 4444 4444 4444",
    "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "IBAN that fails the check": "GB82WEST12345698765433",
    "Spanish number that fails the check": "12345678A",
    "social security number that is none": "000-12-3456",
    "isbn": "ISBN 978-0-306-40615-7",
    "large number": "it has 12345678901234567890123 atoms",
    "pi": "3.14159265358979323846",
    "decorator": "@property def x(self): return a@b",
}


@pytest.mark.parametrize("name", FOUND)
def test_the_detector_finds(name: str) -> None:
    """FETCH-2: e-mail addresses, phone, card and identity numbers."""
    text, kinds = FOUND[name]
    found = PERSONAL.found_in(text)
    assert set(kinds) <= set(found), found


@pytest.mark.parametrize("name", CLEAN)
def test_the_detector_lets_pass(name: str) -> None:
    assert PERSONAL.found_in(CLEAN[name]) == []


def test_the_detector_is_linear() -> None:
    """Nothing that it is given makes it slow: each piece repeated to two megabytes."""
    for piece in ("a@", "1 ", "+1", "(0) ", "1-", "aaaa.", "A1", "0", "x@a.", "a.b@c-", "4111 ", "X0000000"):
        assert isinstance(PERSONAL.found_in(piece * (200_000 // len(piece))), list)


def refused(constraints: list[str]) -> str:
    with pytest.raises(ConstraintRefused) as error:
        parse_constraints(constraints)
    assert error.value.code == "unknown_constraint"
    return str(error.value)


def test_an_unknown_constraint_is_refused() -> None:
    for one in (
        "",
        "no_tracking",
        "No_personal_data",
        "no_personal_data ",
        "domain",
        "domain:",
        "domain:a b",
        "language:de",
    ):
        refused(["no_personal_data", one])
    for one in (
        "domain:example.org/",
        "domain:example.org:80",
        "domain:a@b",
        "domain:127.1",
        "domain:x?y",
        "domain:*.org",
    ):
        refused([one])
    refused(["no_personal_data"] * 17)


def test_a_domain_allows_itself_and_what_is_under_it() -> None:
    """And nothing that only looks like it."""
    constraints = parse_constraints(["domain:Example.ORG"])
    for host in ("example.org", "www.example.org", "a.b.EXAMPLE.org."):
        constraints.check(parse_uri(f"http://{host}/"))
    for host in ("example.com", "notexample.org", "example.org.evil.net", "org", "8.8.8.8"):
        with pytest.raises(ConstraintRefused):
            constraints.check(parse_uri(f"http://{host}/"))
    parse_constraints(["domain:8.8.8.8"]).check(parse_uri("http://8.8.8.8/"))
    parse_constraints(["domain:[2606:4700::1111]"]).check(parse_uri("http://[2606:4700::1111]/"))
    parse_constraints(["domain:bücher.example"]).check(parse_uri("http://shop.xn--bcher-kva.example/"))
    both = parse_constraints(["domain:example.org", "domain:www.example.org"])
    both.check(parse_uri("http://www.example.org/"))
    with pytest.raises(ConstraintRefused):
        both.check(parse_uri("http://example.org/"))


async def test_fetch_constraints() -> None:
    """A counting server: what a constraint forbids is not asked for, and what it finds is not kept."""
    page = b"<html><body><p>Nothing here</p><a href='mailto:%61da@example.org'>write</a></body></html>"
    routes: dict[str, Any] = {
        "/clean": answer(b"The lamp is green."),
        "/mail": answer(b"ada@example.org"),
        "/hidden": answer(page, kind="text/html"),
        "/card.json": answer(b'{"n": "4111111111111111"}', kind="application/json"),
    }
    script = b"<body>Nothing<!-- ada@example.org --><script>var n = '4111111111111111'</script><svg d='m 200 300 400'/>"
    routes["/script"] = answer(script, kind="text/html")
    hosts = (SITE, f"www.{SITE}", "other.test")
    async with browsing(routes, hosts=hosts) as (fetcher, web):
        for constraints in (["no_personal_data"], [f"domain:{SITE}"], ["no_personal_data", f"domain:{SITE}"]):
            fetched = await fetcher.fetch(web.url("/clean", f"www.{SITE}"), constraints)
            assert fetched.record.constraints == tuple(constraints)

        asked = len(web.requests)
        for constraints, code in (
            (["domain:other.test"], "domain_refused"),
            (["stealth"], "unknown_constraint"),
        ):
            with pytest.raises(ConstraintRefused) as error:
                await fetcher.fetch(web.url("/clean"), constraints)
            assert error.value.code == code
        assert len(web.requests) == asked

        web.routes["/away"] = moved(web.url("/clean", "other.test"))
        with pytest.raises(ConstraintRefused):
            await fetcher.fetch(web.url("/away"), [f"domain:{SITE}"])
        assert not any(one.startswith("other.test") for one in web.requests)
        assert (await fetcher.fetch(web.url("/away"))).text.text == "The lamp is green."

        for path, kind in (
            ("/mail", "email"),
            ("/hidden", "email"),
            ("/card.json", "card"),
            ("/script", "card, email"),
        ):
            with pytest.raises(ConstraintRefused) as error:
                await fetcher.fetch(web.url(path), ["no_personal_data"])
            assert error.value.code == "personal_data"
            assert kind in str(error.value)
            assert "4111" not in str(error.value)
            await fetcher.fetch(web.url(path))  # without the constraint it is read


async def test_a_domain_holds_for_robots_too() -> None:
    """A robots.txt that leads elsewhere is not followed there."""
    async with browsing({"/": answer(b"x")}, hosts=(SITE, "other.test")) as (fetcher, web):
        web.routes[f"{SITE}/robots.txt"] = moved(web.url("/robots.txt", "other.test"))
        with pytest.raises(ConstraintRefused):
            await fetcher.fetch(web.url(), [f"domain:{SITE}"])
        assert web.requests == [f"{SITE}/robots.txt"]
