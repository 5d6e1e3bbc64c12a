/* Measured choices on disk: FOLDER/methods-TABLE-HASH.json, one file for each processor, table, number of cores and
 * version, whose members "key" says which. Human-readable; whoever removes it has it measured again.
 *
 * It is replaced as a whole, so that readers need no lock; who wants to add to it locks a file beside it, reads it
 * again, and writes all of it. */
#ifndef VIPO_COMPUTE_CHOICE_FILE_H
#define VIPO_COMPUTE_CHOICE_FILE_H

#include "compute/choices.h"
#include "compute/processor.h"

typedef struct vipo_choice_file {
    char *path, *lock_path, *folder;
    char *key; /* JSON */
    int lock;  /* descriptor, -1: not locked */
} vipo_choice_file;

/* Makes up the names; touches no disk. Release with vipo_choice_file_close, which also unlocks. */
vipo_status vipo_choice_file_open(vipo_choice_file *out, const char *folder, const vipo_processor *processor,
                                  const vipo_ops *ops, int cores, vipo_error *error);
void vipo_choice_file_close(vipo_choice_file *file);

/* All choices of the file; none if it is not there. VIPO_FORMAT, VIPO_IO: it is there and cannot be used. A method that
 * the table does not know for its layer makes a file unusable. */
vipo_status vipo_choice_file_load(const vipo_choice_file *file, const vipo_ops *ops, vipo_choices *out,
                                  vipo_error *error);
/* Waits up to `seconds` for whoever holds the lock, and makes the folder if need be. VIPO_IO: the lock cannot be had. */
vipo_status vipo_choice_file_lock(vipo_choice_file *file, const vipo_callbacks *callbacks, double seconds,
                                  vipo_error *error);
/* Replaces the file; only with the lock. */
vipo_status vipo_choice_file_store(const vipo_choice_file *file, const vipo_choices *choices,
                                   vipo_error *error);

#endif
