#define _XOPEN_SOURCE 700 /* nftw */
#include "support/support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 1024, PATHS_ALIVE = 4 };

const char *test_path(const char *relative)
{
    static char paths[PATHS_ALIVE][PATH_ROOM];
    static unsigned next;
    char *path = paths[next++ % PATHS_ALIVE];
    snprintf(path, PATH_ROOM, "%s/%s", VIPO_SOURCE_DIR, relative);
    return path;
}

static char temporary_folder[] = "/tmp/vipo_test_XXXXXX";

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void remove_temporary_folder(void)
{
    nftw(temporary_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *test_temporary(const char *file_name)
{
    static char paths[PATHS_ALIVE][PATH_ROOM];
    static unsigned next;
    static int made;
    if (!made) {
        if (!mkdtemp(temporary_folder)) fail_msg("cannot make a temporary folder");
        atexit(remove_temporary_folder);
        made = 1;
    }
    char *path = paths[next++ % PATHS_ALIVE];
    snprintf(path, PATH_ROOM, "%s/%s", temporary_folder, file_name);
    return path;
}

/* No test stores measured methods in the user's home, also if it is run by hand. */
__attribute__((constructor)) static void choose_fixed_methods(void)
{
    setenv("VIPO_TUNE", "off", 1);
    unsetenv("VIPO_CACHE");
}

double test_relative_l2(const float *a, const float *b, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    const double result = sqrt(difference / (norm > 0 ? norm : 1));
    return isnan(result) ? INFINITY : result;
}

double test_max_abs(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = isnan(d) ? (double)INFINITY : d;
    }
    return worst;
}

float test_uniform(uint64_t seed, uint64_t index)
{
    /* splitmix64 (Steele, Lea, Flood 2014) of a combined key */
    uint64_t z = seed * 0xD1342543DE82EF95ULL + (index + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-23F - 1.0F;
}

long test_resident(void)
{
    long pages = 0, in_memory = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &in_memory), 2);
    fclose(file);
    return in_memory * (sysconf(_SC_PAGESIZE) / 1024);
}
