/* A bar on the terminal: phase, done of total, time elapsed and left. Silent if standard error is no
 * terminal. */
#ifndef VIPO_TOOLS_PROGRESS_H
#define VIPO_TOOLS_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    bool enabled;
    bool drawn;       /* a bar is on the screen */
    char phase[24];   /* the one being timed */
    char note[48];    /* shown behind the time left; "": nothing */
    double started;   /* of the phase, seconds */
    double next_draw; /* not before this time */
} progress;

/* wanted: false for --quiet. */
void progress_init(progress *bar, bool wanted);
void progress_update(progress *bar, const char *phase, double done, double total);
/* Takes the bar off the screen, before anything else is printed. */
void progress_erase(progress *bar);

/* Seconds of a clock that is never set back. */
double clock_seconds(void);

#endif
