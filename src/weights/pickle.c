#include "weights/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "weights/pickle_machine.h"

enum { NO_VALUE = UINT32_MAX >> 1, MAX_PROTOCOL = 5, NAME_SHOWN = 80 };

/* What an opcode does, and with what: the kind of value it makes or fills, bytes of its number or length, values
 * it takes from the stack. */
typedef struct opcode {
    vipo_status (*run)(vipo_machine *m, const struct opcode *o);
    vipo_pickle_kind kind;
    int width;
} opcode;

const char *vipo_pickle_kind_name(vipo_pickle_kind kind)
{
    static const char *const names[] = {[VIPO_PICKLE_NONE] = "None",
                                        [VIPO_PICKLE_BOOL] = "a bool",
                                        [VIPO_PICKLE_INT] = "an integer",
                                        [VIPO_PICKLE_BIG_INT] = "an integer of more than 64 bits",
                                        [VIPO_PICKLE_FLOAT] = "a float",
                                        [VIPO_PICKLE_TEXT] = "a string",
                                        [VIPO_PICKLE_BYTES] = "bytes",
                                        [VIPO_PICKLE_TUPLE] = "a tuple",
                                        [VIPO_PICKLE_LIST] = "a list",
                                        [VIPO_PICKLE_DICT] = "a dict",
                                        [VIPO_PICKLE_GLOBAL] = "a global",
                                        [VIPO_PICKLE_CALL] = "an object",
                                        [VIPO_PICKLE_PERSISTENT] = "a persistent object"};
    return names[kind];
}

/* ---- values ------------------------------------------------------------------------------------------ */

static vipo_status push_kind(vipo_machine *m, vipo_pickle_kind kind)
{
    return vipo_machine_push(m, (vipo_pickle_value){.kind = kind});
}

static vipo_status push_integer(vipo_machine *m, vipo_pickle_kind kind, int64_t integer)
{
    return vipo_machine_push(m, (vipo_pickle_value){.kind = kind, .integer = integer});
}

static vipo_status collect_last(vipo_machine *m, size_t n)
{
    if (m->stack.count - vipo_machine_floor(m) < n) return vipo_machine_broken(m, "its stack is empty");
    return vipo_machine_collect(m, VIPO_PICKLE_TUPLE, m->stack.count - n);
}

/* A string whose length has `width` bytes. */
static vipo_status run_text(vipo_machine *m, const opcode *o)
{
    uint64_t length;
    const unsigned char *bytes;
    VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &length));
    if (length > m->size) length = SIZE_MAX; /* let take complain */
    VIPO_TRY(vipo_machine_take(m, (size_t)length, &bytes));
    return vipo_machine_push(
        m, (vipo_pickle_value){.kind = o->kind,
                               .text = {.bytes = (const char *)bytes, .length = (size_t)length}});
}

/* An integer of any length in two's complement, whose length has `width` bytes. */
static vipo_status run_long(vipo_machine *m, const opcode *o)
{
    uint64_t length, value = 0;
    const unsigned char *bytes;
    VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &length));
    VIPO_TRY(vipo_machine_take(m, (size_t)length, &bytes));
    if (length > sizeof value) return push_kind(m, VIPO_PICKLE_BIG_INT);
    for (size_t i = (size_t)length; i-- > 0;) value = value << 8 | bytes[i];
    if (length > 0 && length < sizeof value && bytes[length - 1] & 0x80)
        value |= UINT64_MAX << (8 * length); /* extend the sign */
    int64_t integer;
    memcpy(&integer, &value, sizeof integer);
    return push_integer(m, VIPO_PICKLE_INT, integer);
}

static vipo_status run_float(vipo_machine *m, const opcode *o)
{
    (void)o;
    const unsigned char *bytes;
    uint64_t bits = 0;
    double number;
    VIPO_TRY(vipo_machine_take(m, sizeof bits, &bytes));
    for (size_t i = 0; i < sizeof bits; i++) bits = bits << 8 | bytes[i]; /* big-endian */
    memcpy(&number, &bits, sizeof number);
    return vipo_machine_push(m, (vipo_pickle_value){.kind = VIPO_PICKLE_FLOAT, .number = number});
}

/* ---- globals and calls --------------------------------------------------------------------------------- */

