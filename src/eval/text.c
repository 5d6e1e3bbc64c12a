#include "eval/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vipo/eval.h"

void vipo_text_free(char **text)
{
    free(*text);
    *text = NULL;
}

/* Room for n more bytes and the 0. */
static bool grow(vipo_text *text, size_t n)
{
    if (text->failed) return false;
    if (text->size + n + 1 <= text->room) return true;
    size_t room = text->room ? 2 * text->room : 4096;
    while (room < text->size + n + 1) room *= 2;
    char *const data = realloc(text->data, room);
    text->failed = !data;
    if (!data) return false;
    text->data = data;
    text->room = room;
    return true;
}

void vipo_text_add_bytes(vipo_text *text, const char *bytes, size_t n)
{
    if (!grow(text, n)) return;
    memcpy(text->data + text->size, bytes, n);
    text->size += n;
    text->data[text->size] = '\0';
}

void vipo_text_add(vipo_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0 || !grow(text, (size_t)n)) return;
    va_start(arguments, format);
    vsnprintf(text->data + text->size, (size_t)n + 1, format, arguments);
    va_end(arguments);
    text->size += (size_t)n;
}

void vipo_text_add_html(vipo_text *text, const char *plain)
{
    for (; *plain; plain++) switch (*plain) {
        case '&':
            vipo_text_add_bytes(text, "&amp;", 5);
            break;
        case '<':
            vipo_text_add_bytes(text, "&lt;", 4);
            break;
        case '>':
            vipo_text_add_bytes(text, "&gt;", 4);
            break;
        case '"':
            vipo_text_add_bytes(text, "&quot;", 6);
            break;
        case '\'':
            vipo_text_add_bytes(text, "&#39;", 5);
            break;
        default:
            vipo_text_add_bytes(text, plain, 1);
        }
}

void vipo_text_add_cell(vipo_text *text, const char *plain)
{
    for (; *plain; plain++) {
        if (*plain == '|')
            vipo_text_add_bytes(text, "\\|", 2);
        else
            vipo_text_add_bytes(text, *plain == '\n' || *plain == '\r' ? " " : plain, 1);
    }
}

void vipo_text_add_csv(vipo_text *text, const char *plain)
{
    if (!strpbrk(plain, ",\"\r\n")) {
        vipo_text_add_bytes(text, plain, strlen(plain));
        return;
    }
    vipo_text_add_bytes(text, "\"", 1);
    for (; *plain; plain++) {
        if (*plain == '"') vipo_text_add_bytes(text, "\"", 1);
        vipo_text_add_bytes(text, plain, 1);
    }
    vipo_text_add_bytes(text, "\"", 1);
}

void vipo_text_add_base64(vipo_text *text, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!grow(text, (n + 2) / 3 * 4)) return;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                              (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        const char group[4] = {digits[word >> 18], digits[word >> 12 & 63],
                               left > 1 ? digits[word >> 6 & 63] : '=', left > 2 ? digits[word & 63] : '='};
        vipo_text_add_bytes(text, group, 4);
    }
}

vipo_status vipo_text_take(vipo_text *text, char **out, vipo_error *error)
{
    grow(text, 0);
    const bool failed = text->failed;
    *out = failed ? NULL : text->data;
    if (failed) free(text->data);
    if (!failed && text->size == 0) text->data[0] = '\0';
    const size_t size = text->size;
    memset(text, 0, sizeof *text);
    return failed ? vipo_fail_memory(error, size, "a report") : VIPO_OK;
}
