#include "core/status.h"

#include <stdio.h>
#include <string.h>

const char *vipo_status_text(vipo_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
        VIPO_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    };
    const unsigned i = (unsigned)status;
    return i < sizeof texts / sizeof texts[0] ? texts[i] : "unknown status";
}

#define VERSION_TEXT_(a, b, c) #a "." #b "." #c
#define VERSION_TEXT(a, b, c)  VERSION_TEXT_(a, b, c)

const char *vipo_version(void)
{
    return VERSION_TEXT(VIPO_VERSION_MAJOR, VIPO_VERSION_MINOR, VIPO_VERSION_PATCH);
}

/* Bytes of the well-formed UTF-8 sequence at text, 0 if there is none (Unicode 15, table 3-7). Reads no
 * further than a terminating 0. */
static size_t sequence_length(const unsigned char *text)
{
    const unsigned char c = text[0];
    if (c < 0x80) return 1;
    const size_t n = c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    const unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (n == 0 || text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    return n;
}

/* Control characters and bytes that are not UTF-8 become '?'; a sequence that the cut at `full` bytes has
 * split is dropped. Names of files and their content get into messages, and messages into JSON. */
static void keep_clean(char *text, size_t full)
{
    unsigned char *c = (unsigned char *)text;
    while (*c) {
        const size_t n = sequence_length(c);
        const size_t rest = strlen((const char *)c);
        if (n == 0 && rest < 4 && *c >= 0xc2 && (size_t)(c - (unsigned char *)text) + rest == full) {
            *c = 0;
            return;
        }
        if (n == 0 || *c < 0x20 || *c == 0x7f) *c = '?';
        if (n == 2 && c[0] == 0xc2 && c[1] < 0xa0) c[0] = c[1] = '?'; /* U+0080..U+009F */
        c += n ? n : 1;
    }
}

vipo_status vipo_fail(vipo_error *error, vipo_status status, const char *format, ...)
{
    if (!error) return status;
    char message[sizeof error->message]; /* arguments may point into error->message */
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0) message[0] = '\0';
    keep_clean(message, sizeof message - 1);
    memcpy(error->message, message, strlen(message) + 1);
    error->status = status;
    return status;
}

vipo_status vipo_fail_memory(vipo_error *error, size_t bytes, const char *what)
{
    return vipo_fail(error, VIPO_OUT_OF_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

vipo_status vipo_fail_prefix(vipo_error *error, vipo_status status, const char *prefix)
{
    if (error) return vipo_fail(error, status, "%s: %s", prefix, error->message);
    return status;
}