static bool text_equal(const char *text, const char *bytes, size_t length)
{
    return strlen(text) == length && memcmp(text, bytes, length) == 0;
}

static vipo_status push_global(vipo_machine *m, const char *module, size_t module_length, const char *name,
                               size_t name_length)
{
    for (int i = 0; i < m->n_globals; i++)
        if (text_equal(m->globals[i].module, module, module_length) &&
            text_equal(m->globals[i].name, name, name_length))
            return vipo_machine_push(m, (vipo_pickle_value){.kind = VIPO_PICKLE_GLOBAL, .global = i});
    const int module_shown = module_length > NAME_SHOWN ? NAME_SHOWN : (int)module_length;
    const int name_shown = name_length > NAME_SHOWN ? NAME_SHOWN : (int)name_length;
    return vipo_fail(m->error, VIPO_UNSUPPORTED,
                     "%s: refused, its pickle refers to %.*s.%.*s (byte %zu), expected only what tensors and "
                     "plain containers need; nothing was run",
                     m->name, module_shown, module, name_shown, name, m->opcode_at);
}

static vipo_status push_global_lines(vipo_machine *m)
{
    const char *module, *name;
    size_t module_length, name_length;
    VIPO_TRY(vipo_machine_take_line(m, &module, &module_length));
    VIPO_TRY(vipo_machine_take_line(m, &name, &name_length));
    return push_global(m, module, module_length, name, name_length);
}

static vipo_status push_stack_global(vipo_machine *m)
{
    uint32_t name, module;
    VIPO_TRY(vipo_machine_pop(m, &name));
    VIPO_TRY(vipo_machine_pop(m, &module));
    const vipo_pickle_value *a = &m->pickle->values[module], *b = &m->pickle->values[name];
    if (a->kind != VIPO_PICKLE_TEXT || b->kind != VIPO_PICKLE_TEXT)
        return vipo_machine_broken(m, "the name of a global is no string");
    return push_global(m, a->text.bytes, a->text.length, b->text.bytes, b->text.length);
}

/* OrderedDict([[key, value], ...]), as Python 2 wrote it; the dict is on top of the stack. */
static vipo_status fill_dict(vipo_machine *m, uint32_t dict, uint32_t pairs)
{
    const vipo_pickle *p = m->pickle;
    if (p->values[pairs].kind != VIPO_PICKLE_LIST) return vipo_machine_broken(m, "a dict is made of no list");
    for (uint32_t i = 0; i < p->values[pairs].list.count; i++) {
        const vipo_pickle_value *pair = &p->values[p->values[pairs].list.items[i]];
        if ((pair->kind != VIPO_PICKLE_LIST && pair->kind != VIPO_PICKLE_TUPLE) || pair->list.count != 2)
            return vipo_machine_broken(m, "a dict is made of something else than pairs");
        VIPO_TRY(vipo_machine_append(m, dict, pair->list.items, 2));
    }
    return VIPO_OK;
}

/* Calls nothing: remembers that `callee` is to be applied to the tuple `arguments`. */
static vipo_status push_call(vipo_machine *m, uint32_t callee, uint32_t arguments)
{
    const vipo_pickle_value called = m->pickle->values[callee], given = m->pickle->values[arguments];
    if (called.kind != VIPO_PICKLE_GLOBAL)
        return vipo_machine_broken(m, "a call of something that is no global");
    if (given.kind != VIPO_PICKLE_TUPLE)
        return vipo_machine_broken(m, "the arguments of a call are no tuple");
    const vipo_pickle_global *global = &m->globals[called.global];
    if (global->use == VIPO_PICKLE_USE_NAME)
        return vipo_fail(m->error, VIPO_UNSUPPORTED,
                         "%s: refused, its pickle calls %s.%s (byte %zu), which may only be named", m->name,
                         global->module, global->name, m->opcode_at);
    if (global->use == VIPO_PICKLE_USE_CALL)
        return vipo_machine_push(
            m, (vipo_pickle_value){.kind = VIPO_PICKLE_CALL, .global = called.global, .part = arguments});
    if (given.list.count > 1) return vipo_machine_broken(m, "a dict is made of several arguments");
    VIPO_TRY(push_kind(m, VIPO_PICKLE_DICT));
    return given.list.count == 0 ? VIPO_OK
                                 : fill_dict(m, m->stack.items[m->stack.count - 1], given.list.items[0]);
}

