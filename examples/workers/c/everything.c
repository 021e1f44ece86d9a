/* Every kind and every hook point in C, with nothing but libc: the worker protocol of Web4, version 1.
 *
 *   cc -O2 -Wall -Wextra -o everything everything.c
 *
 * A frame is a length of four bytes, big-endian, and one map of msgpack. This file reads msgpack where it lies: a
 * `view` points at one value, `find` steps into a map, `skip` over a value. Whatever it does not expect it skips,
 * so keys that a later node sends do no harm. docs/reference/worker-protocol.md says what the frames mean. */

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME_LIMIT = 4 * 1024 * 1024, DEPTH_LIMIT = 64, TEXT = 512 };

static int node = -1; /* the socket */
static int draining;

static void die(const char *why) {
    fprintf(stderr, "everything: %s\n", why);
    exit(2);
}

/* --- reading msgpack ------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
} view;

enum kind { NIL, FALSE_, TRUE_, INTEGER, FLOAT, STRING, BINARY, ARRAY, MAP };

typedef struct {
    enum kind kind;
    uint64_t size;        /* bytes of a string, entries of an array or map, or the integer itself */
    const uint8_t *bytes; /* where the string, or the first entry, begins */
} item;

static uint64_t big_endian(view *from, int width) {
    uint64_t value = 0;
    if (from->end - from->at < width) die("a frame ends within a value");
    while (width--) value = value << 8 | *from->at++;
    return value;
}

/* The head of the value at `from`, which moves behind it: behind the whole value, but for arrays and maps. */
static item head(view *from) {
    item it = {NIL, 0, NULL};
    uint8_t tag = (uint8_t)big_endian(from, 1);
    if (tag <= 0x7f || tag >= 0xe0) {
        it.kind = INTEGER;
        it.size = (uint64_t)(int64_t)(int8_t)tag;
    } else if (tag <= 0x8f) {
        it.kind = MAP;
        it.size = tag & 0x0f;
    } else if (tag <= 0x9f) {
        it.kind = ARRAY;
        it.size = tag & 0x0f;
    } else if (tag <= 0xbf) {
        it.kind = STRING;
        it.size = tag & 0x1f;
    } else switch (tag) {
        case 0xc0: break;
        case 0xc2: it.kind = FALSE_; break;
        case 0xc3: it.kind = TRUE_; break;
        case 0xc4: case 0xc5: case 0xc6: it.kind = BINARY; it.size = big_endian(from, 1 << (tag - 0xc4)); break;
        case 0xca: case 0xcb: it.kind = FLOAT; it.size = big_endian(from, 4 << (tag - 0xca)); break;
        case 0xcc: case 0xcd: case 0xce: case 0xcf:
            it.kind = INTEGER; it.size = big_endian(from, 1 << (tag - 0xcc)); break;
        case 0xd0: case 0xd1: case 0xd2: case 0xd3:
            it.kind = INTEGER; it.size = big_endian(from, 1 << (tag - 0xd0)); break;
        case 0xd9: case 0xda: case 0xdb: it.kind = STRING; it.size = big_endian(from, 1 << (tag - 0xd9)); break;
        case 0xdc: case 0xdd: it.kind = ARRAY; it.size = big_endian(from, 2 << (tag - 0xdc)); break;
        case 0xde: case 0xdf: it.kind = MAP; it.size = big_endian(from, 2 << (tag - 0xde)); break;
        default: die("an extension type, which the protocol refuses");
    }
    it.bytes = from->at;
    if (it.kind == STRING || it.kind == BINARY) {
        if ((uint64_t)(from->end - from->at) < it.size) die("a frame ends within a text");
        from->at += it.size;
    }
    return it;
}

static void skip(view *from, int depth) {
    item it = head(from);
    if (depth > DEPTH_LIMIT) die("a frame nests too deeply");
    uint64_t inner = it.kind == ARRAY ? it.size : it.kind == MAP ? 2 * it.size : 0;
    while (inner--) skip(from, depth + 1);
}

/* The value of `key` in the map at `map`; an empty view if it is no map or has no such key. */
static view find(view map, const char *key) {
    view nothing = {NULL, NULL};
    if (map.at == NULL) return nothing;
    item it = head(&map);
    if (it.kind != MAP) return nothing;
    while (it.size--) {
        item name = head(&map);
        if (name.kind != STRING) die("a key is no text");
        if (name.size == strlen(key) && memcmp(name.bytes, key, name.size) == 0) return map;
        skip(&map, 0);
    }
    return nothing;
}

static int is(view value, const char *text) {
    if (value.at == NULL) return 0;
    item it = head(&value);
    return it.kind == STRING && it.size == strlen(text) && memcmp(it.bytes, text, it.size) == 0;
}

