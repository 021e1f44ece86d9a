#!/bin/bash
# Every kind and every hook point in shell, with od, head and awk: the worker protocol of Web4, version 1.
#
# It shows that any language will do, not that this one is a good choice: each frame costs three processes. A shell
# holds no zero bytes, so frames live here as text: bytes come in as the decimals of od, and go out as the octal
# escapes of printf. docs/reference/worker-protocol.md says what the frames mean.

set -u
LC_ALL=C
node=${WEB4_WORKER_FD:?a node starts this program}
points="input before_agent_start run_start turn_start turn_end run_end tool_call tool_result session_before_switch
session_before_fork before_perceive after_state before_decide after_decide before_exchange after_exchange after_memory"
draining=

die() {
    echo "everything: $1" >&2
    exit 2
}

# --- reading -----------------------------------------------------------------------------------------------------

# Flattens one map of msgpack: a line per value, `path kind number =bytes text`. The number is an integer's value, or
# how many bytes a text has; the bytes are escapes: a text's own, of other values the whole encoding; the text is
# there if it is a plain word. A list or map is its entries.
flatten='
function byte() {
    while (at >= NF) { if ((getline) <= 0) { print "!"; exit 1 }; at = 0 }
    b = $(++at); raw = raw sprintf("\\0%03o", b); return b
}
function number(width,   value) { value = 0; while (width--) value = value * 256 + byte(); return value }
function tell(path, kind, value) { print path, kind, value, "=" raw }
function string(path, kind, size,   text) {
    printf "%s %s %d =", path, kind, size
    text = ""
    while (size--) {
        raw = ""; byte(); printf "%s", raw
        if (length(text) < 65) text = text sprintf("%c", b < 32 || b > 126 ? 32 : b)
    }
    print "", text ~ /^[A-Za-z0-9_.:-]+$/ && length(text) < 65 ? text : "-"
}
function list(path, size, depth,   i) { for (i = 0; i < size; i++) value(path "." i, depth + 1) }
function map(path, size, depth,   key) {
    while (size--) {
        raw = ""; key = key_text(byte())
        gsub(/[^A-Za-z0-9_]/, "?", key); value(path (path == "" ? "" : ".") key, depth + 1)
    }
}
function key_text(tag,   size, text) {
    if (tag >= 160 && tag < 192) size = tag - 160
    else if (tag >= 217 && tag < 220) size = number(2 ^ (tag - 217))
    else { print "!"; exit 1 }
    text = ""
    while (size--) { raw = ""; text = text sprintf("%c", byte()) }
    return text
}
function value(path, depth,   tag) {
    if (depth > 60) { print "!"; exit 1 }
    raw = ""; tag = byte()
    if (tag < 128) tell(path, "i", tag)
    else if (tag < 144) map(path, tag - 128, depth)
    else if (tag < 160) list(path, tag - 144, depth)
    else if (tag < 192) string(path, "s", tag - 160)
    else if (tag == 192) tell(path, "n", 0)
    else if (tag == 194 || tag == 195) tell(path, "b", tag - 194)
    else if (tag >= 196 && tag < 199) string(path, "d", number(2 ^ (tag - 196)))
    else if (tag == 202 || tag == 203) { number(4 * (tag - 201)); tell(path, "f", 0) }
    else if (tag >= 204 && tag < 208) tell(path, "i", number(2 ^ (tag - 204)))
    else if (tag >= 208 && tag < 212) tell(path, "i", number(2 ^ (tag - 208)))
    else if (tag >= 217 && tag < 220) string(path, "s", number(2 ^ (tag - 217)))
    else if (tag == 220 || tag == 221) list(path, number(2 * (tag - 219)), depth)
    else if (tag == 222 || tag == 223) map(path, number(2 * (tag - 221)), depth)
    else if (tag >= 224) tell(path, "i", tag - 256)
    else { print "!"; exit 1 }
}
BEGIN {
    getline; at = 0; first = $1
    if (!((first >= 128 && first < 144) || first == 222 || first == 223)) { print "!"; exit 1 }
    value("", 0); print "end"
}'

declare -A kinds numbers values words

