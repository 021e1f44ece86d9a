"""What a user is told of an error: its code, what to do, and the exit code (UX-3, UX-4)."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path
from typing import Any, Final, NamedTuple

from web4.cli import exits
from web4.foundation.errors import Web4Error

_EXITS: Final = {
    "lane_not_found": exits.NOT_FOUND,
    "not_found": exits.NOT_FOUND,
    "blob_not_found": exits.NOT_FOUND,
    "directory": exits.ENVIRONMENT,
    "read_only_directory": exits.ENVIRONMENT,
    "engine": exits.ENVIRONMENT,
    "unreachable": exits.ENVIRONMENT,
    "journal_locked": exits.ENVIRONMENT,
    "suspended": exits.ENVIRONMENT,
    "no_space": exits.ENVIRONMENT,
    "busy": exits.ENVIRONMENT,
    "unwritable": exits.ENVIRONMENT,
    "kind_unknown": exits.REFUSED,
    "quarantine": exits.ENVIRONMENT,
    "key_missing": exits.ENVIRONMENT,
    "key_permissions": exits.ENVIRONMENT,
    "key_malformed": exits.ENVIRONMENT,
    "os": exits.ENVIRONMENT,
    "timeout": exits.TIMED_OUT,
    "kept": exits.REFUSED,
    "no_snapshot": exits.REFUSED,
    "beyond_repair": exits.REFUSED,
    "lane_halted": exits.REFUSED,
    "prohibited_data": exits.REFUSED,
    "hook_raised": exits.REFUSED,
    "hook_contract": exits.REFUSED,
    "compacted": exits.CONFLICT,
    "target_exists": exits.CONFLICT,
    "moved": exits.CONFLICT,
    "plan_outdated": exits.CONFLICT,
    "name_twice": exits.CONFLICT,
    "name_clash": exits.CONFLICT,
    "digest_changed": exits.CONFLICT,
    "changed": exits.CONFLICT,
    "not_enabled": exits.REFUSED,
    "human_needed": exits.REFUSED,
    "ceiling": exits.REFUSED,
    "grant": exits.REFUSED,
    "too_many": exits.REFUSED,
    "unknown_operation": exits.NOT_FOUND,
    "extension_unprotected": exits.REFUSED,
    "extension_start_timeout": exits.TIMED_OUT,
    "extension_start_failed": exits.ENVIRONMENT,
    "tree_unreadable": exits.ENVIRONMENT,
    "tree_restless": exits.ENVIRONMENT,
    "internal": exits.INTERNAL,
    "not_running": exits.ENVIRONMENT,
    "disconnected": exits.ENVIRONMENT,
    "address_in_use": exits.ENVIRONMENT,
    "bad_address": exits.ENVIRONMENT,
    "socket_in_use": exits.ENVIRONMENT,
    "socket_path": exits.ENVIRONMENT,
    "socket_permissions": exits.ENVIRONMENT,
    "directory_permissions": exits.ENVIRONMENT,
    "not_a_directory": exits.ENVIRONMENT,
    "key_unwritable": exits.ENVIRONMENT,
    "bad_answer": exits.ENVIRONMENT,
    "CommandRefused.invalid_command": exits.ENVIRONMENT,
    "JournalUnavailable.closed": exits.ENVIRONMENT,
    "JournalUnavailable.failed": exits.ENVIRONMENT,
    "outcome_unknown": exits.ENVIRONMENT,
    "ActorStoppedError.stopped": exits.ENVIRONMENT,
    "not_recovered": exits.ENVIRONMENT,
    "unknown_outcome": exits.ENVIRONMENT,
    "actor_crash": exits.ENVIRONMENT,
    "restart_limit": exits.ENVIRONMENT,
    "outbox_full": exits.REFUSED,
    "ControlError.no_answer": exits.TIMED_OUT,
    "no_answer": exits.REFUSED,
    "command_rejected": exits.REFUSED,
    "internal_error": exits.INTERNAL,
    "needs_running": exits.ENVIRONMENT,
    "not_in_use": exits.REFUSED,
    "still_stopping": exits.TIMED_OUT,
    "no_node": exits.NOT_FOUND,
    "rotation_unfinished": exits.CONFLICT,
    "identity_changed": exits.CONFLICT,
    "foreign_journal": exits.CONFLICT,
    "unknown_name": exits.NOT_FOUND,
    "ambiguous_name": exits.NOT_FOUND,
    "unknown_peer": exits.NOT_FOUND,
    "unknown_human": exits.NOT_FOUND,
    "human_known": exits.CONFLICT,
    "unknown_check_in": exits.NOT_FOUND,
    "unknown_fact_ref": exits.NOT_FOUND,
    "unknown_evidence": exits.NOT_FOUND,
    "duplicate": exits.CONFLICT,
    "key_exists": exits.CONFLICT,
    "claim_closed": exits.CONFLICT,
    "own_fingerprint": exits.REFUSED,
    "own_peer": exits.REFUSED,
    "registry_full": exits.REFUSED,
    "newcomer_limit": exits.REFUSED,
    "no_own_evidence": exits.REFUSED,
    "nothing_to_withdraw": exits.CONFLICT,
    "nothing_kept": exits.NOT_FOUND,
    "too_much": exits.REFUSED,
    "ledger_full": exits.REFUSED,
    "claim_full": exits.REFUSED,
    "not_admitted": exits.REFUSED,
    "consent_revoked": exits.REFUSED,
    "no_consent": exits.REFUSED,
    "out_of_scope": exits.REFUSED,
    "peer_trust": exits.REFUSED,
    "social_trust": exits.REFUSED,
    "declined": exits.REFUSED,
    "human_deferred": exits.REFUSED,
    "line_full": exits.REFUSED,
    "too_many_humans": exits.REFUSED,
}
"""By code, or class and code; every other code of a room is exit 2: the input could not be read, or not understood."""

_HINTS: Final = {
    "usage": "the verb's own `--help` has examples",
    "lane": "lanes are server, knowledge, governance, session:ID, peer:FINGERPRINT and human:ID; "
    "`web4 journal stats --lanes` lists those there are",
    "lane_not_found": "`web4 journal stats --lanes` lists the lanes there are",
    "not_found": "name a journal's directory, or a node's data directory that holds `journal/`",
    "not_a_journal": "name a journal's directory; if it is one, restore a backup of it beside and verify that",
    "not_for_bundles": "name the journal that the bundle was exported from",
    "journal_locked": "stop that process first, or wait until it ends; verbs that only read work beside it",
    "schema_older": "run `web4 journal migrate`; it writes a copy first",
    "read_only_directory": "run as the journal's owner, or copy it to where it can be written",
    "compacted": "begin later: the lane's base snapshot stands for what was compacted",
    "cursor_ahead": "take the cursor that the last call has given",
    "foreign_cursor": "a cursor goes on with the query, and in the journal, that it was given for: begin without one",
    "target_exists": "name another target, or remove that one",
    "moved": "run it again",
    "plan_outdated": "run it again",
    "kind_unknown": "repair it with the release, and the extensions, of the node that wrote it",
    "kept": "leave out --to to compact as far as may be",
    "no_snapshot": "the lane's own node makes snapshots as it runs; compact it there",
    "suspended": "make room or end what blocks the file, and run it again",
    "no_space": "make room on the volume of the data directory; the node goes on by itself",
    "busy": "run it again",
    "unwritable": "choose a target that can be written, with enough room",
    "store": "`web4 journal verify` a copy; if it cannot be read either, restore a backup",
    "chain_broken": "`web4 journal verify` names all that is damaged",
    "manifest": "`web4 ext check DIR` says all that is wrong with it",
    "EnablingError.not_found": "`web4 ext ls` lists what is found; `--project` and web4.toml say where to look",
    "not_enabled": "`web4 ext ls` says what is; `web4 ext enable NAME` shows what it asks for, and lets it run",
    "human_needed": "run it on a terminal; or give `--yes`, or the `--digest` that `web4 ext show` says of it",
    "rotation_unfinished": "run `web4 id rotate` once more",
    "identity_changed": "start it again, if that is what you want",
    "foreign_journal": "put the key back that wrote it, as identity/node.pem, mode 0600; for a new identity run "
    "`web4 id rotate` then. If that key is lost, move journal/ elsewhere: the new identity begins with nothing",
    "ceiling": "ask for less, or raise the ceiling under [extensions.ceilings] in web4.toml",
    "changed": "`web4 ext show NAME` says what has; `web4 ext enable NAME` lets it run as it is now",
    "digest_changed": "look at it again: `web4 ext show NAME`",
    "name_clash": "disable the other one, or rename it in the manifest",
    "unknown_operation": "`web4 ext show NAME` lists what it offers",
    "CommandRefused.invalid_command": "the node that runs is of another version than this `web4`: start it again",
    "JournalUnavailable.failed": "`web4 status` says what failed; the node has to be started again",
    "not_running": "`web4 up` runs it",
    "needs_running": "`web4 up` runs it",
    "address_in_use": "end what listens there, or name another port under [rtt] listen in web4.toml; 0 lets the "
    "system choose",
    "bad_address": "name an address of this machine under [rtt] listen in web4.toml, as tcp://127.0.0.1:7440",
    "no_node": "`web4 init` makes one",
    "key_missing": "`web4 init` makes a node, `web4 id new` a key",
    "ControlError.no_answer": "it is stuck, or suspended; what it has written is safe if it has to be killed",
    "still_stopping": "it goes on stopping; `web4 status` says when it is gone",
    "ambiguous_name": "give more digits, or the whole fingerprint",
    "name_too_short": "give more digits, or the name of peers.toml",
    "unknown_name": "`web4 peer ls`, `web4 consent ls`, `web4 claim ls` and `web4 evidence show` list what there is",
    "unknown_peer": "`web4 peer ls` lists the peers that are known",
    "duplicate": "`web4 peer rm` the other one first, or choose another name",
    "unknown_human": "`web4 consent ls` lists the humans; `--new` has one on this node",
    "human_known": "leave out --name and --role: `web4 consent ls` says who it is; or choose another id",
    "unknown_check_in": "`web4 consent asked` lists the questions that wait",
    "unknown_fact_ref": "`web4 claim ls` lists the claims",
    "no_own_evidence": "name what this node saw itself, or what a human tells it: `--told TEXT`",
    "bundle": "ask for the bundle again; `web4 journal verify BUNDLE` names all that is wrong with it",
}


MOST_MESSAGE: Final = 2_000
"""Characters of a message: it names the wrong value, and need not repeat all of one that is very long."""


class Failure(NamedTuple):
    """An error as it is told."""

    code: str
    message: str
    hint: str | None
    context: dict[str, Any]
    exit: int

    def document(self) -> dict[str, Any]:
        """The `error` member of an answer."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "context": self.context}


