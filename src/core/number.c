#include "core/number.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

locale_t vipo_points_begin(void)
{
    /* Of glibc a constant object. Where there is no memory for one, the thread's locale stays. */
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return uselocale(plain);
}

void vipo_points_end(locale_t before)
{
    const locale_t plain = uselocale(before);
    if (plain && plain != before && plain != LC_GLOBAL_LOCALE) freelocale(plain);
}

double vipo_strtod(const char *text, char **end)
{
    const locale_t before = vipo_points_begin();
    const double value = strtod(text, end);
    vipo_points_end(before);
    return value;
}

int vipo_snprintf(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    const locale_t before = vipo_points_begin();
    va_start(arguments, format);
    const int n = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    vipo_points_end(before);
    return n;
}