static vipo_status run_reduce(vipo_machine *m, const opcode *o)
{
    (void)o;
    uint32_t callee, arguments;
    VIPO_TRY(vipo_machine_pop(m, &arguments));
    VIPO_TRY(vipo_machine_pop(m, &callee));
    return push_call(m, callee, arguments);
}

/* INST: the class is in the pickle's text, the arguments above a mark. */
static vipo_status run_instance(vipo_machine *m, const opcode *o)
{
    (void)o;
    size_t first;
    uint32_t arguments, callee;
    VIPO_TRY(push_global_lines(m));
    VIPO_TRY(vipo_machine_pop(m, &callee));
    VIPO_TRY(vipo_machine_pop_mark(m, &first));
    VIPO_TRY(vipo_machine_collect(m, VIPO_PICKLE_TUPLE, first));
    VIPO_TRY(vipo_machine_pop(m, &arguments));
    return push_call(m, callee, arguments);
}

/* OBJ: class and arguments above a mark. */
static vipo_status run_object(vipo_machine *m, const opcode *o)
{
    (void)o;
    size_t first;
    uint32_t arguments, callee;
    VIPO_TRY(vipo_machine_pop_mark(m, &first));
    if (m->stack.count == first) return vipo_machine_broken(m, "an object without its class");
    callee = m->stack.items[first];
    VIPO_TRY(vipo_machine_collect(m, VIPO_PICKLE_TUPLE, first + 1));
    VIPO_TRY(vipo_machine_pop(m, &arguments));
    m->stack.count = first;
    return push_call(m, callee, arguments);
}

static vipo_status run_new_with_keywords(vipo_machine *m, const opcode *o)
{
    uint32_t keywords;
    VIPO_TRY(vipo_machine_pop(m, &keywords));
    const vipo_pickle_value *value = &m->pickle->values[keywords];
    if (value->kind != VIPO_PICKLE_DICT || value->list.count > 0)
        return vipo_machine_broken(m, "a call with keyword arguments");
    return run_reduce(m, o);
}

/* State for an object: PyTorch gives state dicts an attribute _metadata, which nobody here needs. */
static vipo_status run_build(vipo_machine *m, const opcode *o)
{
    (void)o;
    uint32_t state, target;
    VIPO_TRY(vipo_machine_pop(m, &state));
    VIPO_TRY(vipo_machine_top(m, &target));
    return m->pickle->values[target].kind == VIPO_PICKLE_DICT
               ? VIPO_OK
               : vipo_machine_broken(m, "state for something that is no dict");
}

/* ---- containers and memo -------------------------------------------------------------------------------- */

/* Moves what lies above stack position `first` into the container below it. */
static vipo_status add_items(vipo_machine *m, vipo_pickle_kind kind, size_t first)
{
    if (first == 0 || first <= vipo_machine_floor(m)) return vipo_machine_broken(m, "its stack is empty");
    const uint32_t target = m->stack.items[first - 1];
    const size_t n = m->stack.count - first;
    if (m->pickle->values[target].kind != kind)
        return vipo_machine_broken(m, kind == VIPO_PICKLE_DICT ? "members for something that is no dict"
                                                               : "items for something that is no list");
    if (kind == VIPO_PICKLE_DICT && n % 2)
        return vipo_machine_broken(m, "a dict with a key that has no value");
    VIPO_TRY(vipo_machine_append(m, target, m->stack.items + first, n));
    m->stack.count = first;
    return VIPO_OK;
}

static vipo_status add_last(vipo_machine *m, vipo_pickle_kind kind, size_t n)
{
    if (m->stack.count - vipo_machine_floor(m) < n + 1) return vipo_machine_broken(m, "its stack is empty");
    return add_items(m, kind, m->stack.count - n);
}

static vipo_status run_mark(vipo_machine *m, const opcode *o)
{
    (void)o;
    if (m->marks.count == VIPO_PICKLE_MAX_DEPTH)
        return vipo_fail(m->error, VIPO_UNSUPPORTED, "%s: its pickle nests deeper than %d", m->name,
                         VIPO_PICKLE_MAX_DEPTH);
    return vipo_machine_push_index(m, &m->marks, (uint32_t)m->stack.count);
}

