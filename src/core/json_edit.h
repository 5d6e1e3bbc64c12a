/* Setting one member of a JSON text and leaving every other byte as it is: order, spelling of numbers, white space. */
#ifndef VIPO_CORE_JSON_EDIT_H
#define VIPO_CORE_JSON_EDIT_H

#include <jansson.h>

#include "core/status.h"

enum { VIPO_JSON_EDIT_DEPTH = 8 };

/* *out (free with free()) is `text` with the member path[0].path[1]...path[depth - 1] set to `value` (borrowed): an old
 * value is replaced; what is missing is appended to the innermost object that is there, in that file's indentation.
 * text: a valid JSON object, 0-terminated. file: its name, for messages. Reals get `digits` significant digits. A member
 * of the path that is there and no object is VIPO_FORMAT. */
vipo_status vipo_json_edit(char **out, const char *text, const char *const *path, int depth,
                           const json_t *value, int digits, const char *file, vipo_error *error);

#endif
