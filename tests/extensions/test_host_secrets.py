"""The variables that a manifest lets through reach the extension, and no log (EXT-28)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.extensions.hosting import running, write_extension
from web4.extensions.conversation.redacting import Redaction, known_from
from web4.extensions.hosting.options import HostOptions
from web4.journal.secret_search import SecretSearch

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.conversation.call import LogLine

SECRET = "hush 4711/é"
OF_THE_NODE = "the node's own word"
CODE = f'''
import base64, os, sys
from web4.ext import Context, Extension, Failure

ext = Extension("acme.bench")
secret = os.environ.get("ACME_WORD", "")

@ext.tool()
def crash(ctx: Context) -> str:
    """Do crash."""
    print("printed", secret, "and {OF_THE_NODE}", flush=True)
    ctx.log("logged " + base64.b64encode(secret.encode()).decode(), word=secret)
    print("last", secret, file=sys.stderr, flush=True)
    os.abort()

@ext.tool()
def fail() -> str:
    """Do fail."""
    raise Failure("acme", "failed with " + secret, data={{"word": secret}})

@ext.tool()
def length() -> int:
    """Do length."""
    return len(secret)
'''


async def test_a_variable_that_is_passed_on_is_in_no_log_and_no_reason(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", CODE, environment=["ACME_WORD"])
    search = SecretSearch()
    search.learn("node", OF_THE_NODE)
    options = HostOptions(environment={"ACME_WORD": SECRET, "OTHER": "x"}, secrets=(search,))
    lines: list[LogLine] = []
    async with running(
        tmp_path / "ext", runtime=tmp_path / "run", options=options, on_log=lines.append
    ) as host:
        assert (await host.call("tool", "length", {})).value == len(SECRET)
        crashed = await host.call("tool", "crash", {})
        assert crashed.code == "extension_crashed"
        assert crashed.stderr is not None
        assert "last [redacted:environment.0.acme_word]" in crashed.stderr
        failed = await host.call("tool", "fail", {})
        assert failed.reason == "acme: failed with [redacted:environment.0.acme_word]"
        assert failed.data is None
    told = [crashed.stderr, str(crashed.reason), str(failed), *(line.text for line in lines)]
    for form in (SECRET, base64.b64encode(SECRET.encode()).decode(), OF_THE_NODE):
        assert not any(form in one for one in told), form
    assert sum("[redacted:" in line.text for line in lines) == 3


def test_variables_whose_names_or_values_are_odd() -> None:
    odd = {
        "A": "short",
        "É": "a long value",
        "A" * 100: "another value",
        "b c": "a third value",
        "E": "\udcff" * 8,
    }
    redaction = Redaction(known_from(odd))
    text = redaction("short, a long value, another value, a third value")
    assert text.startswith("short, [redacted:environment.")
    assert "value" not in text
    assert redaction.knows(b"... another value ...")
    assert not redaction.knows(b"short")
