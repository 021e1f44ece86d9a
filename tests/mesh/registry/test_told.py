"""Which addresses an introducer may give: pure rules, no socket (MESH-10, FETCH-3, decision 0029)."""

from __future__ import annotations

import pytest

from web4.foundation.address_ranges import IPV4_REFUSED, IPV6_REFUSED
from web4.mesh.registry.addresses import check_address
from web4.mesh.registry.errors import AddressError
from web4.mesh.registry.told import ToldAddresses

PEER = "ab" * 32
PUBLIC, PUBLIC_6 = "9.9.9.9", "2620:fe::fe"
PRIVATE = ("10.1.2.3", "172.16.0.1", "192.168.7.7", "100.64.0.9", "fd00::1")
LOOPBACK = ("127.0.0.1", "127.9.9.9", "::1")
NOBODY = (
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.51.100.7", "198.18.0.1"),
    *("fe80::1", "fe80::1%eth0", "ff02::1", "::", "::ffff:127.0.0.1", "::ffff:9.9.9.9", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "2001:db8::1", "::7f00:1"),
)


def code_of(
    host: str, reached: str | None, *, port: int = 7440, told: ToldAddresses | None = None
) -> str | None:
    try:
        (told or ToldAddresses()).check(host, port, reached)
    except AddressError as error:
        return error.code
    return None


@pytest.mark.parametrize("reached", [None, "", PUBLIC, PUBLIC_6, *PRIVATE, *LOOPBACK, *NOBODY])
def test_an_introducer_names_what_it_could_reach(reached: str | None) -> None:
    """MESH-10: public addresses from anybody; private and loopback ones from whoever is there itself."""
    local = reached == "" or reached in LOOPBACK or reached == "::ffff:127.0.0.1"
    inside = local or reached in PRIVATE
    for host in (PUBLIC, PUBLIC_6):
        assert code_of(host, reached) is None
    for host in PRIVATE:
        assert code_of(host, reached) == (None if inside else "not_public")
    for host in LOOPBACK:
        assert code_of(host, reached) == (None if local else "not_public")
    for host in (*NOBODY, "no address", ""):
        assert code_of(host, reached) == "not_public"


@pytest.mark.parametrize("network", [text for text, why in (*IPV4_REFUSED, *IPV6_REFUSED)])
def test_no_refused_range_is_named_by_somebody_far_away(network: str) -> None:
    """FETCH-3: the fetcher's ranges are the same ranges."""
    assert code_of(network.partition("/")[0], PUBLIC) == "not_public"


def test_what_the_operator_says_instead() -> None:
    """LIM-1: fewer addresses, or the networks of a house besides; never what no peer has."""
    public = ToldAddresses(introduced="public")
    assert code_of("127.0.0.1", "127.0.0.1", told=public) == "not_public"
    assert code_of(PUBLIC, "127.0.0.1", told=public) is None
    never = ToldAddresses(introduced="never", networks=("10.0.0.0/8",))
    assert {code_of(host, "", told=never) for host in (PUBLIC, "10.1.2.3")} == {"not_public"}
    house = ToldAddresses(networks=("10.0.0.0/8", "169.254.0.0/16"))
    assert code_of("10.1.2.3", None, told=house) is None
    assert code_of("192.168.7.7", None, told=house) == "not_public"
    assert code_of("169.254.169.254", None, told=house) == "not_public"


def test_this_nodes_own_listeners() -> None:
    """A node is not made to knock at its own doors, by whatever name of this machine."""
    own = [
        "tcp://127.0.0.1:7440",
        "tcp://0.0.0.0:7441",
        "tcp://9.9.9.9:7442",
        "unix:///run/web4.sock",
        "junk",
    ]
    told = ToldAddresses(own=lambda: own)
    for host, port in (("127.0.0.1", 7440), ("127.0.0.1", 7441), ("127.3.3.3", 7441), ("9.9.9.9", 7442)):
        assert code_of(host, "", port=port, told=told) == "own_address"
    for host, port in (("127.0.0.1", 7443), ("9.9.9.9", 7440), ("10.1.2.3", 7441)):
        assert code_of(host, "", port=port, told=told) is None


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("unix:///run/docker.sock", "local_address"),
        ("memory://x", "local_address"),
        ("mesh://" + "cd" * 32, "another_peer"),
        ("tcp://9.9.9.9:22", "privileged_port"),
        ("tcp://ben.example:25", "privileged_port"),
        ("tcp://169.254.169.254:7440", "not_public"),
        ("tcp://[::ffff:127.0.0.1]:7440", "not_public"),
        ("tcp://[fe80::1%25eth0]:7440", "not_public"),
        ("tcp://2130706433:7440", "not_public"),
        ("tcp://0x7f.1:7440", "not_public"),
        ("tcp://127.1:7440", "not_public"),
        ("tcp://0177.0.0.1:7440", "not_public"),
    ],
)
def test_what_is_refused_when_it_is_heard(address: str, code: str) -> None:
    """MESH-10: whoever says it. An operator may write it all the same."""
    with pytest.raises(AddressError) as refused:
        check_address(address, peer=PEER, told=True)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://9.9.9.9:443", "tcp://9.9.9.9:1024", "tcp://ben.example:7440", "tcp://[2620:fe::fe]:7440"),
        *("tcp://127.0.0.1:7440", "tcp://10.0.0.7:7440", "tcp://node-7.example:7440", f"mesh://{PEER}"),
    ],
)
def test_what_is_looked_at_when_it_is_dialled(address: str) -> None:
    """MESH-10: a name, or a private address, depends on where its introducer is then."""
    assert str(check_address(address, peer=PEER, told=True)) == address
