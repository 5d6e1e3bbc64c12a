/* Which method computes each layer of a network: the table's fixed choice, or the fastest one for the layer, measured
 * once on a machine (tuner.h) and stored for every later run (choice_file.h): a method decides how numbers are
 * rounded, and two runs must give the same bits. */
#ifndef VIPO_COMPUTE_CHOICES_H
#define VIPO_COMPUTE_CHOICES_H

#include "compute/ops.h"

typedef struct vipo_choice {
    vipo_layer layer;
    int uses; /* layers of this kind and size in the network */
    vipo_method method;
    double seconds[VIPO_METHODS]; /* of a call for one sample; 0: not measured */
} vipo_choice;

typedef enum vipo_choices_state {
    VIPO_CHOICES_FIXED,  /* vipo_ops.choose; also where no layer has a choice */
    VIPO_CHOICES_TUNED,  /* measured, now or once */
    VIPO_CHOICES_UNTUNED /* vipo_ops.choose, for nothing is stored yet and measuring was not allowed */
} vipo_choices_state;

/* Distinct layers in the order of their first use. Begin with a zeroed struct. */
typedef struct vipo_choices {
    vipo_choice *list;
    int n;
    vipo_choices_state state;
    char name
        [24]; /* for results: "fixed", "untuned", or "tuned 3f2a91c0", a hash of table, layers and methods */
} vipo_choices;

void vipo_choices_free(vipo_choices *choices);
/* One more use of a layer. */
vipo_status vipo_choices_add(vipo_choices *choices, const vipo_layer *layer, vipo_error *error);
/* The entry of a layer, NULL if there is none. */
vipo_choice *vipo_choices_find(const vipo_choices *choices, const vipo_layer *layer);
/* The method of a layer: the entry's, else the table's fixed choice. choices may be NULL. */
vipo_method vipo_choices_method(const vipo_choices *choices, const vipo_ops *ops, const vipo_layer *layer);

/* Methods that a table knows for a layer, at least one. */
int vipo_choices_known(const vipo_ops *ops, const vipo_layer *layer);

typedef enum vipo_choose_mode {
    VIPO_CHOOSE_FIXED,  /* nothing is measured or looked up */
    VIPO_CHOOSE_STORED, /* what is stored, if all of it is */
    VIPO_CHOOSE_MEASURE /* what is not stored is measured and stored */
} vipo_choose_mode;

/* How choices are made. */
typedef struct vipo_choosing {
    const vipo_ops *ops;
    vipo_pool
        *pool; /* what measuring uses; its threads count as the machine's cores. NULL: nothing is measured */
    vipo_choose_mode mode;
    const char *cache;                    /* folder; NULL: the user's (core/cache_folder.h) */
    const vipo_callbacks *callbacks;      /* log, progress "tune", cancelled */
    double wait;                          /* seconds for another process that measures; 0: a minute */
    const struct vipo_tuner_clock *clock; /* for tests; NULL: the usual one */
} vipo_choosing;

/* Fills in methods, state and name of all entries. Choices are stored for a processor, a table, a number of cores and
 * this version of the library; whoever finds one stored takes it. While one process measures, others wait and take what
 * it finds. Where nothing can be stored (a read-only home), all methods are the fixed ones and the log says why
 * (VIPO_LOG_INFO); a damaged file is written anew (VIPO_LOG_WARNING). Fails for want of memory and with
 * VIPO_CANCELLED only. */
vipo_status vipo_choices_make(vipo_choices *choices, const vipo_choosing *how, vipo_error *error);

#endif