static int is_true(view value) { return value.at != NULL && head(&value).kind == TRUE_; }

/* A short text, to keep beyond its frame. */
static void keep(view value, char into[TEXT]) {
    into[0] = '\0';
    if (value.at == NULL) return;
    item it = head(&value);
    if (it.kind != STRING || it.size >= TEXT) die("an id is no text, or too long");
    memcpy(into, it.bytes, it.size);
    into[it.size] = '\0';
}

/* --- writing msgpack ------------------------------------------------------------------------------------------- */

static uint8_t *out;
static size_t used, room;

static void put(const void *data, size_t size) {
    if (used + size > room) {
        room = 2 * (used + size);
        out = realloc(out, room);
        if (out == NULL) die("out of memory");
    }
    if (size) memcpy(out + used, data, size);
    used += size;
}

static void put_number(uint8_t tag, uint64_t value, int width) {
    put(&tag, 1);
    while (width--) {
        uint8_t byte = (uint8_t)(value >> (8 * width));
        put(&byte, 1);
    }
}

static void put_map(uint32_t entries) { put_number(0xdf, entries, 4); }
static void put_array(uint32_t entries) { put_number(0xdd, entries, 4); }
static void put_nil(void) { put("\xc0", 1); }
static void put_bool(int value) { put(value ? "\xc3" : "\xc2", 1); }
static void put_integer(int64_t value) { put_number(0xd3, (uint64_t)value, 8); }
static void put_text_of(const void *text, size_t size) {
    put_number(0xdb, size, 4);
    put(text, size);
}
static void put_text(const char *text) { put_text_of(text, strlen(text)); }
static void put_key(const char *key, const char *text) {
    put_text(key);
    put_text(text);
}
/* A value of the node's, as it came. */
static void put_view(view value) {
    view end = value;
    if (value.at == NULL) return put_nil();
    skip(&end, 0);
    put(value.at, (size_t)(end.at - value.at));
}

/* A frame begins: its length is filled in when it is sent. */
static void begin(uint32_t entries, const char *type) {
    used = 0;
    put("\0\0\0\0", 4);
    put_map(entries);
    put_key("t", type);
}

static void begin_for(uint32_t entries, const char *type, const char *id) {
    begin(entries, type);
    put_key("id", id);
}

static void send_frame(void) {
    size_t length = used - 4, sent = 0;
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(length >> (8 * (3 - i)));
    while (sent < used) {
        ssize_t count = write(node, out + sent, used - sent);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) exit(0); /* nobody reads any more */
        sent += (size_t)count;
    }
}

/* --- frames ---------------------------------------------------------------------------------------------------- */

static void read_exactly(uint8_t *into, size_t size) {
    while (size) {
        ssize_t count = read(node, into, size);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) exit(0); /* the node has gone */
        into += count;
        size -= (size_t)count;
    }
}

/* The next frame, in a buffer of its own: calls are few, and a frame may be needed while another is read. */
static view next_frame(uint8_t **buffer) {
    uint8_t length_bytes[4];
    read_exactly(length_bytes, 4);
    view of_length = {length_bytes, length_bytes + 4};
    uint64_t length = big_endian(&of_length, 4);
    if (length == 0 || length > FRAME_LIMIT) die("a frame of no length, or over the limit");
    *buffer = malloc(length);
    if (*buffer == NULL) die("out of memory");
    read_exactly(*buffer, length);
    view frame = {*buffer, *buffer + length}, look = frame;
    if (head(&look).kind != MAP) die("a frame that is no map");
    return frame;
}

static void answer_error(const char *id, const char *code, const char *message, int retryable) {
    begin_for(6, "error", id);
    put_key("code", code);
    put_key("message", message);
    put_text("retryable");
    put_bool(retryable);
    put_text("side_effects");
    put_bool(0);
    send_frame();
}

/* Begin the answer whose value is put next. */
static void begin_result(const char *id) {
    begin_for(3, "result", id);
    put_text("value");
}

/* What a frame means whoever reads it. 1: it cancels the call `id`. */
static int common(view frame, const char *id) {
    view type = find(frame, "t");
    if (is(type, "ping")) {
        begin(2, "pong");
        put_text("nonce");
        put_view(find(frame, "nonce"));
        send_frame();
    } else if (is(type, "drain")) {
        draining = 1;
    } else if (is(type, "cancel")) {
        return id != NULL && is(find(frame, "id"), id);
    } else if (is(type, "call")) {
        char other[TEXT];
        keep(find(frame, "id"), other);
        answer_error(other, "busy", "one call at a time", 1);
    }
    return 0; /* an answer that nobody waits for any more, or something of a later node's */
}

