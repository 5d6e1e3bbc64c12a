/* Time for measuring. */
#ifndef VIPO_CORE_CLOCK_H
#define VIPO_CORE_CLOCK_H

/* Seconds from some moment on, never set back. */
double vipo_clock_seconds(void);

#endif
