"""Plants bugs in a copy of the core, one at a time, and asks the simulator to find each.

Run as `python -m scripts.mutants [name ...]`. The copy lies under `target/mutants`; the sources are not touched. Every
mutant must be found within `SEEDS` seeds, or this fails. Those in `NOT_FOUND` it need not find, and why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"
SEEDS = 1_000
STEPS = 600


@dataclass(frozen=True)
class Mutant:
    """One bug: in `file` of the RTT core, `old`, which is there once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    # The five that the issue names.
    Mutant(
        "ack_off_by_one",
        "writing/unnumbered.rs",
        "&Frame::Ack { cursor: self.cursor }",
        "&Frame::Ack { cursor: self.cursor.saturating_sub(1) }",
    ),
    Mutant(
        "resume_cursor_swapped",
        "resume.rs",
        "Ok(ResumeGrant { epoch: request.epoch, cursor: self.cursor, ticket: next_ticket })",
        "Ok(ResumeGrant { epoch: request.epoch, cursor: request.cursor, ticket: next_ticket })",
    ),
    Mutant("credit_leak", "inbound.rs", "self.consumed.0 += 1;", "self.consumed.0 += self.consumed.1 % 2;"),
    Mutant("duplicate_not_dropped", "reading.rs", "if seq <= self.cursor {", "if seq < self.cursor {"),
    Mutant(
        "ticket_reused",
        "resume.rs",
        "(resumption.ticket, resumption.next_ticket) = (resumed.ticket, None);",
        "if self.agreement.initiator { resumption.ticket = resumed.ticket; }",
    ),
    # What a hand may do wrong.
    Mutant(
        "epoch_not_above",
        "resume.rs",
        "if request.epoch <= resumption.latest_epoch {",
        "if request.epoch < resumption.latest_epoch {",
    ),
    Mutant(
        "next_ticket_proves_nothing",
        "resume.rs",
        "let proves_receipt = resumption.next_ticket == Some(request.ticket);",
        "let proves_receipt = false;",
    ),
    Mutant(
        "first_ticket_stays_good",
        "resume.rs",
        "            resumption.ticket = request.ticket;\n",
        "",
    ),
    Mutant("expired_is_granted", "resume.rs", "if self.timing.is_expired(now) {", "if false {"),
    Mutant(
        "old_carrier_not_fenced",
        "resume.rs",
        "        resumption.latest_epoch = request.epoch;\n        if self.state == State::Open {",
        "        resumption.latest_epoch = request.epoch;\n        if false {",
    ),
    Mutant(
        "old_request_ends_the_session",
        "resume.rs",
        "if !self.writing.resend.is_written(request.cursor) {",
        "if !self.writing.resend.is_sound(request.cursor) {",
    ),
    Mutant(
        "resend_from_the_second", "resend.rs", "        self.current = 0;\n", "        self.current = 1;\n"
    ),
    Mutant("nothing_sent_again", "writing.rs", "        self.resend.rewind();\n", ""),
    Mutant("credit_not_granted_anew", "writing.rs", "        self.credit_all = true;\n", ""),
    Mutant(
        "credit_before_open",
        "writing/unnumbered.rs",
        "if !self.writing.resend.is_behind() && !self.writing.credit_all {",
        "if true {",
    ),
    Mutant("partial_kept", "resume.rs", "        self.partial = Vec::new();\n", ""),
    Mutant(
        "unacked_kept",
        "writing.rs",
        "(self.credit_now, self.ping, self.unacked, self.ack) = (false, None, (0, 0), false);",
        "(self.credit_now, self.ping, self.ack) = (false, None, false);",
    ),
    Mutant(
        "reset_leaves_a_gap",
        "resend.rs",
        "return encode_numbered(out, seq, &Numbered::Reset { channel, code: Code::CANCELLED });",
        "return;",
    ),
    Mutant(
        "total_forgotten_when_sent_again",
        "resend.rs",
        "let total = (offset == 0).then_some(message.len() as u32);",
        "let total = Some(message.len() as u32);",
    ),
    Mutant(
        "acknowledges_one_more",
        "resend.rs",
        "if self.acknowledged >= cursor {",
        "if self.acknowledged > cursor {",
    ),
    Mutant(
        "acknowledging_moves_the_place",
        "resend.rs",
        "        self.current = self.current.saturating_sub(1);\n",
        "",
    ),
    Mutant(
        "replay_not_acknowledged",
        "reading.rs",
        "            self.writing.arrived(size);\n            self.timing.ack_within(now, &self.options);\n"
        "            return Ok(());",
        "            return Ok(());",
    ),
    Mutant(
        "resend_buffer_without_end",
        "writing.rs",
        "other + largest <= all - reserve && other + control + largest <= all",
        "true",
    ),
    Mutant(
        "no_reserve_for_control",
        "writing.rs",
        "Kind::Control => other + control + largest <= all,",
        "Kind::Control => other + control + largest <= all - reserve,",
    ),
    Mutant(
        "overrun_by_one",
        "outbound.rs",
        "|| (self.spent.0 < self.granted.0 &&",
        "|| (self.spent.0 <= self.granted.0 &&",
    ),
    Mutant(
        "started_evicted",
        "outbound.rs",
        "self.queue.remove(usize::from(self.started))",
        "self.queue.remove(0)",
    ),
    Mutant(
        "flush_too_early",
        "outbound.rs",
        "if oldest.is_some_and(|index| index < target) {",
        "if oldest.is_some_and(|index| index + 1 < target) {",
    ),
    Mutant("lost_marked_unsent", "outbound.rs", "position > 0 || !partly", "true"),
    Mutant(
        "in_flight_not_lost",
        "outbound.rs",
        "let lost: Vec<Unacknowledged> = in_flight\n            .chain(queued)",
        "drop(in_flight);\n        let lost: Vec<Unacknowledged> = queued",
    ),
    Mutant("waiters_out_of_turn", "outbound.rs", "if self.waiters.is_empty() && memory", "if memory"),
    Mutant("expiry_never", "resume.rs", "        self.timing.expire_at(now.saturating_add(window));\n", ""),
    Mutant(
        "suspended_forgets_its_end",
        "timing.rs",
        'self.suspend("heartbeat_timeout", now);',
        "self.carrier_lost(now);\n                self.events.push_back(Event::Suspended);",
    ),
    Mutant("peer_shutdown_still_resumes", "resume.rs", " && !self.peer_shutdown\n    }", "\n    }"),
)