/* Wait for the answer whose `key` is `asked`. NULL when the call is cancelled; else free the buffer afterwards. */
static uint8_t *await_answer(const char *id, const char *type, const char *key, const char *asked, view *answer) {
    for (;;) {
        uint8_t *buffer;
        *answer = next_frame(&buffer);
        if (is(find(*answer, "t"), type) && is(find(*answer, key), asked)) return buffer;
        int cancelled = common(*answer, id);
        free(buffer);
        if (cancelled) return NULL;
    }
}

/* --- what it offers -------------------------------------------------------------------------------------------- */

static void cancelled(const char *id) { answer_error(id, "cancelled", "it was cancelled", 0); }

static void tool_echo(const char *id, view arguments) {
    view text = find(arguments, "text");
    view look = text;
    if (text.at == NULL || head(&look).kind != STRING) {
        answer_error(id, "arguments", "text is no text", 0);
        return;
    }
    begin_result(id);
    put_map(1);
    put_text("text");
    put_view(text);
    send_frame();
}

static void tool_count(const char *id, view arguments) {
    view number = find(arguments, "count");
    int64_t count = number.at == NULL ? 0 : (int64_t)head(&number).size;
    for (int64_t i = 0; i < count; i++) {
        begin_for(3, "progress", id);
        put_text("data");
        put_integer(i);
        send_frame();
    }
    begin_result(id);
    put_integer(count);
    send_frame();
}

static void tool_wait(const char *id) {
    begin_for(3, "progress", id);
    put_key("message", "working");
    send_frame();
    for (;;) { /* a real tool works here, and looks at the socket now and then */
        struct pollfd look = {node, POLLIN, 0};
        if (poll(&look, 1, 10) <= 0) continue;
        uint8_t *buffer;
        int stop = common(next_frame(&buffer), id);
        free(buffer);
        if (stop) break;
    }
    cancelled(id);
}

static void tool_ask(const char *id, view arguments) {
    begin_for(5, "ui_request", id);
    put_key("request_id", "ask-1");
    put_key("method", "confirm");
    put_text("fields");
    put_map(1);
    put_text("title");
    put_view(find(arguments, "question"));
    send_frame();
    view answer;
    uint8_t *buffer = await_answer(id, "ui_answer", "request_id", "ask-1", &answer);
    if (buffer == NULL) {
        cancelled(id);
        return;
    }
    begin_result(id);
    put_map(2);
    put_text("outcome");
    put_view(find(answer, "outcome"));
    put_text("value");
    put_view(find(answer, "value"));
    send_frame();
    free(buffer);
}

static void command_status(const char *id) {
    begin(3, "log");
    put_key("level", "info");
    put_key("message", "asked for its status");
    send_frame();
    begin_result(id);
    put_map(1);
    put_key("language", "c");
    send_frame();
}

static void service_greet(const char *id, view arguments) {
    view name = find(arguments, "name");
    item it = {STRING, 0, NULL};
    if (name.at != NULL) it = head(&name);
    begin_result(id);
    put_number(0xdb, 7 + it.size, 4);
    put("Hello, ", 7);
    put(it.bytes, it.size);
    send_frame();
}

static void workload_count(const char *id) {
    for (int i = 1; i <= 3; i++) {
        char digit[2] = {(char)('0' + i), '\0'};
        begin_for(4, "emit", id);
        put_key("event_type", "token_delta");
        put_text("payload");
        put_map(1);
        put_key("text", digit);
        send_frame();
    }
    begin_for(4, "intent", id);
    put_key("intent_id", "intent-1");
    put_text("intent");
    put_map(1);
    put_key("type", "note");
    send_frame();
    view answer;
    uint8_t *buffer = await_answer(id, "intent_answer", "intent_id", "intent-1", &answer);
    if (buffer == NULL) {
        cancelled(id);
        return;
    }
    begin_result(id);
    put_map(1);
    put_text("accepted");
    put_bool(is_true(find(answer, "ok")));
    send_frame();
    free(buffer);
}

static void rule_shouting(const char *id, view arguments) {
    view text = find(find(arguments, "turn"), "text");
    item it = {NIL, 0, NULL};
    if (text.at != NULL) it = head(&text);
    int shouts = it.kind == STRING && it.size > 0 && it.bytes[it.size - 1] == '!';
    begin_result(id);
    put_array(shouts ? 1 : 0);
    if (shouts) {
        put_map(2);
        put_key("code", "shouting");
        put_key("message", "there is no need to shout");
    }
    send_frame();
}

/* A hook's answer: `action`, and perhaps one thing more. */
static void act(const char *action, const char *key, const char *text) {
    put_map(key == NULL ? 1 : 2);
    put_key("action", action);
    if (key != NULL) put_key(key, text);
}

