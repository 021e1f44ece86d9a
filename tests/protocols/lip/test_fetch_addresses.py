"""Where the fetcher goes and where it does not: addresses, spellings, names (FETCH-3 to FETCH-5)."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.lip.web import SITE, Web, allowed, answer, browsing, serving
from web4.foundation.address_ranges import IPV4_REFUSED, IPV6_ALLOWED, IPV6_REFUSED
from web4.foundation.addresses import refusal_of
from web4.protocols.lip.errors import AddressRefused, FetchFailed
from web4.protocols.lip.fetching import FetchException, FetchOptions, open_fetcher
from web4.protocols.lip.fetching.dialing import Dialer
from web4.protocols.lip.fetching.uris import parse_uri

if TYPE_CHECKING:
    from collections.abc import Sequence


REFUSED_BY_THE_SPECIFICATION = (
    "0/8 10/8 100.64/10 127/8 169.254/16 172.16/12 192.0.0/24 192.0.2/24 192.88.99/24 192.168/16 198.18/15 "
    "198.51.100/24 203.0.113/24 224/4 240/4"
)
"""As FETCH-3 spells them."""
INSIDE_OF_2000 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
"""Likewise: what is refused of the one part of IPv6 that is not."""
EMBEDDED = ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
"""Forms that embed an IPv4 address, whatever it is."""

ODD_SPELLINGS = {
    "user info": "http://user@example.org/",
    "user and password": "http://user:secret@example.org/",
    "user info before an address": "http://example.org@127.0.0.1/",
    "backslash": "http://example.org\\@127.0.0.1/",
    "backslash in the path": "http://example.org/a\\b",
    "tab": "http://exam\tple.org/",
    "line feed": "http://example.org/\nHost: other",
    "carriage return": "http://example.org/\r\nX: y",
    "null": "http://example.org/\0",
    "space": "http://example.org/a b",
    "leading space": " http://example.org/",
    "next line": "http://example.org/\x85",
    "delete": "http://example.org/\x7f",
    "no-break space": "http://example\xa0.org/",
    "zone id": "http://[fe80::1%25eth0]/",
    "zone id, bare": "http://[fe80::1%eth0]/",
    "IPv6 without brackets": "http://::1/",
    "bracket that stays open": "http://[::1/",
    "brackets around a name": "http://[example.org]/",
    "brackets around IPv4": "http://[127.0.0.1]/",
    "IPv6 future": "http://[v1.fe80::a]/",
    "decimal number": "http://2130706433/",
    "hexadecimal number": "http://0x7f000001/",
    "octal number": "http://017700000001/",
    "two parts": "http://127.1/",
    "three parts": "http://127.0.1/",
    "octal parts": "http://0177.0.0.1/",
    "hexadecimal parts": "http://0x7f.0.0.0x1/",
    "leading zeros": "http://127.000.000.001/",
    "trailing dot": "http://127.0.0.1./",
    "five parts": "http://1.2.3.4.5/",
    "too large a part": "http://1.2.3.256/",
    "a name that ends in a number": "http://example.1/",
    "a name that ends in hexadecimal": "http://example.0x/",
    "full-width digits": "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "circled digits": "http://①②⑦.⓪.⓪.①/",
    "ideographic full stops": "http://127。0。0。1/",
    "escaped host": "http://%31%32%37.0.0.1/",
    "escaped dot": "http://127%2e0.0.1/",
    "no host": "http:///path",
    "port without a host": "http://:80/",
    "empty label": "http://example..org/",
    "label with a hyphen first": "http://-example.org/",
    "long label": f"http://{'a' * 64}.org/",
    "long name": f"http://{'a.' * 130}org/",
    "port zero": "http://example.org:0/",
    "port with zeros": "http://example.org:0080/",
    "port with a sign": "http://example.org:+80/",
    "port that is too large": "http://example.org:65616/",
    "empty port": "http://example.org:/",
    "two ports": "http://example.org:80:80/",
    "scheme file": "file:///etc/passwd",
    "scheme gopher": "gopher://example.org/",
    "scheme ftp": "ftp://example.org/",
    "scheme data": "data:text/plain,hello",
    "no scheme": "//example.org/",
    "relative": "/path",
    "one slash": "http:/example.org/",
    "nothing": "",
    "too long": "http://example.org/" + "a" * 3_000,
    "surrogate": "http://example.org/\ud800",
}

PRIVATE_LITERALS = {
    "loopback": "http://127.0.0.1/",
    "IPv6 loopback": "http://[::1]/",
    "unspecified": "http://0.0.0.0/",
    "IPv6 unspecified": "http://[::]/",
    "metadata service": "http://169.254.169.254/latest/meta-data/",
    "mapped": "http://[::ffff:127.0.0.1]/",
    "mapped public": "http://[::ffff:8.8.8.8]/",
    "compatible": "http://[::127.0.0.1]/",
    "NAT64": "http://[64:ff9b::7f00:1]/",
    "NAT64 of a public address": "http://[64:ff9b::808:808]/",
    "NAT64, local": "http://[64:ff9b:1::7f00:1]/",
    "6to4": "http://[2002:7f00:1::]/",
    "Teredo": "http://[2001:0:7f00:1::]/",
    "link-local": "http://[fe80::1]/",
    "unique local": "http://[fd00::1]/",
    "site-local": "http://[fec0::1]/",
    "multicast": "http://[ff02::1]/",
    "broadcast": "http://255.255.255.255/",
}


def edges(network: str) -> list[str]:
    """The first and the last address of a range, and one between."""
    found = ip_network(network)
    return [str(found[0]), str(found[found.num_addresses // 2]), str(found[-1])]


def literal(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def no_packets(names: dict[str, Sequence[str]] | None = None) -> tuple[Web, Dialer]:
    """A dialler whose resolver and network are looked at."""
    web = Web({}, dict(names or {}))
    return web, Dialer((), web.resolve, web.dial)


def test_the_ranges_are_those_of_the_specification() -> None:
    """FETCH-3: neither one more nor one less."""

    def whole(text: str) -> str:
        address, _, bits = text.partition("/")
        return f"{'.'.join([*address.split('.'), '0', '0', '0'][:4])}/{bits}"

    assert [network for network, _ in IPV4_REFUSED] == [
        whole(one) for one in REFUSED_BY_THE_SPECIFICATION.split()
    ]
    assert IPV6_ALLOWED == "2000::/3"
    inside = IPv6Network(IPV6_ALLOWED)
    refused = [one for one, _ in IPV6_REFUSED]
    assert [one for one in refused if IPv6Network(one).subnet_of(inside)] == list(INSIDE_OF_2000)
    assert set(EMBEDDED) <= set(refused)


@pytest.mark.parametrize("network", [one for one, _ in (*IPV4_REFUSED, *IPV6_REFUSED)])
async def test_fetch_address_matrix(network: str) -> None:
    """FETCH-3: every range is refused, as a literal without any packet, as an answer without a dial."""
    for address in edges(network):
        web, dialer = no_packets({SITE: ["8.8.8.8", address], "lone.test": [address]})
        for uri in (literal(address), f"http://{SITE}/", "https://lone.test/"):
            with pytest.raises(AddressRefused) as refused:
                await dialer.connect(parse_uri(uri))
            assert refused.value.code == "address_not_public"
        assert web.dialed == []
        assert web.resolved == [SITE, "lone.test"]


def test_what_is_beside_the_ranges_is_public() -> None:
    """FETCH-3: the neighbours of every range, so that a range is not wider than it should be."""
    for network in (ip_network(one) for one, _ in IPV4_REFUSED):
        for number in (int(network[0]) - 1, int(network[-1]) + 1):
            if 0 <= number < 2**32:
                address = ip_address(number)
                inside = any(address in ip_network(one) for one, _ in IPV4_REFUSED)
                assert (refusal_of(address) is not None) is inside
    for text in ("2001:200::", "2606:4700::1111", "3ffe::1", "3fff:1000::", "2003::1", "2001:db9::"):
        assert refusal_of(ip_address(text)) is None
    for text in ("1fff:ffff::", "4000::", "2001:1ff::", "3fff:fff::", "2002:808:808::"):
        assert refusal_of(ip_address(text)) is not None


async def test_fetch_address_matrix_odd_spellings() -> None:
    """FETCH-5: refused on the raw text: no resolver hears of it, no socket is opened, and the text is not repeated."""
    async with browsing({}) as (fetcher, web):
        for name, uri in ODD_SPELLINGS.items():
            with pytest.raises(AddressRefused) as refused:
                await fetcher.fetch(uri)
            assert refused.value.code == "uri_refused", name
            assert "secret" not in str(refused.value)
        assert (web.resolved, web.dialed, web.connections) == ([], [], 0)


async def test_fetch_address_matrix_literals() -> None:
    """FETCH-3: an address that is no public one, through the whole fetcher."""
    async with serving({}) as web, open_fetcher(resolve=web.resolve, dial=web.dial) as fetcher:
        for name, uri in PRIVATE_LITERALS.items():
            with pytest.raises(AddressRefused) as refused:
                await fetcher.fetch(uri)
            assert refused.value.code == "address_not_public", name
        assert (web.resolved, web.dialed, web.connections) == ([], [], 0)


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 444, 6379, 8080, 65535])
async def test_fetch_address_matrix_ports(port: int) -> None:
    """FETCH-5: 80 and 443, without a packet."""
    web, dialer = no_packets({SITE: ["8.8.8.8"]})
    with pytest.raises(AddressRefused) as refused:
        await dialer.connect(parse_uri(f"http://{SITE}:{port}/"))
    assert (refused.value.code, web.resolved, web.dialed) == ("port_refused", [], [])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("https://example.org:443/a?b#c", "https://example.org/a?b"),
        ("http://example.org:443", "http://example.org:443/"),
        ("http://example.org./", "http://example.org/"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://bücher.example/ä?ö", "http://xn--bcher-kva.example/%C3%A4?%C3%B6"),
        ("http://example.org/a%20b%2Fc", "http://example.org/a%20b%2Fc"),
        ("http://example.org/?q=a[b]|c", "http://example.org/?q=a%5Bb%5D%7Cc"),
        ("http://example.org#http://127.0.0.1/", "http://example.org/"),
        ("http://example.org?x=@127.0.0.1", "http://example.org/?x=@127.0.0.1"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://example.org/a/./b/../c", "http://example.org/a/c"),
        ("http://example.org/../../a/..", "http://example.org/"),
        ("http://example.org/a/%2e%2E/b/.", "http://example.org/b/"),
        ("http://example.org/%73hut%7E?%61=%2f", "http://example.org/shut~?a=%2F"),
        ("http://example.org/%2541%zz%", "http://example.org/%2541%zz%"),
        ("http://example.org//a//b", "http://example.org//a//b"),
    ],
)
def test_a_uri_has_one_spelling(raw: str, text: str) -> None:
    """FETCH-5: and that spelling reads as itself."""
    assert parse_uri(raw).text == text
    assert parse_uri(text) == parse_uri(raw)
    assert str(httpx.Request("GET", text).url) == text  # and that is what goes over the wire


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_text_is_read_in_two_ways(path: str, query: str) -> None:
    """FETCH-5: whatever is let through has one spelling, which the library writes as we do."""
    try:
        uri = parse_uri(f"http://example.org/{path}?{query}")
    except AddressRefused:
        return
    assert parse_uri(uri.text) == uri
    assert str(httpx.Request("GET", uri.text).url) == uri.text
    assert "/../" not in uri.target.partition("?")[0]


@given(st.text(max_size=30))
def test_no_authority_leads_elsewhere(authority: str) -> None:
    """FETCH-5: the host that is checked is the host that another reader sees."""
    try:
        uri = parse_uri(f"http://{authority}/")
    except AddressRefused:
        return
    assert httpx.URL(uri.text).raw_host.decode() == uri.host
    assert urlsplit(uri.text).hostname == uri.host


# --- names (FETCH-4) ------------------------------------------------------------------------------------------


async def test_good_answers_do_not_excuse_a_bad_one() -> None:
    """FETCH-3: every address that a name resolves to is public, or none is dialled."""
    for answers in (
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1", "::ffff:10.0.0.1"],
        ["x"],
    ):
        web, dialer = no_packets({SITE: answers})
        with pytest.raises(AddressRefused):
            await dialer.connect(parse_uri(f"http://{SITE}/"))
        assert web.dialed == []


async def test_a_name_that_changes_its_mind_is_resolved_once_a_hop() -> None:
    """FETCH-4, rebinding: what was checked is what is dialled; a second answer has nobody to hear it."""
    answers = [["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]

    async with serving({"/robots.txt": answer(status="404 No"), "/": answer(b"hello")}) as web:

        async def resolve(host: str, port: int) -> Sequence[str]:
            web.resolved.append(host)
            return answers[len(web.resolved) - 1]

        dialer = Dialer(allowed(web).exceptions, resolve, web.dial)
        dialed = await dialer.connect(parse_uri(web.url()))
        await dialed.stream.aclose()
        assert (web.resolved, web.dialed, dialed.address) == ([SITE], ["127.0.0.1"], "127.0.0.1")
        with pytest.raises(AddressRefused) as refused:  # the next hop is a new question, and a new check
            await dialer.connect(parse_uri(web.url()))
        assert refused.value.code == "address_not_public"
        assert web.dialed == ["127.0.0.1"]


async def test_a_connection_that_ends_elsewhere_is_closed_unused() -> None:
    """FETCH-4: the socket's peer is compared with the address that was checked."""
    async with serving({"/": answer(b"inside")}) as web:

        async def bent(address: str, port: int) -> trio.SocketStream:
            assert address == "8.8.8.8"
            return await web.dial("127.0.0.1", web.port)

        web.names["public.test"] = ["8.8.8.8"]
        async with open_fetcher(resolve=web.resolve, dial=bent) as fetcher:
            with pytest.raises(AddressRefused) as refused:
                await fetcher.fetch("http://public.test/")
        assert refused.value.code == "peer_mismatch"
        assert web.requests == []