/* Picklers number their memo from 0 (Python 2: from 1) without gaps, one entry for a value at most. */
static vipo_status memo_put(vipo_machine *m, uint64_t index)
{
    uint32_t value;
    VIPO_TRY(vipo_machine_top(m, &value));
    if (index > m->pickle->count) return vipo_machine_broken(m, "a memo index beyond the number of values");
    while (m->memo.count <= index) VIPO_TRY(vipo_machine_push_index(m, &m->memo, NO_VALUE));
    m->memo.items[index] = value;
    return VIPO_OK;
}

static vipo_status memo_get(vipo_machine *m, uint64_t index)
{
    if (index >= m->memo.count || m->memo.items[index] == NO_VALUE)
        return vipo_machine_broken(m, "a memo entry that was never stored");
    return vipo_machine_push_index(m, &m->stack, m->memo.items[index]);
}

/* ---- opcodes -------------------------------------------------------------------------------------------- */

static vipo_status run_drop(vipo_machine *m, const opcode *o)
{
    (void)o;
    uint32_t ignored;
    return vipo_machine_pop(m, &ignored);
}

static vipo_status run_drop_marked(vipo_machine *m, const opcode *o)
{
    (void)o;
    size_t first;
    VIPO_TRY(vipo_machine_pop_mark(m, &first));
    m->stack.count = first;
    return VIPO_OK;
}

static vipo_status run_duplicate(vipo_machine *m, const opcode *o)
{
    (void)o;
    uint32_t value;
    VIPO_TRY(vipo_machine_top(m, &value));
    return vipo_machine_push_index(m, &m->stack, value);
}

/* None, or an empty container */
static vipo_status run_empty(vipo_machine *m, const opcode *o)
{
    return vipo_machine_push(m, (vipo_pickle_value){.kind = o->kind});
}

static vipo_status run_bool(vipo_machine *m, const opcode *o)
{
    return push_integer(m, VIPO_PICKLE_BOOL, o->width);
}

static vipo_status run_int(vipo_machine *m, const opcode *o)
{
    uint64_t value;
    VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &value));
    const bool is_signed = o->width == 4;
    return push_integer(m, VIPO_PICKLE_INT, is_signed ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value);
}

/* A tuple of the last values, or a container of what lies above the mark. */
static vipo_status run_collect(vipo_machine *m, const opcode *o)
{
    if (o->width > 0) return collect_last(m, (size_t)o->width);
    size_t first;
    VIPO_TRY(vipo_machine_pop_mark(m, &first));
    return vipo_machine_collect(m, o->kind, first);
}

/* The same into an existing container. */
static vipo_status run_add(vipo_machine *m, const opcode *o)
{
    if (o->width > 0) return add_last(m, o->kind, (size_t)o->width);
    size_t first;
    VIPO_TRY(vipo_machine_pop_mark(m, &first));
    return add_items(m, o->kind, first);
}

static vipo_status run_put(vipo_machine *m, const opcode *o)
{
    uint64_t index = m->memo.count;
    if (o->width > 0) VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &index));
    return memo_put(m, index);
}

static vipo_status run_get(vipo_machine *m, const opcode *o)
{
    uint64_t index;
    VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &index));
    return memo_get(m, index);
}

static vipo_status run_global(vipo_machine *m, const opcode *o)
{
    return o->width > 0 ? push_stack_global(m) : push_global_lines(m);
}

static vipo_status run_persistent(vipo_machine *m, const opcode *o)
{
    uint32_t id;
    VIPO_TRY(vipo_machine_pop(m, &id));
    return vipo_machine_push(m, (vipo_pickle_value){.kind = o->kind, .part = id});
}

static vipo_status run_frame(vipo_machine *m, const opcode *o)
{
    uint64_t length;
    VIPO_TRY(vipo_machine_take_unsigned(m, (size_t)o->width, &length));
    return length <= m->size - m->at ? VIPO_OK
                                     : vipo_machine_broken(m, "a frame that is longer than the pickle");
}

/* Protocols 1 to 5 (CPython, Lib/pickletools.py) but for STOP. The text opcodes of protocol 0, the extension
 * registry and out-of-band buffers are left out: torch.save writes none of them. */
