/* Results on disk: one SQLite file in WAL mode, a row per episode.
 *
 * A row is there completely or not at all, whatever ends the process; several processes of one machine may write the same
 * file. On shared network disks every process needs a file of its own (SQLite's WAL): stores can be merged. */
#ifndef VIPO_EVAL_STORE_H
#define VIPO_EVAL_STORE_H

#include "eval/record.h"

typedef struct vipo_store vipo_store;

typedef enum vipo_store_mode {
    VIPO_STORE_READ, /* an existing one, which may be on a disk that cannot be written */
    VIPO_STORE_WRITE /* made if there is none */
} vipo_store_mode;

/* Used by one thread at a time. VIPO_FORMAT: the file holds something else. */
vipo_status vipo_store_open(vipo_store **out, const char *path, vipo_store_mode mode, vipo_error *error);
void vipo_store_close(vipo_store **store);

/* Makes the settings known; those that are known keep their label. */
vipo_status vipo_store_add_settings(vipo_store *store, const vipo_settings *settings, vipo_error *error);
/* *added false: there is a row of that key already, which stays. */
vipo_status vipo_store_add(vipo_store *store, const vipo_record *record, bool *added, vipo_error *error);
/* *found false: out is zeroed. */
vipo_status vipo_store_find(vipo_store *store, const char *settings, const char *task, const char *camera,
                            uint64_t seed, bool *found, vipo_record *out, vipo_error *error);

/* All rows, of one settings' hash or (NULL) of all, in the order of the key. visit returns false to end. */
vipo_status vipo_store_each(vipo_store *store, const char *settings,
                            bool (*visit)(void *user, const vipo_record *record), void *user,
                            vipo_error *error);
/* Between these two, what is read is of one moment, whatever others write. */
vipo_status vipo_store_begin_reading(const vipo_store *store, vipo_error *error);
void vipo_store_end_reading(const vipo_store *store);
/* The known settings, in the order in which they came; borrowed for the call. */
vipo_status vipo_store_each_settings(vipo_store *store,
                                     bool (*visit)(void *user, const vipo_settings *settings), void *user,
                                     vipo_error *error);

typedef struct vipo_merge_counts {
    int added, present; /* present: of a key that was there, with the same results */
    int different;      /* of a key that was there, with other results: the row that was there stays */
} vipo_merge_counts;
/* Adds what another store holds, all or nothing. */
vipo_status vipo_store_merge(vipo_store *store, vipo_store *other, vipo_merge_counts *counts,
                             vipo_error *error);

/* 16 hexadecimal digits of all keys and results, without times and machines; *rows (may be NULL): how many there are. */
vipo_status vipo_store_digest(vipo_store *store, char out[VIPO_SETTINGS_HASH], int *rows, vipo_error *error);

#endif