async def test_an_address_that_does_not_answer_gives_way_to_the_next() -> None:
    """FETCH-4: the others were checked, too."""
    async with browsing({"/": answer(b"hello")}) as (fetcher, web):
        web.names[SITE] = ["127.0.0.77", "127.0.0.1"]
        fetched = await fetcher.fetch(web.url())
        assert fetched.text.text == "hello"
        assert web.dialed[-2:] == ["127.0.0.77", "127.0.0.1"]
        assert fetched.record.hops[0].address == "127.0.0.1"


async def test_an_address_that_is_silent_takes_no_time_from_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """FETCH-8: the 5 s are for all of them."""
    asked: list[str] = []

    async def dial(address: str, port: int) -> trio.SocketStream:
        asked.append(address)
        if len(asked) < 4:
            await trio.sleep_forever()
        raise OSError

    dialer = Dialer(
        (), no_packets({SITE: ["8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"]})[0].resolve, dial
    )
    began = trio.current_time()
    with pytest.raises(FetchFailed):
        await dialer.connect(parse_uri(f"http://{SITE}/"))
    assert asked == ["8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1"]
    assert trio.current_time() - began <= 3.1


async def test_a_name_without_an_address() -> None:
    async with browsing({}) as (_, web):
        dialer = Dialer((), web.resolve, web.dial)
        with pytest.raises(FetchFailed) as failed:
            await dialer.connect(parse_uri("http://nobody.test/"))
        assert failed.value.code == "name_not_resolved"


