/* Where a user's programs keep what they can make again. */
#ifndef VIPO_CORE_CACHE_FOLDER_H
#define VIPO_CORE_CACHE_FOLDER_H

#include "core/status.h"

/* `wanted` if not NULL, else $VIPO_CACHE, $XDG_CACHE_HOME/vipo or $HOME/.cache/vipo (XDG Base Directory
 * Specification: relative names do not count there). Released by free(); nothing is made. VIPO_UNSUPPORTED if none of
 * them is set. */
vipo_status vipo_cache_folder_find(char **out, const char *wanted, vipo_error *error);

/* Makes a folder and those above it, for this user alone. One that is there stays as it is. */
vipo_status vipo_cache_folder_make(const char *path, vipo_error *error);

#endif
