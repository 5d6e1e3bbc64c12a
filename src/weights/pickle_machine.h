/* The state of a pickle being read: values made so far, stack, marks, memo, and the place in the bytes. Only
 * for pickle.c, whose opcodes are made of these steps. */
#ifndef VIPO_WEIGHTS_PICKLE_MACHINE_H
#define VIPO_WEIGHTS_PICKLE_MACHINE_H

#include "weights/pickle.h"

struct vipo_pickle {
    vipo_pickle_value *values;
    uint32_t count, capacity;
    uint32_t root;
};

typedef struct vipo_index_list {
    uint32_t *items;
    size_t count, capacity;
} vipo_index_list;

typedef struct vipo_machine {
    vipo_pickle *pickle;
    const unsigned char *bytes;
    size_t size, at;
    size_t opcode_at; /* for messages */
    const char *name;
    const vipo_pickle_global *globals;
    int n_globals;
    vipo_index_list stack, memo; /* values by index */
    vipo_index_list marks;       /* stack positions */
    size_t items;                /* in all containers together */
    vipo_error *error;
} vipo_machine;

/* Fails with "broken pickle, byte N: what". */
vipo_status vipo_machine_broken(vipo_machine *m, const char *what);

vipo_status vipo_machine_push_index(vipo_machine *m, vipo_index_list *list, uint32_t index);
/* A new value on top of the stack. */
vipo_status vipo_machine_push(vipo_machine *m, vipo_pickle_value value);
/* First stack position above the last mark: what lies below is out of reach. */
size_t vipo_machine_floor(const vipo_machine *m);
vipo_status vipo_machine_pop(vipo_machine *m, uint32_t *out);
vipo_status vipo_machine_top(vipo_machine *m, uint32_t *out);
/* Removes the last mark; *first is its stack position. What lies above stays, the caller cuts the stack. */
vipo_status vipo_machine_pop_mark(vipo_machine *m, size_t *first);

/* Adds items to container `target`. Fails when all containers together get too many: a dict made from a list
 * copies it, and a pickle can ask for that again and again. */
vipo_status vipo_machine_append(vipo_machine *m, uint32_t target, const uint32_t *items, size_t n);
/* Replaces the stack from position `first` by one container that holds what was there. */
vipo_status vipo_machine_collect(vipo_machine *m, vipo_pickle_kind kind, size_t first);

/* The next n bytes; a little-endian number of n <= 8 bytes; text up to the end of the line. */
vipo_status vipo_machine_take(vipo_machine *m, size_t n, const unsigned char **out);
vipo_status vipo_machine_take_unsigned(vipo_machine *m, size_t n, uint64_t *out);
vipo_status vipo_machine_take_line(vipo_machine *m, const char **out, size_t *length);

#endif
