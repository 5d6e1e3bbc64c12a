#include "weights/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 16000000 };

vipo_status vipo_machine_broken(vipo_machine *m, const char *what)
{
    return vipo_fail(m->error, VIPO_FORMAT, "%s: broken pickle, byte %zu: %s", m->name, m->opcode_at, what);
}

vipo_status vipo_machine_push_index(vipo_machine *m, vipo_index_list *list, uint32_t index)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 64;
        uint32_t *items = realloc(list->items, capacity * sizeof *items);
        if (!items) return vipo_fail_memory(m->error, capacity * sizeof *items, "a pickle's stack");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = index;
    return VIPO_OK;
}

vipo_status vipo_machine_push(vipo_machine *m, vipo_pickle_value value)
{
    vipo_pickle *p = m->pickle;
    if (p->count == VIPO_PICKLE_MAX_VALUES)
        return vipo_fail(m->error, VIPO_UNSUPPORTED, "%s: more than %d values in a pickle", m->name,
                         VIPO_PICKLE_MAX_VALUES);
    if (p->count == p->capacity) {
        const uint32_t capacity = p->capacity ? 2 * p->capacity : 256;
        vipo_pickle_value *values = realloc(p->values, capacity * sizeof *values);
        if (!values) return vipo_fail_memory(m->error, capacity * sizeof *values, "a pickle");
        p->values = values;
        p->capacity = capacity;
    }
    p->values[p->count] = value;
    return vipo_machine_push_index(m, &m->stack, p->count++);
}

size_t vipo_machine_floor(const vipo_machine *m)
{
    return m->marks.count ? m->marks.items[m->marks.count - 1] : 0;
}

vipo_status vipo_machine_pop(vipo_machine *m, uint32_t *out)
{
    *out = 0;
    if (m->stack.count <= vipo_machine_floor(m)) return vipo_machine_broken(m, "its stack is empty");
    *out = m->stack.items[--m->stack.count];
    return VIPO_OK;
}

vipo_status vipo_machine_top(vipo_machine *m, uint32_t *out)
{
    VIPO_TRY(vipo_machine_pop(m, out));
    m->stack.count++;
    return VIPO_OK;
}

vipo_status vipo_machine_pop_mark(vipo_machine *m, size_t *first)
{
    *first = 0;
    if (m->marks.count == 0) return vipo_machine_broken(m, "an end without a MARK");
    *first = m->marks.items[--m->marks.count];
    return VIPO_OK;
}

vipo_status vipo_machine_append(vipo_machine *m, uint32_t target, const uint32_t *items, size_t n)
{
    vipo_pickle_value *value = &m->pickle->values[target];
    if (n > MAX_ITEMS - m->items)
        return vipo_fail(m->error, VIPO_UNSUPPORTED,
                         "%s: the containers of its pickle hold more than %d items", m->name, (int)MAX_ITEMS);
    m->items += n;
    const uint32_t count = value->list.count + (uint32_t)n;
    if (count > value->list.capacity) {
        const uint32_t doubled = 2 * value->list.capacity, capacity = count > doubled ? count : doubled;
        uint32_t *grown = realloc(value->list.items, capacity * sizeof *grown);
        if (!grown) return vipo_fail_memory(m->error, capacity * sizeof *grown, "a pickle");
        value->list.items = grown;
        value->list.capacity = capacity;
    }
    if (n > 0) memcpy(value->list.items + value->list.count, items, n * sizeof *items);
    value->list.count = count;
    return VIPO_OK;
}

vipo_status vipo_machine_collect(vipo_machine *m, vipo_pickle_kind kind, size_t first)
{
    const size_t n = m->stack.count - first;
    if (kind == VIPO_PICKLE_DICT && n % 2)
        return vipo_machine_broken(m, "a dict with a key that has no value");
    VIPO_TRY(vipo_machine_push(m, (vipo_pickle_value){.kind = kind}));
    const uint32_t made = m->stack.items[--m->stack.count];
    VIPO_TRY(vipo_machine_append(m, made, m->stack.items + first, n));
    m->stack.count = first;
    return vipo_machine_push_index(m, &m->stack, made);
}

vipo_status vipo_machine_take(vipo_machine *m, size_t n, const unsigned char **out)
{
    *out = NULL;
    if (n > m->size - m->at)
        return vipo_fail(m->error, VIPO_FORMAT,
                         "%s: truncated pickle: byte %zu asks for %zu bytes, there are %zu", m->name,
                         m->opcode_at, n, m->size - m->at);
    *out = m->bytes + m->at;
    m->at += n;
    return VIPO_OK;
}

vipo_status vipo_machine_take_unsigned(vipo_machine *m, size_t n, uint64_t *out)
{
    const unsigned char *bytes;
    VIPO_TRY(vipo_machine_take(m, n, &bytes));
    *out = 0;
    for (size_t i = n; i-- > 0;) *out = *out << 8 | bytes[i];
    return VIPO_OK;
}

vipo_status vipo_machine_take_line(vipo_machine *m, const char **out, size_t *length)
{
    *out = NULL;
    *length = 0;
    const unsigned char *start = m->bytes + m->at;
    const unsigned char *end = memchr(start, '\n', m->size - m->at);
    if (!end)
        return vipo_fail(m->error, VIPO_FORMAT, "%s: truncated pickle: byte %zu begins a line without end",
                         m->name, m->opcode_at);
    *out = (const char *)start;
    *length = (size_t)(end - start);
    m->at += *length + 1;
    return VIPO_OK;
}
