#include "compute/processor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#ifdef VIPO_X86
#include <cpuid.h>
#endif

/* Without blanks at the ends and with single ones inside, printable. */
static void tidy(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        const char c = *from > ' ' && *from < 127 ? *from : ' ';
        if (c != ' ' || (to > text && to[-1] != ' ')) *to++ = c;
    }
    while (to > text && to[-1] == ' ') to--;
    *to = '\0';
}

#ifdef VIPO_X86

/* Vendor and signature: Intel's and AMD's manuals, CPUID leaves 0, 1 and 0x80000002 to 0x80000004. */
static void identify(vipo_processor *out)
{
    unsigned a, b, c, d;
    if (__get_cpuid(0, &a, &b, &c, &d)) {
        memcpy(out->vendor, &b, 4);
        memcpy(out->vendor + 4, &d, 4);
        memcpy(out->vendor + 8, &c, 4);
    }
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        const unsigned family = a >> 8 & 15, model = a >> 4 & 15;
        out->stepping = (int)(a & 15);
        out->family = (int)(family == 15 ? family + (a >> 20 & 255) : family);
        out->model = (int)(family == 6 || family == 15 ? model + (a >> 16 & 15) * 16 : model);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!__get_cpuid(0x80000002u + i, &a, &b, &c, &d)) break;
        const unsigned text[4] = {a, b, c, d};
        memcpy(out->name + 16 * i, text, sizeof text);
    }
}

#else

static void identify(vipo_processor *out)
{
    struct utsname machine;
    if (uname(&machine) == 0) snprintf(out->vendor, sizeof out->vendor, "%.15s", machine.machine);
}

#endif

/* The first line of /sys/devices/system/cpu/cpu0/cache/indexI/NAME. */
static bool read_line(int i, const char *name, char *out, int size)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    const bool read = fgets(out, size, file) != NULL;
    fclose(file);
    if (read) tidy(out);
    return read && out[0];
}

static void find_caches(vipo_processor *out)
{
    char level[4], type[16], size[8];
    for (int i = 0; i < VIPO_PROCESSOR_CACHES; i++) {
        if (!read_line(i, "level", level, sizeof level) || !read_line(i, "type", type, sizeof type) ||
            !read_line(i, "size", size, sizeof size))
            break;
        const char *kind = strcmp(type, "Data") == 0 ? "d" : strcmp(type, "Instruction") == 0 ? "i" : "";
        snprintf(out->caches[out->n_caches++], sizeof out->caches[0], "L%s%s %s", level, kind, size);
        char *unit;
        size_t bytes = strtoul(size, &unit, 10);
        if (*unit == 'K') bytes <<= 10;
        if (*unit == 'M') bytes <<= 20;
        if (bytes > out->largest_cache) out->largest_cache = bytes;
    }
}

void vipo_processor_find(vipo_processor *out)
{
    memset(out, 0, sizeof *out);
    identify(out);
    tidy(out->vendor);
    tidy(out->name);
    find_caches(out);
}