NOT_FOUND = {
    "credit_before_open": "until all is sent again, only channels that the peer knows are listed for credit",
    "no_reserve_for_control": "it makes control wait and loses nothing: `rtt_resend_buffer_full` finds it",
    "unacked_kept": "the cursor that travelled with the resume is told once more",
}


def plant(mutant: Mutant) -> None:
    """Put a mutant into the copy; its file is made anew first."""
    source = (ROOT / "rust_core" / "src" / "rtt" / mutant.file).read_text()
    if source.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: what it replaces is {source.count(mutant.old)} times in {mutant.file}")
    (COPY / "rust_core" / "src" / "rtt" / mutant.file).write_text(source.replace(mutant.old, mutant.new))


def restore(mutant: Mutant) -> None:
    """Undo a mutant, with a new time, so that cargo builds the file again."""
    source = ROOT / "rust_core" / "src" / "rtt" / mutant.file
    (COPY / "rust_core" / "src" / "rtt" / mutant.file).write_text(source.read_text())


def copy_sources() -> None:
    """Bring the copy up to date; what cargo built there before stays."""
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, COPY / name)
    shutil.rmtree(COPY / "rust_core", ignore_errors=True)
    shutil.copytree(ROOT / "rust_core", COPY / "rust_core")


def simulate() -> tuple[bool, str]:
    """Whether the simulator found something, and what it said."""
    environment = {**os.environ, "WEB4_SIM_SEEDS": str(SEEDS), "WEB4_SIM_STEPS": str(STEPS)}
    environment["CARGO_TARGET_DIR"] = str(COPY / "target")
    command = [
        "cargo",
        "test",
        "--quiet",
        "--profile",
        "fuzz",
        "--test",
        "sim",
        "rtt_sim",
        "--",
        "--exact",
        "--nocapture",
    ]
    try:
        done = subprocess.run(
            command, cwd=COPY, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    except subprocess.TimeoutExpired:
        return True, "it never ended"
    output = done.stdout + done.stderr
    if "could not compile" in output:
        sys.exit(output)
    said = re.search(r"^seed .*$|^thread .*panicked.*\n.*$", output, re.MULTILINE)
    return done.returncode != 0, said.group()[:160] if said else ""


def main() -> None:
    """Try every mutant, or those that are named."""
    wanted = sys.argv[1:]
    copy_sources()
    survivors = []
    for mutant in MUTANTS:
        if wanted and mutant.name not in wanted:
            continue
        plant(mutant)
        found, said = simulate()
        restore(mutant)
        print(f"{mutant.name}: {'found' if found else 'NOT FOUND'} {said}", flush=True)
        if not found and mutant.name not in NOT_FOUND:
            survivors.append(mutant.name)
    if survivors:
        sys.exit(f"survived {SEEDS} seeds: {', '.join(survivors)}")


if __name__ == "__main__":
    main()
