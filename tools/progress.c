#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 30 };
static const double FIRST_DRAW = 0.3; /* seconds into a phase; shorter phases show nothing */
static const double REDRAW = 0.1;

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_init(progress *bar, bool wanted)
{
    const char *const terminal = getenv("TERM");
    memset(bar, 0, sizeof *bar);
    bar->enabled = wanted && isatty(STDERR_FILENO) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static void format_time(double seconds, char *out, size_t size)
{
    if (seconds < 60)
        snprintf(out, size, "%.1f s", seconds);
    else
        snprintf(out, size, "%.0f:%02.0f", floor(seconds / 60), floor(fmod(seconds, 60)));
}

void progress_update(progress *bar, const char *phase, double done, double total)
{
    if (!bar->enabled) return;
    const double now = clock_seconds();
    if (strncmp(bar->phase, phase, sizeof bar->phase - 1) != 0) {
        snprintf(bar->phase, sizeof bar->phase, "%s", phase);
        bar->started = now;
        bar->next_draw = now + FIRST_DRAW;
    }
    if (now < bar->next_draw || !(total > 0)) return;
    bar->next_draw = now + REDRAW;

    const double share = fmin(fmax(done / total, 0), 1), elapsed = now - bar->started;
    char bar_text[BAR_WIDTH + 1], spent[32], left[32] = "", line[200];
    memset(bar_text, ' ', BAR_WIDTH);
    memset(bar_text, '=', (size_t)(share * BAR_WIDTH));
    bar_text[BAR_WIDTH] = '\0';
    format_time(elapsed, spent, sizeof spent);
    if (share > 0) format_time(elapsed * (1 - share) / share, left, sizeof left);
    snprintf(line, sizeof line, "%s [%s] %.0f/%.0f  %s%s%s%s%s%s", bar->phase, bar_text, done, total, spent,
             left[0] ? ", " : "", left, left[0] ? " left" : "", bar->note[0] ? "  " : "", bar->note);
    /* A line that wrapped could not be erased. */
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    fflush(stderr);
    bar->drawn = true;
}

void progress_erase(progress *bar)
{
    if (bar->drawn) fputs("\r\033[K", stderr);
    bar->drawn = false;
}
