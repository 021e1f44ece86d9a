"""Data classes, secrets and hooks, on the way in and on the way out (JRN-18, JRN-19)."""

from __future__ import annotations

import base64
import json
import timeit
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web4 import _core
from web4.foundation.digest import canonical
from web4.journal.backends.memory import open_memory
from web4.journal.draft import NewEvent
from web4.journal.errors import ProhibitedDataError, RedactionError
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.hashed import Hashed
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.journal.record import Record, Snapshot, read_record
from web4.journal.redaction import Redactor
from web4.journal.secret_search import SecretSearch

KEY = bytes(range(32))
SECRET = 'p/ss"wörd\n+17'


class Note(msgspec.Struct, frozen=True):
    text: str


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    key: str | Hashed
    url: str
    headers: dict[str, str] = {}
    count: int | str = 0
    body: Any = None
    digest: str | None = None


class Answer(msgspec.Struct, frozen=True):
    command: str
    success: bool
    body: str | None


class Narrow(msgspec.Struct, frozen=True):
    choice: bool
    digest: msgspec.Raw | None = None
    level: int = 0


NOTE = EventType(name="note.taken", struct=Note, classes={"text": "retainable"})
CALL = EventType(
    name="call.made",
    struct=Call,
    classes={
        "id": "structural",
        "key": "hashed",
        "url": "retainable",
        "headers": "prohibited",
        "count": "retainable",
        "body": "retainable",
        "digest": "retainable",
    },
)
ANSWER = EventType(
    name="call.answered",
    struct=Answer,
    classes={"command": "structural", "success": "retainable", "body": "retainable"},
    phase="end",
    subject="command",
)
NARROW = EventType(
    name="narrow",
    struct=Narrow,
    classes={"choice": "retainable", "digest": "retainable", "level": "retainable"},
)
REGISTRY = EventRegistry([NOTE, CALL, ANSWER, NARROW])


def persist(redactor: Redactor, event: msgspec.Struct) -> tuple[Any, bytes]:
    return redactor.persist(REGISTRY.type_of(event), event, REGISTRY.encode(event))


def stored(event: msgspec.Struct, *, principal: str | None = None, v: int = 1) -> Record:
    """A record as a backend gives it back."""
    lane, salt, payload = Lane("server"), bytes(16), REGISTRY.encode(event)
    name = REGISTRY.type_of(event).name
    prev = _core.lane_genesis(bytes(16), "server")
    ((header, hashed, chained),) = _core.seal_records(
        "server", 1, prev, [(5, None, principal, (), name, v, payload, salt)]
    )
    return read_record(
        lane,
        1,
        header=header,
        payload=payload,
        salt=salt,
        payload_hash=hashed,
        hash=chained,
        commit=1,
        position=1,
    )


def test_nothing_to_do_gives_the_same_objects() -> None:
    redactor, event = Redactor(KEY, {"token": "0123456789abcdef"}), Note("hello")
    payload = REGISTRY.encode(event)
    persisted, data = redactor.persist(NOTE, event, payload)
    assert persisted is event
    assert data is payload


def test_hashed_only_values_are_stored_as_keyed_hashes() -> None:
    """JRN-18b, d: the value is nowhere, the same value is recognised, another key gives another hash."""
    event = Call(id="c1", key="idempotency-1", url="u")
    persisted, payload = persist(Redactor(KEY), event)
    assert b"idempotency-1" not in payload
    digest = _core.blake3_keyed(KEY, b"idempotency-1").hex()
    assert msgspec.json.decode(payload)["key"] == {"$hash": digest, "len": 13}
    assert persisted == REGISTRY.read("call.made", 1, payload, where=stored(event))
    assert persisted.key == Redactor(KEY).hashed("idempotency-1") == Redactor(KEY).hashed(b"idempotency-1")
    assert Redactor(bytes(32)).hashed("idempotency-1") != persisted.key
    again, same = persist(Redactor(KEY), persisted)
    assert (again, same) == (persisted, payload)
    assert Redactor(KEY).hashed({"b": 1, "a": 2}) == Redactor(KEY).hashed({"a": 2, "b": 1})


