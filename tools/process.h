/* What the system knows about this process. */
#ifndef VIPO_TOOLS_PROCESS_H
#define VIPO_TOOLS_PROCESS_H

/* Seconds since the process was started, to about 10 ms; 0 if it cannot be told. */
double process_seconds(void);
/* Most memory that was resident at a time so far, in bytes, files mapped and read included; -1 if it cannot be told. */
double process_peak_bytes(void);

#endif
