/* "key=value,key=value": settings of a part that only it knows. Whoever owns a key asks for it; at the end, keys that nobody
 * asked for are refused with the list of those that were. */
#ifndef VIPO_EVAL_SETTING_LIST_H
#define VIPO_EVAL_SETTING_LIST_H

#include "core/status.h"

enum { VIPO_SETTINGS_MAX = 32, VIPO_SETTING_ROOM = 2048 };

typedef struct vipo_setting {
    const char *key, *value;
    bool used;
} vipo_setting;

typedef struct vipo_setting_list {
    const char *option; /* how the user gave it, "--predictor-settings", for messages */
    int n;
    vipo_setting items[VIPO_SETTINGS_MAX];
    char asked[512]; /* keys that were asked for, with commas between them */
    char text[VIPO_SETTING_ROOM];
} vipo_setting_list;

/* Parses a list; NULL and "" are the empty one. A value is everything up to the next comma; it may hold '='. */
vipo_status vipo_setting_list_parse(vipo_setting_list *out, const char *option, const char *text,
                                    vipo_error *error);

/* Each: *out keeps its value where the key was not given. The list remembers what was asked for. */
vipo_status vipo_setting_double(vipo_setting_list *list, const char *key, double min, double max, double *out,
                                vipo_error *error);
vipo_status vipo_setting_int(vipo_setting_list *list, const char *key, int min, int max, int *out,
                             vipo_error *error);
/* 1, 0, true, false, on, off, yes, no; a key without '=' is true. */
vipo_status vipo_setting_bool(vipo_setting_list *list, const char *key, bool *out, vipo_error *error);
/* The index of the value among choices, which end with NULL. */
vipo_status vipo_setting_choice(vipo_setting_list *list, const char *key, const char *const *choices,
                                int *out, vipo_error *error);
/* Borrowed from the list. */
vipo_status vipo_setting_text(vipo_setting_list *list, const char *key, const char **out, vipo_error *error);

/* Refuses keys that nobody asked for. */
vipo_status vipo_setting_list_finish(const vipo_setting_list *list, vipo_error *error);

#endif
