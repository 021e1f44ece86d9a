"""Every type of event there is, as data: its group, and the fields of its payload (OBS-1, OBS-2).

A row reads `type | field:kind …`. A kind is a JSON type, or what may not be seen by default: `content` (shown as a
digest), `human` (a person's state, OBS-5). A field that has no row is never shown.
"""

# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

FieldKind = Literal["string", "integer", "number", "boolean", "list", "object", "any", "content", "human"]
"""`list` is one of strings, numbers or objects; `object` and `any` hold what their emitter is trusted with."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_TRANSPORT: Final = """
session_open        | initiator:boolean
session_suspend     | reason:string failure:string epoch:integer
session_resume      | epoch:integer
session_close       | reason:string code:string
session_lost        | reason:string count:integer
heartbeat_timeout   |
rekey               | epoch:integer
channel_open        | channel:integer kind:string
channel_close       | channel:integer
backpressure        | channel:integer kind:string dropped:integer
replay_detected     | where:string status:string digest:string error:string code:string field:string type:string
auth_failure        | address:string code:string error:string field:string digest:string type:string
carrier_failed      | address:string code:string
transport_fallback  | address:string following:string why:string
"""
_HANDSHAKE: Final = """
handshake_started   | role:string reason:string retry_after_ms:integer detail:string
handshake_step      | role:string reason:string retry_after_ms:integer detail:string
handshake_completed | role:string reason:string retry_after_ms:integer detail:string
handshake_deferred  | role:string reason:string retry_after_ms:integer detail:string
handshake_failed    | role:string reason:string retry_after_ms:integer detail:string
"""
_TRUST_FIELDS: Final = (
    "seq:integer from:string to:string event:string reason:string actor:string at_ms:integer evidence:list "
    "cooldown_until_ms:integer demotions:integer unverifiable_at_ms:list grave_conflicts:integer introducer:string"
)
_TRUST: Final = f"""
trust_transition    | {_TRUST_FIELDS}
trust_introduced    | {_TRUST_FIELDS}
trust_override      | {_TRUST_FIELDS}
"""
_ENVELOPES: Final = """
envelope_queued     | type:string size:integer
envelope_sent       | type:string digest:string attempt:integer
envelope_received   | type:string digest:string admission:string
envelope_rejected   | error:string code:string field:string type:string digest:string dropped:integer where:string
envelope_routed     | type:string status:string handlers:integer admission:string transition:string
envelope_unhandled  | type:string reason:string
envelope_concluded  | type:string outcome:string code:string reason:string
"""
_AGENT: Final = """
state_update        | presence:string lri:integer kernel_signals:list
intent_accepted     | reason:content
intent_deferred     | reason:content retry_after_ms:integer
loop_state          | lane:string from:string
phase               | from:string phase:string threshold:string hook:string point:string annotation:content
hook_veto           | hook:string point:string reason:content
mission_drift       | level:string score:number baseline:number window:integer top_contributors:list kind:string topic:content
task_cancelled      | reason:string kind:string
"""
_KNOWLEDGE: Final = """
claim_pending       | key:string was:string kind:string reason:string rule:string mode:string independent:any check:string references:list decision_id:string cause:string
claim_vote          | key:string was:string kind:string reason:string rule:string mode:string independent:any check:string references:list decision_id:string cause:string
claim_accepted      | key:string was:string kind:string reason:string rule:string mode:string independent:any check:string references:list decision_id:string cause:string
claim_disputed      | key:string was:string kind:string reason:string rule:string mode:string independent:any check:string references:list decision_id:string cause:string
claim_rejected      | key:string was:string kind:string reason:string rule:string mode:string independent:any check:string references:list decision_id:string cause:string
tier_changed        | domain:string was:string rule:string because:string
fetch_requested     | fetch_id:string constraints:any kind:string exception:string
fetch_concluded     | fetch_id:string outcome:string code:string status:integer body_bytes:integer body_blake3:string exceptions:list elapsed_ms:integer
"""
_HUMAN: Final = """
consent_changed     | human:string from:string to:string scope:list actor:string door:string
gate_result         | human:string result:string reason:string retry_after_ms:integer type:string
check_in_asked      | human:string check_in:string question:content deadline_ms:integer
check_in_answered   | human:string check_in:string answer:string
"""
_MESH: Final = """
mesh_routed         | id:string type:string origin:string destination:string hops:integer next:string
mesh_dropped        | id:string type:string origin:string destination:string reason:string count:integer hops:integer error:string code:string field:string digest:string
peer_added          | source:string addresses:list
peer_removed        | source:string reason:string
topology_changed    | nodes:integer edges:integer reason:string change:string link:any neighbours:any peers:any subject:string
address_refused     | address:string introducer:string code:string retry_after_ms:integer
route_changed       | destination:string next:string previous:string cost:number hops:any path:list reason:string
service_invoked     | service:string version:string status:string code:string elapsed_ms:integer
"""
_NODE: Final = """
error               | where:string error:string code:string hook:string dropped:integer type:string detail:string kind:string reason:string
metrics             | figures:object kind:string limit:any
sink_lag            | sink:string lost:integer first_seq:integer last_seq:integer reason:string
journal_opened      | backend:string durability:string boot:any
journal_suspended   | reason:string
journal_resumed     | retries:integer suspended_ms:integer
journal_failed      | reason:string
own_event_refused   | event:string reason:string
lane_halted         | reason:string
snapshot_failed     | reason:string
snapshot_passed_over | reason:string
recovery_finished   | lanes_halted:integer unfinished:object
recovery_skipped    |
actor_crashed       | actor:string reason:string
actor_replaced      | reason:string
command_refused     | reason:string
effect_failed       | effect_id:string reason:string
effect_abandoned    | effect_id:string
node_started        | version:string fingerprint:string
node_stopping       | reason:string
"""
_EXTENSIONS: Final = """
extension_generation     | extension:string generation:integer digest:string
extension_pool_failed    | extension:string generation:integer error:string
extension_reload_failed  | extension:string generation:integer reason:string
extension_task_failed    | error:string
extension_unrecorded     | extension:string change:string code:string
worker_started           | extension:string generation:integer worker_id:string pid:integer start_ms:number warm:boolean protections:any
worker_exited            | extension:string worker_id:string reason:string exit_status:integer signal:any calls:integer cpu_ms:number oom:boolean peak_memory_bytes:integer
worker_discarded_frame   | extension:string worker_id:string frame:string discarded:integer
worker_leftovers         | worker_id:string reason:string
worker_leftovers_removed | directories:integer groups:integer runs:integer
worker_template_started  | pid:integer failed:any
worker_template_exited   | pause_ms:number reason:string
"""
_GROUPS: Final = {
    "transport": _TRANSPORT,
    "handshake": _HANDSHAKE,
    "trust": _TRUST,
    "envelopes": _ENVELOPES,
    "agent": _AGENT,
    "knowledge": _KNOWLEDGE,
    "human": _HUMAN,
    "mesh": _MESH,
    "node": _NODE,
    "extensions": _EXTENSIONS,
}


@dataclass(frozen=True, slots=True)
class EventKind:
    """One type of event.

    Args:
        name: The event's `type`.
        group: What it is about.
        fields: The fields that its payload may have, and what each is. Any of them may be absent.
    """

    name: str
    group: str
    fields: Mapping[str, FieldKind]


def _kinds() -> dict[str, EventKind]:
    kinds: dict[str, EventKind] = {}
    for group, table in _GROUPS.items():
        for row in table.strip().splitlines():
            name, _, columns = row.partition("|")
            pairs = [column.partition(":")[::2] for column in columns.split()]
            odd = [kind for _, kind in pairs if kind not in get_args(FieldKind)]
            if odd or name.strip() in kinds:
                raise TypeError(f"{name.strip()} is declared twice, or has a field of no kind: {odd}")
            fields = {field: cast("FieldKind", kind) for field, kind in pairs}
            kinds[name.strip()] = EventKind(name.strip(), group, fields)
    return kinds


KINDS: Final[dict[str, EventKind]] = _kinds()
"""Every type of event, by its name."""

_STRING: Final = {"type": "string"}
_DIGEST: Final = {
    "type": "object",
    "properties": {
        "blake3": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "length": {"type": "integer", "minimum": 0},
    },
    "required": ["blake3", "length"],
    "additionalProperties": False,
}
_FIELD_SCHEMAS: Final[dict[FieldKind, dict[str, Any]]] = {
    "string": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "any": {},
    "content": {
        "anyOf": [_DIGEST, {"type": "string"}, {"type": "null"}],
        "description": "A digest, unless contents are shown.",
    },
    "human": {
        "description": "A person's state: absent unless it is shown.",
        "type": ["string", "integer", "null"],
    },
}
_COMMON: Final[dict[str, Any]] = {
    "v": {"const": "1.0"},
    "seq": {"type": "integer", "minimum": 1, "description": "Per node, without gaps."},
    "event_id": {"type": "string", "format": "uuid"},
    "ts": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", "description": "UTC."},
    "mono_ns": {"type": "integer", "description": "The node's monotonic clock, in nanoseconds."},
    "node": _STRING,
    "severity": {"enum": ["debug", "info", "warning", "error"]},
    "lane": _STRING,
    "lane_seq": {"type": "integer"},
    "peer": {**_STRING, "description": "Fingerprint."},
    "session_id": _STRING,
    "protocol": _STRING,
    "msg_id": _STRING,
    "corr_id": _STRING,
    "task_id": _STRING,
    "state": _STRING,
}
_REQUIRED: Final = ["v", "seq", "event_id", "type", "ts", "mono_ns", "node", "severity"]


def event_schema(kind: EventKind) -> dict[str, Any]:
    """The JSON Schema of one type of event, as every sink gets it (OBS-1)."""
    payload = {
        "type": "object",
        "properties": {name: _FIELD_SCHEMAS[one] for name, one in kind.fields.items()},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": kind.name,
        "type": "object",
        "properties": {**_COMMON, "type": {"const": kind.name}, "payload": payload},
        "required": _REQUIRED,
        "additionalProperties": False,
    }


def event_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of every type of event, by its name."""
    return {name: event_schema(kind) for name, kind in KINDS.items()}
