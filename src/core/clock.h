/* Time spans. */
#ifndef VIPO_CORE_CLOCK_H
#define VIPO_CORE_CLOCK_H

/* Seconds of a clock that only goes forward, from some start. */
double vipo_clock_seconds(void);

/* How often a thread of this process had to make room for others so far: a time in which that happened says little. */
long vipo_clock_interruptions(void);

#endif
