#include "core/log.h"

#include <stdio.h>

void vipo_log(const vipo_callbacks *callbacks, vipo_log_level level, const char *format, ...)
{
    if (!callbacks || !callbacks->log) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    callbacks->log(callbacks->user, level, line);
}

void vipo_progress(const vipo_callbacks *callbacks, const char *phase, double done, double total)
{
    if (callbacks && callbacks->progress) callbacks->progress(callbacks->user, phase, done, total);
}

void vipo_trace(const vipo_callbacks *callbacks, const char *json_line)
{
    if (callbacks && callbacks->trace) callbacks->trace(callbacks->user, json_line);
}

bool vipo_is_cancelled(const vipo_callbacks *callbacks)
{
    return callbacks && callbacks->cancelled && callbacks->cancelled(callbacks->user);
}

vipo_status vipo_check_cancelled(const vipo_callbacks *callbacks, vipo_error *error)
{
    if (!vipo_is_cancelled(callbacks)) return VIPO_OK;
    return vipo_fail(error, VIPO_CANCELLED, "interrupted");
}
