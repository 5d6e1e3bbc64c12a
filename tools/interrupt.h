/* Signals that end a command in good order: Ctrl-C, termination, a closed terminal, and the loss of a file that is
 * being read. */
#ifndef VIPO_TOOLS_INTERRUPT_H
#define VIPO_TOOLS_INTERRUPT_H

#include <stdbool.h>

/* Catches SIGINT, SIGTERM and SIGHUP, unless the caller of the process ignores them, and SIGBUS. The third signal
 * ends the process. */
void interrupt_install(void);
/* The first signal that came, 0 if none did. */
int interrupt_signal(void);

#endif