# --- exceptions (FETCH-11) ------------------------------------------------------------------------------------


async def test_an_exception_is_for_its_host_its_port_and_its_network() -> None:
    """FETCH-11: and every use of one is an event."""
    async with browsing({"/": answer(b"hello")}, hosts=(SITE, "other.test")) as (fetcher, web):
        fetched = await fetcher.fetch(web.url(), fetch_id="one")
        label = f"{SITE}:{web.port} in 127.0.0.0/8"
        assert fetched.record.exceptions == (label,)
        told = [fields for name, fields in web.events if fields.get("kind") == "exception_used"]
        assert told == [
            {"severity": "warning", "kind": "exception_used", "exception": label, "fetch_id": "one"}
        ]
        web.names[SITE] = ["10.0.0.1"]
        with pytest.raises(AddressRefused):  # its host and port, another network
            await fetcher.fetch(web.url())
        web.names["third.test"] = ["127.0.0.1"]
        with pytest.raises(AddressRefused):  # its port and network, another host
            await fetcher.fetch(web.url("/", "third.test"))
        with pytest.raises(AddressRefused):  # its host, another port
            await fetcher.fetch(f"http://other.test:{web.port + 1}/")


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """FETCH-4."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with browsing({"/": answer(b"hello", Set_Cookie="a=b")}) as (fetcher, web):
        await fetcher.fetch(web.url())
        await fetcher.fetch(web.url())
        assert web.pages == [f"{SITE}/"] * 2
        for head in web.heads:
            fields = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
            assert fields == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
            assert f"Host: {SITE}:{web.port}".encode() in head


def test_options_are_checked_when_they_are_made() -> None:
    """LIM-1: no limit is nothing, and an exception's network is one."""
    for name in (
        "connect_seconds",
        "total_seconds",
        "body_bytes",
        "header_bytes",
        "per_host",
        "in_all",
        "extract_ms",
    ):
        for value in (0, -1):
            with pytest.raises(ValueError, match=name):
                msgspec.structs.replace(FetchOptions(), **{name: value})
    FetchOptions(redirects=0, spacing_seconds=0.0)
    with pytest.raises(ValueError, match="network"):
        FetchException(host=SITE, port=80, network="somewhere")
    with pytest.raises(ValueError, match="host bits"):
        FetchException(host=SITE, port=80, network="127.0.0.1/8")
    assert FetchOptions().exceptions == ()