static void hook(const char *id, const char *point, view asked) {
    begin_result(id);
    if (strcmp(point, "input") == 0) {
        if (is(find(asked, "text"), "ping")) act("handled", "text", "pong");
        else if (is(find(asked, "text"), "teh")) act("text", "text", "the");
        else put_nil();
    } else if (strcmp(point, "tool_call") == 0) {
        if (is(find(asked, "tool"), "rm")) act("block", "reason", "nothing is removed here");
        else if (is(find(asked, "tool"), "ls")) {
            put_map(2);
            put_key("action", "rewrite");
            put_text("arguments");
            put_map(1);
            put_key("path", ".");
        } else act("allow", NULL, NULL);
    } else if (strcmp(point, "tool_result") == 0) {
        if (is(find(asked, "result"), "secret")) act("result", "result", "withheld");
        else put_nil();
    } else if (strcmp(point, "session_before_switch") == 0) {
        if (is(find(asked, "target"), "locked")) act("cancel", "reason", "it is locked");
        else put_nil();
    } else if (strcmp(point, "session_before_fork") == 0) {
        if (is(find(asked, "leaf"), "locked")) act("cancel", "reason", "it is locked");
        else put_nil();
    } else if (find(asked, "task").at != NULL) { /* the points of the agent loop */
        if (is(find(asked, "task"), "forbidden")) act("veto", "reason", "it is forbidden");
        else {
            put_map(2);
            put_key("action", "annotate");
            put_text("annotation");
            put_map(1);
            put_text("seen");
            put_view(find(asked, "task"));
        }
    } else put_nil(); /* the points of runs and turns, where nothing is to be said */
    send_frame();
}

static const char *const tools[] = {"echo", "count", "wait", "ask", "fail"};
static const char *const points[] = {
    "input", "before_agent_start", "run_start", "turn_start", "turn_end", "run_end", "tool_call", "tool_result",
    "session_before_switch", "session_before_fork", "before_perceive", "after_state", "before_decide",
    "after_decide", "before_exchange", "after_exchange", "after_memory",
};
enum { TOOLS = sizeof tools / sizeof *tools, POINTS = sizeof points / sizeof *points };

static void serve_call(view frame) {
    char id[TEXT], name[TEXT];
    view kind = find(frame, "kind"), arguments = find(frame, "arguments");
    keep(find(frame, "id"), id);
    keep(find(frame, "name"), name);
    if (is(kind, "tool") && strcmp(name, "echo") == 0) return tool_echo(id, arguments);
    if (is(kind, "tool") && strcmp(name, "count") == 0) return tool_count(id, arguments);
    if (is(kind, "tool") && strcmp(name, "wait") == 0) return tool_wait(id);
    if (is(kind, "tool") && strcmp(name, "ask") == 0) return tool_ask(id, arguments);
    if (is(kind, "tool") && strcmp(name, "fail") == 0) return answer_error(id, "broken", "it is broken", 1);
    if (is(kind, "command") && strcmp(name, "status") == 0) return command_status(id);
    if (is(kind, "service") && strcmp(name, "greet") == 0) return service_greet(id, arguments);
    if (is(kind, "workload") && strcmp(name, "tokens") == 0) return workload_count(id);
    if (is(kind, "rule") && strcmp(name, "shouting") == 0) return rule_shouting(id, arguments);
    for (int i = 0; is(kind, "hook") && i < POINTS; i++)
        if (strcmp(name, points[i]) == 0) return hook(id, name, arguments);
    answer_error(id, "unknown_operation", "there is nothing of this name", 0);
}

static void say_ready(void) {
    begin(6, "ready");
    put_text("protocol");
    put_integer(1);
    put_key("sdk", "c");
    put_text("tools");
    put_array(TOOLS);
    for (int i = 0; i < TOOLS; i++) put_text(tools[i]);
    put_text("commands");
    put_array(1);
    put_text("status");
    put_text("hooks");
    put_array(POINTS);
    for (int i = 0; i < POINTS; i++) put_text(points[i]);
    send_frame();
}

int main(void) {
    const char *number = getenv("WEB4_WORKER_FD");
    if (number == NULL) die("WEB4_WORKER_FD is not set: a node starts this program");
    node = atoi(number);
    uint8_t *buffer;
    view hello = next_frame(&buffer);
    view protocol = find(hello, "protocol");
    if (!is(find(hello, "t"), "hello") || protocol.at == NULL || head(&protocol).size != 1)
        die("the node speaks another protocol");
    free(buffer);
    say_ready();
    while (!draining) {
        view frame = next_frame(&buffer);
        if (is(find(frame, "t"), "call")) serve_call(frame);
        else common(frame, NULL);
        free(buffer);
    }
    return 0;
}
