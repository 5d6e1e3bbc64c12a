/* The library's way to speak: through the caller's callbacks, never on its own. All accept NULL. */
#ifndef VIPO_CORE_LOG_H
#define VIPO_CORE_LOG_H

#include "core/status.h"

void vipo_log(const vipo_callbacks *callbacks, vipo_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void vipo_progress(const vipo_callbacks *callbacks, const char *phase, double done, double total);
void vipo_trace(const vipo_callbacks *callbacks, const char *json_line);
bool vipo_is_cancelled(const vipo_callbacks *callbacks);

/* VIPO_CANCELLED with its message if the caller wants to stop. */
vipo_status vipo_check_cancelled(const vipo_callbacks *callbacks, vipo_error *error);

#endif