def test_a_hash_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Redactor(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        Hashed.of(b"short", "value")


def test_a_hashed_field_is_declared_as_one() -> None:
    """JRN-18b, JRN-9a: a type that cannot hold the hash is refused when it is declared, not when it is used."""

    class Plain(msgspec.Struct):
        key: str

    with pytest.raises(TypeError, match="Hashed"):
        EventType(name="plain", struct=Plain, classes={"key": "hashed"})


def test_prohibited_data_raise_and_name_the_field() -> None:
    """JRN-18e: the field, never the value."""
    event = Call(id="c1", key="k", url="u", headers={"cookie": "tasty-value"})
    with pytest.raises(ProhibitedDataError) as caught:
        persist(Redactor(KEY), event)
    assert caught.value.field == "headers"
    assert "tasty" not in str(caught.value)


def forms(secret: str) -> list[str]:
    """The forms of JRN-18f."""
    data = secret.encode()
    inner = json.dumps(secret)
    return [
        secret,
        f"x{secret}y",
        inner,
        json.dumps(secret, ensure_ascii=False),
        json.dumps(inner),
        inner.replace("/", "\\/"),
        json.dumps({"nested": json.dumps({"deep": secret})}),
        data.hex(),
        data.hex().upper(),
        quote(secret, safe=""),
        *(base64.b64encode(b"x" * before + data + b"yz").decode() for before in range(4)),
        *(base64.urlsafe_b64encode(b"xyz"[:before] + data).decode() for before in range(4)),
        base64.b64encode(data).decode().replace("/", "\\/"),
        base64.b64encode(json.dumps({"a": secret}).encode()).decode(),
    ]


@pytest.mark.parametrize("secret", [SECRET, "sk-0123456789", "\u00ff\u00fe\u00fd?>~~/", "12345678"])
def test_secrets_are_found_in_every_form(secret: str) -> None:
    """JRN-18f."""
    redactor = Redactor(KEY, {"api": secret})
    for form in forms(secret):
        persisted, payload = persist(redactor, Note(form))
        assert "[redacted:api]" in persisted.text, form
        assert REGISTRY.encode(persisted) == payload
        assert redactor.found(payload) == []
        blob = redactor.scrub_bytes(b"\xff" + form.encode() + b"\xff")
        assert b"[redacted:api]" in blob
        assert redactor.found(b"\xff" + form.encode()) == ["api"]
        assert redactor.found(blob) == []


@given(
    st.text(min_size=3, max_size=24).filter(lambda text: len(text.encode("utf-8", "replace")) >= 8),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
def test_base64_of_anything_around_a_secret(secret: str, before: bytes, after: bytes) -> None:
    """JRN-18f: wherever in a longer text a secret begins, nothing of its encoding that is its own is left."""
    try:
        data = secret.encode()
    except UnicodeEncodeError:
        return
    redactor = Redactor(KEY, {"s": secret})
    text = base64.b64encode(before + data + after).decode()
    persisted, _ = persist(redactor, Note(text))
    assert "[redacted:s]" in persisted.text
    assert redactor.found(persisted.text.encode()) == []


def test_secrets_in_keys_numbers_and_depths() -> None:
    redactor = Redactor(KEY, {"pin": "12345678", "key": "abcdefgh"})
    body = {"xabcdefghx": [{"n": 12345678}, True, None, 1.5], "yabcdefghy": 1, "plain": {"abcdefgh": 1}}
    persisted, _ = persist(redactor, Call(id="c1", key="k", url="u", count=112345678, body=body))
    assert persisted.count == "1[redacted:pin]"
    assert persisted.body == {
        "x[redacted:key]x": [{"n": "[redacted:pin]"}, True, None, 1.5],
        "y[redacted:key]y": 1,
        "plain": {"[redacted:key]": 1},
    }
    assert redactor.replaced == {"pin": 2, "key": 3}


def test_keys_that_become_equal_stay_apart() -> None:
    redactor = Redactor(KEY, {"key": "abcdefgh"})
    body = {"abcdefgh": 1, base64.b64encode(b"abcdefgh").decode().strip("="): 2, "[redacted:key]": 3}
    persisted, _ = persist(redactor, Call(id="c1", key="k", url="u", body=body))
    assert sorted(persisted.body.values()) == [1, 2, 3]


def test_a_match_that_begins_within_an_escape_is_none() -> None:
    """A secret `nabcdef` does not stand in a line feed before `abcdef`, though the bytes of the JSON look like it."""
    redactor, event = Redactor(KEY, {"key": "nabcdef"}), Note("\nabcdef")
    assert redactor.persist(NOTE, event, REGISTRY.encode(event))[0] is event


def test_of_nested_secrets_nothing_is_left() -> None:
    redactor = Redactor(KEY, {"short": "abcdef", "long": "xxabcdefyy"})
    assert persist(redactor, Note("-xxabcdefyy-abcdef-"))[0].text == "-[redacted:long]-[redacted:short]-"
    redactor.forget("long")
    assert persist(redactor, Note("-xxabcdefyy-"))[0].text == "-xx[redacted:short]yy-"


def test_secrets_that_are_no_text_are_found_in_blobs_and_encodings() -> None:
    secret = bytes(range(200, 232))
    redactor = Redactor(KEY, {"private": secret})
    assert redactor.scrub_bytes(b"a" + secret + b"b") == b"a[redacted:private]b"
    assert persist(redactor, Note(secret.hex()))[0].text == "[redacted:private]"
    assert "[redacted:private]" in persist(redactor, Note(base64.b64encode(b"k" + secret).decode()))[0].text
    untouched = b"nothing"
    assert redactor.scrub_bytes(untouched) is untouched


@pytest.mark.parametrize(
    ("name", "value"), [("Bad Name", "long enough"), ("", "long enough"), ("a", "short")]
)
def test_what_cannot_be_searched_for_is_said(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"secret") as caught:
        Redactor(KEY, {name: value})
    assert value not in str(caught.value)
    assert repr(Redactor(KEY)) == "Redactor(0 secrets)"


def test_a_secret_where_nothing_can_be_replaced_is_refused() -> None:
    """Structural fields, headers and fields of a narrower type: refused by name, never stored."""
    redactor = Redactor(KEY, {"key": "abcdefgh"})
    with pytest.raises(ProhibitedDataError) as caught:
        persist(redactor, Call(id="abcdefgh", key="k", url="u"))
    assert caught.value.field == "id"
    with pytest.raises(ProhibitedDataError) as caught:
        redactor.check_header("for abcdefgh", ())
    assert caught.value.field == "principal"
    with pytest.raises(ProhibitedDataError) as caught:
        redactor.check_header(None, (("session", "abcdefgh"),))
    assert caught.value.field == "refs"
    redactor.check_header("somebody", (("session", "s"),))
    with pytest.raises(RedactionError) as unfit:
        persist(Redactor(KEY, {"pin": "1234567"}), Narrow(choice=True, level=1234567))
    assert unfit.value.code == "redaction_unfit"
    assert "1234567" not in str(unfit.value)


def test_hooks_run_in_their_order_and_change_what_is_persisted() -> None:
    """JRN-19a, b."""
    seen = []

    def first(one: EventType, event: Any) -> Any:
        seen.append(("first", one.name, event.url))
        return msgspec.structs.replace(event, url="first")

    def second(_one: EventType, event: Any) -> Any:
        seen.append(("second", "", event.url))
        return msgspec.structs.replace(event, url=event.url + " abcdefgh")

    redactor = Redactor(KEY, {"key": "abcdefgh"}, before_persist=[first, second])
    persisted, payload = persist(redactor, Call(id="c1", key="k", url="u"))
    assert seen == [("first", "call.made", "u"), ("second", "", "first")]
    assert persisted.url == "first [redacted:key]"
    assert REGISTRY.encode(persisted) == payload


def touch(**changes: Any) -> Any:
    return lambda _one, event: msgspec.structs.replace(event, **changes)


@pytest.mark.parametrize(
    ("hook", "event"),
    [
        (touch(id="c2"), Call(id="c1", key="k", url="u")),
        (touch(key="other"), Call(id="c1", key="k", url="u")),
        (touch(headers={"a": "b"}), Call(id="c1", key="k", url="u")),
        (touch(success=False), Answer("c1", True, "b")),
        (touch(success=1), Answer("c1", True, "b")),
        (touch(command="c2"), Answer("c1", True, "b")),
        (touch(body=7), Answer("c1", True, "b")),
        (touch(text="\ud800"), Note("t")),
        (lambda _one, _event: None, Note("t")),
        (lambda _one, _event: Answer("c1", True, "b"), Note("t")),
    ],
)
def test_a_hook_that_breaks_its_contract_fails_the_append(hook: Any, event: msgspec.Struct) -> None:
    """JRN-19a, c."""
    with pytest.raises(RedactionError) as caught:
        persist(Redactor(KEY, before_persist=[hook]), event)
    assert caught.value.code == "hook_contract"


def test_a_hook_may_remove_the_body_of_a_stored_response() -> None:
    """JRN-19d."""
    persisted, _ = persist(Redactor(KEY, before_persist=[touch(body=None)]), Answer("c1", True, "b"))
    assert persisted == Answer("c1", True, None)


def test_a_hook_cannot_change_the_callers_event() -> None:
    def careless(_one: EventType, event: Any) -> Any:
        event.body.append("more")
        return event

    event = Call(id="c1", key="k", url="u", body=["one"])
    persisted, _ = persist(Redactor(KEY, before_persist=[careless]), event)
    assert event.body == ["one"]
    assert persisted.body == ["one", "more"]


def test_a_hook_that_raises_says_no_more_than_that() -> None:
    """JRN-19c: what it raised may quote the event."""

    def failing(_one: EventType, event: Any) -> Any:
        raise ValueError(event.text)

    with pytest.raises(RedactionError) as caught:
        persist(Redactor(KEY, before_persist=[failing]), Note("delicate"))
    assert caught.value.code == "hook_raised"
    assert "delicate" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_export_changes_nothing_without_need() -> None:
    record = stored(Note("hello"))
    exported = Redactor(KEY, {"key": "abcdefgh"}).export(record, NOTE)
    assert exported.payload is record.payload
    assert exported.redactions == ()


def test_an_export_holds_old_payloads_to_the_classes_of_today() -> None:
    """JRN-21a: what was stored before a field became delicate, and what nobody classed, is not handed out."""

    class Loose(msgspec.Struct):
        id: str
        key: str
        url: str
        headers: dict[str, str]
        extra: str

    fields = dict.fromkeys(Loose.__struct_fields__, "retainable")
    loose = EventType(name="call.made", struct=Loose, classes=fields)  # type: ignore[arg-type]
    former = EventRegistry([loose])
    payload = former.encode(Loose("c1", "known", "u", {"cookie": "c"}, "e"))
    record = msgspec.structs.replace(stored(Note("x")), payload=payload)
    exported = Redactor(KEY).export(record, CALL)
    assert exported.payload is not None
    assert msgspec.json.decode(exported.payload) == {
        "id": "c1",
        "key": msgspec.to_builtins(Redactor(KEY).hashed("known")),
        "url": "u",
        "headers": "[redacted:prohibited]",
        "extra": "[redacted:unclassified]",
    }
    assert sorted(exported.redactions) == [
        ("extra", "class:none"),
        ("headers", "class:prohibited"),
        ("key", "class:hashed"),
    ]


def test_an_export_withholds_what_is_not_registered() -> None:
    exported = Redactor(KEY).export(stored(Note("x")), None)
    assert exported == (None, (("payload", "unregistered"),))


def test_an_erased_payload_is_nothing_to_redact() -> None:
    erased = msgspec.structs.replace(stored(Note("x")), payload=None, salt=None)
    assert Redactor(KEY).export(erased, NOTE) == (None, ())


def test_secrets_that_became_known_later_are_not_handed_out() -> None:
    redactor = Redactor(KEY, {"late": "abcdefgh"})
    exported = redactor.export(stored(Note("-abcdefgh-")), NOTE)
    assert exported == (canonical({"text": "-[redacted:late]-"}), (("text", "secret"),))
    with pytest.raises(ProhibitedDataError, match="header"):
        redactor.export(stored(Note("x"), principal="abcdefgh"), NOTE)


def test_export_hooks_change_or_withhold() -> None:
    def mask(_record: Record, payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"text": "masked"}

    def withhold(_record: Record, _payload: dict[str, Any]) -> None:
        return None

    masked = Redactor(KEY, before_export=[mask]).export(stored(Note("x")), NOTE)
    assert masked == (b'{"text":"masked"}', (("text", "hook:mask"),))
    gone = Redactor(KEY, before_export=[mask, withhold]).export(stored(Note("x")), NOTE)
    assert gone == (None, (("text", "hook:mask"), ("payload", "hook:withhold")))


def _raise(*_: Any) -> Any:
    raise LookupError("delicate")


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        (_raise, "hook_raised"),
        (lambda _r, p: p | {"more": 1}, "hook_contract"),
        (lambda _r, _p: {}, "hook_contract"),
        (lambda _r, _p: [], "hook_contract"),
        (lambda _r, p: p | {"success": 1}, "hook_contract"),
        (lambda _r, p: p | {"command": "c2"}, "hook_contract"),
        (lambda _r, p: p | {"body": 2**60}, "hook_contract"),
    ],
)
def test_an_export_hook_that_fails_fails_the_export(hook: Any, code: str) -> None:
    """JRN-19c."""
    with pytest.raises(RedactionError) as caught:
        Redactor(KEY, before_export=[hook]).export(stored(Answer("c1", True, "b")), ANSWER)
    assert caught.value.code == code
    assert "delicate" not in str(caught.value)


