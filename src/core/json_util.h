/* Reading jansson objects with checks and messages that name the place: "config.json: unet.model_channels:
 * expected an integer in 1..4096, found string". */
#ifndef VIPO_CORE_JSON_UTIL_H
#define VIPO_CORE_JSON_UTIL_H

#include <jansson.h>

#include "core/status.h"

/* Loads a JSON file (duplicate keys rejected, at most 64 MiB). *out is a new reference. */
vipo_status vipo_json_load(json_t **out, const char *path, vipo_error *error);

/* A place in a document, for messages. */
typedef struct vipo_json_at {
    const char *file; /* name of the file */
    const char *path; /* dotted path of the object, "" at the top */
} vipo_json_at;

/* Member `key` of `object`. If it is absent or null: *out keeps its value when `required` is false, else
 * VIPO_FORMAT. A wrong type or a value out of [min, max] is VIPO_FORMAT. */
vipo_status vipo_json_int(const json_t *object, vipo_json_at at, const char *key, bool required, int min,
                          int max, int *out, vipo_error *error);
vipo_status vipo_json_double(const json_t *object, vipo_json_at at, const char *key, bool required,
                             double min, double max, double *out, vipo_error *error);
vipo_status vipo_json_bool(const json_t *object, vipo_json_at at, const char *key, bool required, bool *out,
                           vipo_error *error);
/* Borrowed string, NULL (and *out untouched) if absent. */
vipo_status vipo_json_string(const json_t *object, vipo_json_at at, const char *key, bool required,
                             const char **out, vipo_error *error);
/* Array of integers in [min, max], at most capacity; *count is set (left if absent and not required). */
vipo_status vipo_json_ints(const json_t *object, vipo_json_at at, const char *key, bool required, int min,
                           int max, int *out, int capacity, int *count, vipo_error *error);
/* The same for an array of numbers. */
vipo_status vipo_json_doubles(const json_t *object, vipo_json_at at, const char *key, bool required,
                              double min, double max, double *out, int capacity, int *count,
                              vipo_error *error);
/* Borrowed member object, NULL if absent and not required. */
vipo_status vipo_json_object(const json_t *object, vipo_json_at at, const char *key, bool required,
                             const json_t **out, vipo_error *error);

#endif
