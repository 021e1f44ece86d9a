"""Questions on a terminal: to the operator, and those that extensions ask (EXT-18, UX-6, UX-7)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from tests.cli.terminal import on_terminal
from web4.cli.extensions.terminal import answer_extension, can_ask
from web4.extensions.conversation.call import UiQuestion

if TYPE_CHECKING:
    from web4.worker.frames import UiMethod

SCRIPT = """
import sys, msgspec, trio
from web4.cli.extensions.terminal import answer_extension, confirm
from web4.extensions.conversation.call import UiQuestion
request = msgspec.json.decode(sys.argv[1], type=UiQuestion)
async def main():
    with trio.open_signal_receiver(2) as signals:
        async with trio.open_nursery() as nursery:
            async def stop():
                async for _ in signals:
                    nursery.cancel_scope.cancel()
            nursery.start_soon(stop)
            if sys.argv[2:]:
                print("told", await confirm("Let it run?"))
            else:
                print("told", msgspec.json.encode(await answer_extension(request)).decode())
            nursery.cancel_scope.cancel()
    print("ended")
trio.run(main)
"""


def request(method: UiMethod, **fields: object) -> str:
    return msgspec.json.encode(question(method, **fields)).decode()


def question(method: UiMethod, **fields: object) -> UiQuestion:
    return UiQuestion(extension="notes", call_id="c1", request_id="r1", method=method, fields=fields)


ASKED = {
    "yes": (request("confirm", title="Delete it?", message="all of it"), ["perhaps", "y"], True),
    "no": (request("confirm", title="Delete it?"), ["no"], False),
    "text": (request("input", title="Whom?"), ["Ada Lovelace"], "Ada Lovelace"),
    "choice": (request("select", title="Which?", options=["a", "b"]), ["3", "x", "2"], "b"),
}


@pytest.mark.parametrize("name", ASKED)
def test_extension_asks(name: str) -> None:
    """The extension's name and its exact words are shown; what makes no sense is asked again."""
    asked, typed, value = ASKED[name]
    with on_terminal(asked, command=(sys.executable, "-c", SCRIPT)) as terminal:
        terminal.see("notes asks: ")
        for line in typed:
            terminal.see({"text": ">", "choice": "[1-2]"}.get(name, "[y/n]"))
            terminal.type(f"{line}\n")
        terminal.see("told ")
        assert terminal.end() == 0
        answer = msgspec.json.decode(terminal.shown.partition("\n")[0])
    assert answer == ["answered", value]


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y", True), ("YES", True), ("n", False), ("", False), ("ok", False)]
)
def test_operator_is_asked(typed: str, agreed: bool) -> None:
    with on_terminal(request("confirm"), "operator", command=(sys.executable, "-c", SCRIPT)) as terminal:
        terminal.see("Let it run? [y/N]")
        terminal.type(f"{typed}\n")
        terminal.see(f"told {agreed}")
        assert terminal.end() == 0


def test_what_was_typed_before_answers_nothing() -> None:
    """Keys pressed before the question was there are no answer to it."""
    with on_terminal(request("confirm"), "operator", command=(sys.executable, "-c", SCRIPT)) as terminal:
        terminal.type("y\n")
        terminal.see("[y/N]")
        terminal.type("n\n")
        terminal.see("told False")
        assert terminal.end() == 0


def test_no_answer() -> None:
    """Ctrl-D is no answer; Ctrl-C ends the waiting at once."""
    for key, told in (("\x04", '"cancelled"'), ("\x03", "ended")):
        with on_terminal(request("input", title="Whom?"), command=(sys.executable, "-c", SCRIPT)) as terminal:
            terminal.see(">")
            terminal.type(key)
            terminal.see(told)
            assert terminal.end() == 0


def test_text_of_extensions_is_made_visible() -> None:
    """UX-7: an extension cannot clear the screen, nor hide what it asks."""
    asked = request("confirm", title="harmless\x1b[2J\r\n\u202eevil", message="y" * 5000)
    with on_terminal(asked, command=(sys.executable, "-c", SCRIPT)) as terminal:
        terminal.see("[y/n]")
        terminal.type("n\n")
        terminal.end()
    with on_terminal(asked, command=(sys.executable, "-c", SCRIPT)) as terminal:
        terminal.see("harmless\\x1b[2J\\x0d\\x0a\\u202eevil")
        terminal.see("y" * 2000 + "\n")


@pytest.mark.parametrize("method", ["confirm", "select", "input", "editor", "interview"])
async def test_nobody_there(method: UiMethod) -> None:
    """Where there is no terminal the answer is `refused`; none is made up."""
    assert not can_ask()
    assert await answer_extension(question(method)) == ("refused", None)


async def test_shown_only(capfd: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(60):
        await answer_extension(question("notify", message="done \x1b[1m"))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "notes says: done \\x1b[1m\n")