def test_the_search_forgets() -> None:
    search = SecretSearch()
    search.learn("a", "abcdef")
    search.learn("a", "ghijkl")
    assert len(search) == 1
    assert search.found(b"abcdef ghijkl") == ["a"]
    assert search.scrub(b"abcdef ghijkl") == b"abcdef [redacted:a]"
    search.forget("a")
    search.forget("a")
    assert search.found(b"abcdef ghijkl") == []


def measure() -> None:
    """Print what a look costs; `python -m tests.journal.test_redaction`."""
    event = Note("x" * 500)
    payload = REGISTRY.encode(event)
    for count in (0, 1, 3, 10):
        redactor = Redactor(KEY, {f"s{n}": f"sk-{n:032}" for n in range(count)})
        once = partial(redactor.persist, NOTE, event, payload)
        seconds = min(timeit.repeat(once, number=20000, repeat=5))
        print(f"{count} secrets: {seconds / 20000 * 1e6:.2f} us for 512 bytes")


if __name__ == "__main__":
    measure()


async def test_a_journal_keeps_the_classes_whoever_opened_it() -> None:
    """JRN-18b, e, f: without a redactor of the caller's there is one that knows the classes; headers and snapshots."""
    lane = Lane("session", "s")
    async with (
        open_memory() as backend,
        open_journal(backend, registry=EventRegistry([CALL, NOTE])) as journal,
    ):
        call = Call(id="c1", key="plain-key", url="u")
        await journal.append(lane, [NewEvent(call, 1)], expected_seq=0)
        (record,) = await journal.read(lane)
        assert b"plain-key" not in (record.payload or b"")
        with pytest.raises(ProhibitedDataError):
            journal.prepare(NewEvent(Call(id="c1", key="k", url="u", headers={"a": "b"}), 1))
        journal.redactor.learn("key", "abcdefgh")
        with pytest.raises(ProhibitedDataError) as caught:
            journal.prepare(NewEvent(Note("t"), 1, principal="abcdefgh"))
        assert caught.value.field == "principal"
        head = await journal.head(lane)
        for state, stored_ones in ((b'{"a":"abcdefgh"}', 0), (b'{"a":"b"}', 1)):
            await journal.put_snapshot(Snapshot.of(lane, head.seq, head.hash, state, 1))
            assert len(await journal.snapshots(lane)) == stored_ones
