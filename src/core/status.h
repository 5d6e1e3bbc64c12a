/* Filling vipo_error and passing failures on. Public codes: vipo/vipo.h. */
#ifndef VIPO_CORE_STATUS_H
#define VIPO_CORE_STATUS_H

#include <stdarg.h>

#include "vipo/vipo.h"

/* Writes code and message into *error (if not NULL) and returns code, so that a failing function can end
 * with: return vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno)); The message is cut to fit;
 * control characters and bytes that are not UTF-8 become '?', so it stays one line of UTF-8. */
vipo_status vipo_fail(vipo_error *error, vipo_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* vipo_fail for a failed allocation of `bytes` for `what`. */
vipo_status vipo_fail_memory(vipo_error *error, size_t bytes, const char *what);

/* Puts "prefix: " before the message already in *error and returns its status. */
vipo_status vipo_fail_prefix(vipo_error *error, vipo_status status, const char *prefix);

/* Returns from the calling function if the call did not succeed. */
#define VIPO_TRY(call)                                                                                       \
    do {                                                                                                     \
        const vipo_status try_status_ = (call);                                                              \
        if (try_status_ != VIPO_OK) return try_status_;                                                      \
    } while (0)

/* The same with a cleanup label; `status` must be a local variable. */
#define VIPO_TRY_GOTO(call, label)                                                                           \
    do {                                                                                                     \
        status = (call);                                                                                     \
        if (status != VIPO_OK) goto label;                                                                   \
    } while (0)

#endif