# The next frame, flattened into these maps by path. The end of the socket ends the program.
next_frame() {
    local a b c d length flat path kind number bytes text
    read -r a b c d < <(head -c 4 <&"$node" | od -An -v -tu1)
    [ -n "${d:-}" ] || exit 0
    length=$((a << 24 | b << 16 | c << 8 | d))
    [ "$length" -gt 0 ] && [ "$length" -le 4194304 ] || die "a frame of $length bytes"
    flat=$(head -c "$length" <&"$node" | od -An -v -tu1 -w4096 | awk "$flatten")
    kinds=() numbers=() values=() words=()
    path=
    while read -r path kind number bytes text; do
        [ -n "$kind" ] || break
        kinds[$path]=$kind numbers[$path]=$number values[$path]=${bytes#=} words[$path]=$text
    done <<< "$flat"
    [ "$path" = end ] || die "what came is no frame"
}

# Find the value at a path of the frame: sets kind, number, text and bytes.
find_value() {
    kind=${kinds[$1]-} number=${numbers[$1]-0} bytes=${values[$1]-} text=${words[$1]-}
    [ -n "$kind" ]
}

# Whether the text at a path is this word.
is() { [ "${words[$1]-}" = "$2" ]; }

# --- writing -----------------------------------------------------------------------------------------------------

big_endian() { # value, bytes: as escapes, in $escapes
    local value=$1 width=$2
    escapes=
    while [ "$width" -gt 0 ]; do
        width=$((width - 1))
        printf -v escapes '%s\\0%03o' "$escapes" $((value >> (8 * width) & 255))
    done
}

put_escapes() { out+=$1 used=$((used + ${#1} / 5)); }
put_map() { put_escapes "\\0$((200 + $1))"; }                     # up to seven entries
put_array() { big_endian "$1" 2; put_escapes "\\0334$escapes"; }
put_nil() { put_escapes '\0300'; }
put_bool() { put_escapes "\\0$([ "$1" = 1 ] && echo 303 || echo 302)"; }
put_integer() { big_endian "$1" 4; put_escapes "\\0316$escapes"; }
put_bytes() { big_endian "$1" 4; put_escapes "\\0333$escapes$2"; } # how many, and as escapes
put_text() {
    local rest=$1 text=
    while [ -n "$rest" ]; do
        printf -v text '%s\\0%03o' "$text" "'$rest"
        rest=${rest#?}
    done
    put_bytes $((${#text} / 5)) "$text"
}
put_key() { put_text "$1"; put_text "$2"; }
# The value at a path of the frame, as it came; nil if there is none.
put_value() {
    local kind number text bytes
    if ! find_value "$1"; then put_nil
    elif [ "$kind" = s ]; then put_bytes "$number" "$bytes"
    else put_escapes "$bytes"; fi
}

begin() { out= used=0; put_map "$1"; put_key t "$2"; }
begin_for() { begin "$1" "$2"; put_text id; put_escapes "$id"; }
begin_result() { begin_for 3 result; put_text value; }
send() {
    big_endian "$used" 4
    printf %b "$escapes$out" >&"$node" || exit 0
}

answer_error() { # code, message, retryable
    begin_for 6 error
    put_key code "$1"
    put_key message "$2"
    put_text retryable
    put_bool "$3"
    put_text side_effects
    put_bool 0
    send
}

# --- frames ------------------------------------------------------------------------------------------------------

# What a frame means whoever reads it. It succeeds if the frame cancels the open call.
common() {
    case ${words[t]-} in
        ping) begin 2 pong; put_text nonce; put_value nonce; send ;;
        drain) draining=1 ;;
        cancel) is id "$id_word" && return 0 ;;
    esac
    return 1
}

# Read until the answer has come that $1 names by its type and $2, $3 by its id. It fails if the call is cancelled.
await_answer() {
    while :; do
        next_frame
        if is t "$1" && is "$2" "$3"; then return 0; fi
        if common; then return 1; fi
    done
}

cancelled() { answer_error cancelled "it was cancelled" 0; }

# --- what it offers ----------------------------------------------------------------------------------------------

tool_echo() {
    local kind number text bytes
    find_value arguments.text
    if [ "$kind" != s ]; then answer_error arguments "text is no text" 0; return; fi
    begin_result; put_map 1; put_text text; put_bytes "$number" "$bytes"; send
}

tool_count() {
    local kind number text bytes i
    find_value arguments.count
    for ((i = 0; i < number; i++)); do begin_for 3 progress; put_text data; put_integer "$i"; send; done
    begin_result; put_integer "$number"; send
}

tool_wait() {
    begin_for 3 progress; put_key message working; send
    until next_frame && common; do :; done
    cancelled
}

tool_ask() {
    begin_for 5 ui_request
    put_key request_id ask-1; put_key method confirm
    put_text fields; put_map 1; put_text title; put_value arguments.question
    send
    if ! await_answer ui_answer request_id ask-1; then cancelled; return; fi
    begin_result; put_map 2; put_text outcome; put_value outcome; put_text value; put_value value; send
}

command_status() {
    begin 3 log; put_key level info; put_key message "asked for its status"; send
    begin_result; put_map 1; put_key language shell; send
}

service_greet() {
    local kind number text bytes
    find_value arguments.name
    begin_result; put_bytes $((7 + number)) '\0110\0145\0154\0154\0157\0054\0040'"$bytes"; send
}

workload_tokens() {
    local i
    for i in 1 2 3; do
        begin_for 4 emit; put_key event_type token_delta; put_text payload; put_map 1; put_key text "$i"; send
    done
    begin_for 4 intent; put_key intent_id intent-1; put_text intent; put_map 1; put_key type note; send
    if ! await_answer intent_answer intent_id intent-1; then cancelled; return; fi
    local kind number text bytes
    find_value ok
    begin_result; put_map 1; put_text accepted; put_bool "$number"; send
}

rule_shouting() {
    local kind number text bytes
    find_value arguments.turn.text
    begin_result
    case $bytes in
        *'\0041') put_array 1; put_map 2; put_key code shouting; put_key message "there is no need to shout" ;;
        *) put_array 0 ;;
    esac
    send
}

act() { # action, and perhaps a key and its text
    if [ $# -eq 1 ]; then put_map 1; put_key action "$1"; else put_map 2; put_key action "$1"; put_key "$2" "$3"; fi
}

hook() {
    begin_result
    case $1/${words[arguments.text]-}${words[arguments.tool]-}${words[arguments.target]-}${words[arguments.leaf]-} in
        input/ping) act handled text pong ;;
        input/teh) act text text the ;;
        tool_call/rm) act block reason "nothing is removed here" ;;
        tool_call/ls) put_map 2; put_key action rewrite; put_text arguments; put_map 1; put_key path . ;;
        tool_call/*) act allow ;;
        tool_result/*) if is arguments.result secret; then act result result withheld; else put_nil; fi ;;
        session_before_*/locked) act cancel reason "it is locked" ;;
        before_agent_start/* | input/* | run_* | turn_* | session_*) put_nil ;;
        *) # the points of the agent loop
            if is arguments.task forbidden; then act veto reason "it is forbidden"
            else
                put_map 2; put_key action annotate
                put_text annotation; put_map 1; put_text seen; put_value arguments.task
            fi ;;
    esac
    send
}

serve_call() {
    local name
    id_word=${words[id]-}
    out= used=0; put_value id; id=$out # as it is written in each frame about this call
    name=${words[name]-}
    case ${words[kind]-}/$name in
        tool/echo) tool_echo ;;
        tool/count) tool_count ;;
        tool/wait) tool_wait ;;
        tool/ask) tool_ask ;;
        tool/fail) answer_error broken "it is broken" 1 ;;
        command/status) command_status ;;
        service/greet) service_greet ;;
        workload/tokens) workload_tokens ;;
        rule/shouting) rule_shouting ;;
        hook/*) hook "$name" ;;
        *) answer_error unknown_operation "there is nothing of this name" 0 ;;
    esac
    id_word=
}

put_names() {
    put_array $#
    while [ $# -gt 0 ]; do put_text "$1"; shift; done
}

id_word=
next_frame
{ is t hello && find_value protocol && [ "$number" = 1 ]; } || die "the node speaks another protocol"
begin 6 ready
put_text protocol; put_integer 1
put_key sdk shell
put_text tools; put_names echo count wait ask fail
put_text commands; put_names status
put_text hooks
# shellcheck disable=SC2086 - they are words
put_names $points
send
while [ -z "$draining" ]; do
    next_frame
    if is t call; then serve_call; else common || true; fi
done
exit 0
