#include "process.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The 22nd field of /proc/self/stat: clock ticks between the system's start and the process's. */
double process_seconds(void)
{
    char text[1024];
    FILE *const file = fopen("/proc/self/stat", "r");
    if (!file) return 0;
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *const end = strrchr(text, ')'); /* of the name, which may hold anything */
    unsigned long long ticks;
    struct timespec now;
    const long per_second = sysconf(_SC_CLK_TCK);
    if (!end || per_second <= 0 || clock_gettime(CLOCK_BOOTTIME, &now) != 0 ||
        sscanf(end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
               &ticks) != 1)
        return 0;
    const double seconds =
        (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - (double)ticks / (double)per_second;
    return seconds > 0 ? seconds : 0;
}

double process_peak_bytes(void)
{
    FILE *const file = fopen("/proc/self/status", "r");
    char line[256];
    double kilobytes = -1;
    while (file && kilobytes < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf kB", &kilobytes) != 1) kilobytes = -1;
    if (file) fclose(file);
    return kilobytes < 0 ? -1 : 1024 * kilobytes;
}