static const opcode opcodes[256] = {
    ['('] = {run_mark, VIPO_PICKLE_NONE, 0},
    ['0'] = {run_drop, VIPO_PICKLE_NONE, 0},
    ['1'] = {run_drop_marked, VIPO_PICKLE_NONE, 0},
    ['2'] = {run_duplicate, VIPO_PICKLE_NONE, 0},
    ['N'] = {run_empty, VIPO_PICKLE_NONE, 0},
    [0x88] = {run_bool, VIPO_PICKLE_BOOL, 1},
    [0x89] = {run_bool, VIPO_PICKLE_BOOL, 0},
    ['J'] = {run_int, VIPO_PICKLE_INT, 4},
    ['K'] = {run_int, VIPO_PICKLE_INT, 1},
    ['M'] = {run_int, VIPO_PICKLE_INT, 2},
    [0x8a] = {run_long, VIPO_PICKLE_INT, 1},
    [0x8b] = {run_long, VIPO_PICKLE_INT, 4},
    ['G'] = {run_float, VIPO_PICKLE_FLOAT, 8},
    [0x8c] = {run_text, VIPO_PICKLE_TEXT, 1},
    ['X'] = {run_text, VIPO_PICKLE_TEXT, 4},
    [0x8d] = {run_text, VIPO_PICKLE_TEXT, 8},
    ['U'] = {run_text, VIPO_PICKLE_TEXT, 1}, /* Python 2's str */
    ['T'] = {run_text, VIPO_PICKLE_TEXT, 4},
    ['C'] = {run_text, VIPO_PICKLE_BYTES, 1},
    ['B'] = {run_text, VIPO_PICKLE_BYTES, 4},
    [0x8e] = {run_text, VIPO_PICKLE_BYTES, 8},
    [0x96] = {run_text, VIPO_PICKLE_BYTES, 8},
    [')'] = {run_empty, VIPO_PICKLE_TUPLE, 0},
    [0x85] = {run_collect, VIPO_PICKLE_TUPLE, 1},
    [0x86] = {run_collect, VIPO_PICKLE_TUPLE, 2},
    [0x87] = {run_collect, VIPO_PICKLE_TUPLE, 3},
    ['t'] = {run_collect, VIPO_PICKLE_TUPLE, 0},
    [']'] = {run_empty, VIPO_PICKLE_LIST, 0},
    ['l'] = {run_collect, VIPO_PICKLE_LIST, 0},
    ['a'] = {run_add, VIPO_PICKLE_LIST, 1},
    ['e'] = {run_add, VIPO_PICKLE_LIST, 0},
    [0x8f] = {run_empty, VIPO_PICKLE_LIST, 0}, /* sets are lists here */
    [0x90] = {run_add, VIPO_PICKLE_LIST, 0},
    [0x91] = {run_collect, VIPO_PICKLE_LIST, 0},
    ['}'] = {run_empty, VIPO_PICKLE_DICT, 0},
    ['d'] = {run_collect, VIPO_PICKLE_DICT, 0},
    ['s'] = {run_add, VIPO_PICKLE_DICT, 2},
    ['u'] = {run_add, VIPO_PICKLE_DICT, 0},
    ['q'] = {run_put, VIPO_PICKLE_NONE, 1},
    ['r'] = {run_put, VIPO_PICKLE_NONE, 4},
    [0x94] = {run_put, VIPO_PICKLE_NONE, 0},
    ['h'] = {run_get, VIPO_PICKLE_NONE, 1},
    ['j'] = {run_get, VIPO_PICKLE_NONE, 4},
    ['c'] = {run_global, VIPO_PICKLE_GLOBAL, 0},
    [0x93] = {run_global, VIPO_PICKLE_GLOBAL, 2},
    ['R'] = {run_reduce, VIPO_PICKLE_CALL, 0},
    [0x81] = {run_reduce, VIPO_PICKLE_CALL, 0}, /* NEWOBJ */
    ['i'] = {run_instance, VIPO_PICKLE_CALL, 0},
    ['o'] = {run_object, VIPO_PICKLE_CALL, 0},
    [0x92] = {run_new_with_keywords, VIPO_PICKLE_CALL, 0},
    ['b'] = {run_build, VIPO_PICKLE_NONE, 0},
    ['Q'] = {run_persistent, VIPO_PICKLE_PERSISTENT, 0},
    [0x95] = {run_frame, VIPO_PICKLE_NONE, 8},
};

