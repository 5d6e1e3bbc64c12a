/* A reader of Python pickles (protocols 2 to 5) that runs nothing. What a pickle would make Python call is
 * kept as a value of kind CALL, and only for globals on the caller's list; every other global is refused by
 * its name. Memory is bounded by the size of the pickle. */
#ifndef VIPO_WEIGHTS_PICKLE_H
#define VIPO_WEIGHTS_PICKLE_H

#include "core/status.h"

enum { VIPO_PICKLE_MAX_BYTES = 64 << 20, VIPO_PICKLE_MAX_VALUES = 4000000, VIPO_PICKLE_MAX_DEPTH = 1000 };

typedef enum vipo_pickle_kind {
    VIPO_PICKLE_NONE,
    VIPO_PICKLE_BOOL,
    VIPO_PICKLE_INT,
    VIPO_PICKLE_BIG_INT, /* more than 64 bits; the number is not kept */
    VIPO_PICKLE_FLOAT,
    VIPO_PICKLE_TEXT, /* UTF-8 as a rule; not terminated, may hold zeros */
    VIPO_PICKLE_BYTES,
    VIPO_PICKLE_TUPLE,
    VIPO_PICKLE_LIST, /* sets too */
    VIPO_PICKLE_DICT,
    VIPO_PICKLE_GLOBAL,
    VIPO_PICKLE_CALL,
    VIPO_PICKLE_PERSISTENT, /* an object that the pickle refers to by an id */
} vipo_pickle_kind;

/* "a tuple", for messages */
const char *vipo_pickle_kind_name(vipo_pickle_kind kind);

typedef struct vipo_pickle_value {
    vipo_pickle_kind kind;
    int global; /* GLOBAL, CALL: index in the caller's list */
    union {
        int64_t integer; /* BOOL, INT */
        double number;   /* FLOAT */
        struct {
            const char *bytes; /* in the pickle */
            size_t length;
        } text; /* TEXT, BYTES */
        struct {
            uint32_t *items; /* values by index; of a dict: key, value, key, value */
            uint32_t count, capacity;
        } list;        /* TUPLE, LIST, DICT */
        uint32_t part; /* CALL: the tuple of arguments; PERSISTENT: the id */
    };
} vipo_pickle_value;

/* What may be done with a global. */
typedef enum vipo_pickle_use {
    VIPO_PICKLE_USE_NAME, /* mentioned, not called */
    VIPO_PICKLE_USE_CALL, /* a call becomes a value of kind CALL */
    VIPO_PICKLE_USE_DICT, /* a call makes a dict: collections.OrderedDict */
} vipo_pickle_use;

typedef struct vipo_pickle_global {
    const char *module, *name;
    vipo_pickle_use use;
} vipo_pickle_global;

typedef struct vipo_pickle vipo_pickle;

/* Reads bytes[0..size), which must stay in place as long as the result. `name` is for messages. VIPO_FORMAT:
 * no pickle of these protocols, broken or truncated; VIPO_UNSUPPORTED: a global that is not on the list, or
 * a limit is exceeded. */
vipo_status vipo_pickle_parse(vipo_pickle **out, const void *bytes, size_t size, const char *name,
                              const vipo_pickle_global *globals, int n_globals, vipo_error *error);
void vipo_pickle_close(vipo_pickle **pickle);

const vipo_pickle_value *vipo_pickle_root(const vipo_pickle *pickle);
/* Containers may hold themselves: a walk needs a bound. */
const vipo_pickle_value *vipo_pickle_at(const vipo_pickle *pickle, uint32_t index);
/* Item i of a TUPLE or LIST; NULL for other kinds or past the end. */
const vipo_pickle_value *vipo_pickle_item(const vipo_pickle *pickle, const vipo_pickle_value *value,
                                          uint32_t i);
bool vipo_pickle_text_is(const vipo_pickle_value *value, const char *text);
/* Number of values; indices are below it. */
uint32_t vipo_pickle_count(const vipo_pickle *pickle);

#endif