def failure_of(error: BaseException) -> Failure:
    """What to tell of an error; of one that nobody expected, where the report of it is."""
    failure = _failure_of(error)
    if len(failure.message) > MOST_MESSAGE:
        return failure._replace(message=failure.message[:MOST_MESSAGE] + "…")
    return failure


def _failure_of(error: BaseException) -> Failure:
    match error:
        case Web4Error():
            return _expected(error)
        case OSError(strerror=str(reason)):
            if error.filename is None and not _stands_somewhere():
                reason = "the current directory is not there any more: change to another"
            where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
            return Failure("os", f"{where}{reason}", None, {}, _EXITS["os"])
        case _:
            report = _write_report(error)
            message = f"internal error ({type(error).__name__})"
            hint = f"please report it with {report}" if report else None
            return Failure("internal", message, hint, {"report": report}, exits.INTERNAL)


def _stands_somewhere() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _expected(error: Web4Error) -> Failure:
    # What a running node answered is told as if it had been found out here.
    name, code = getattr(error, "origin", (type(error).__name__, error.code or "usage"))
    context = {
        name: str(value) if name == "lane" else value
        for name in ("lane", "seq", "base_seq", "head", "owner", "field")
        if (value := getattr(error, name, None)) is not None
    }
    message = str(error.args[0]) if error.args else code
    hint = _HINTS.get(f"{name}.{code}", _HINTS.get(code))
    status = _EXITS.get(f"{name}.{code}", _EXITS.get(code, exits.USAGE))
    return Failure(code, message, hint, context, status)


def _write_report(error: BaseException) -> str | None:
    """Where things stood, without what was in them: texts of exceptions may quote data."""
    lines = []
    seen: BaseException | None = error
    while seen is not None:
        lines += [
            f"{type(seen).__module__}.{type(seen).__qualname__}\n",
            *traceback.format_tb(seen.__traceback__),
        ]
        if isinstance(seen, BaseExceptionGroup):
            for one in seen.exceptions:
                lines += [f"  {type(one).__qualname__}\n", *traceback.format_tb(one.__traceback__)]
        seen = seen.__cause__ or seen.__context__
    try:
        descriptor, path = tempfile.mkstemp(prefix="web4-report-", suffix=".txt")
        with os.fdopen(descriptor, "w") as file:
            file.writelines(lines)
    except OSError:
        return None
    return path