static vipo_status step(vipo_machine *m, unsigned char code)
{
    const opcode *o = &opcodes[code];
    if (o->run) return o->run(m, o);
    return vipo_fail(m->error, VIPO_FORMAT,
                     "%s: broken pickle, byte %zu: opcode 0x%02x, expected one of protocols 2 to %d", m->name,
                     m->opcode_at, code, MAX_PROTOCOL);
}

static vipo_status run(vipo_machine *m)
{
    const unsigned char *start;
    VIPO_TRY(vipo_machine_take(m, 2, &start));
    if (start[0] != 0x80 || start[1] < 2 || start[1] > MAX_PROTOCOL)
        return vipo_fail(m->error, VIPO_FORMAT, "%s: no pickle of protocols 2 to %d", m->name, MAX_PROTOCOL);
    for (;;) {
        const unsigned char *code;
        m->opcode_at = m->at;
        if (m->at == m->size) return vipo_machine_broken(m, "truncated, it ends without STOP");
        VIPO_TRY(vipo_machine_take(m, 1, &code));
        if (*code == '.') break;
        VIPO_TRY(step(m, *code));
    }
    if (m->stack.count != 1 || m->marks.count != 0)
        return vipo_machine_broken(m, "it does not leave one value");
    if (m->at != m->size) return vipo_machine_broken(m, "something follows its end");
    m->pickle->root = m->stack.items[0];
    return VIPO_OK;
}

vipo_status vipo_pickle_parse(vipo_pickle **out, const void *bytes, size_t size, const char *name,
                              const vipo_pickle_global *globals, int n_globals, vipo_error *error)
{
    *out = NULL;
    if (size > VIPO_PICKLE_MAX_BYTES)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: a pickle of %zu bytes, expected at most %d", name,
                         size, VIPO_PICKLE_MAX_BYTES);
    vipo_pickle *pickle = calloc(1, sizeof *pickle);
    if (!pickle) return vipo_fail_memory(error, sizeof *pickle, "a pickle");
    vipo_machine m = {.pickle = pickle,
                      .bytes = bytes,
                      .size = size,
                      .name = name,
                      .globals = globals,
                      .n_globals = n_globals,
                      .error = error};
    const vipo_status status = run(&m);
    free(m.stack.items);
    free(m.marks.items);
    free(m.memo.items);
    if (status != VIPO_OK) vipo_pickle_close(&pickle);
    *out = pickle;
    return status;
}

static bool is_container(const vipo_pickle_value *value)
{
    return value->kind == VIPO_PICKLE_TUPLE || value->kind == VIPO_PICKLE_LIST ||
           value->kind == VIPO_PICKLE_DICT;
}

void vipo_pickle_close(vipo_pickle **pickle_pointer)
{
    vipo_pickle *pickle = *pickle_pointer;
    if (!pickle) return;
    for (uint32_t i = 0; i < pickle->count; i++)
        if (is_container(&pickle->values[i])) free(pickle->values[i].list.items);
    free(pickle->values);
    free(pickle);
    *pickle_pointer = NULL;
}

const vipo_pickle_value *vipo_pickle_root(const vipo_pickle *pickle)
{
    return &pickle->values[pickle->root];
}

const vipo_pickle_value *vipo_pickle_at(const vipo_pickle *pickle, uint32_t index)
{
    return &pickle->values[index];
}

uint32_t vipo_pickle_count(const vipo_pickle *pickle)
{
    return pickle->count;
}

const vipo_pickle_value *vipo_pickle_item(const vipo_pickle *pickle, const vipo_pickle_value *value,
                                          uint32_t i)
{
    if (value->kind != VIPO_PICKLE_TUPLE && value->kind != VIPO_PICKLE_LIST) return NULL;
    return i < value->list.count ? &pickle->values[value->list.items[i]] : NULL;
}

bool vipo_pickle_text_is(const vipo_pickle_value *value, const char *text)
{
    return value && value->kind == VIPO_PICKLE_TEXT &&
           text_equal(text, value->text.bytes, value->text.length);
}
