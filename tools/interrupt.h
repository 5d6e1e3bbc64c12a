/* Ctrl-C: the first one asks the running call to stop, the second one ends the process. */
#ifndef VIPO_TOOLS_INTERRUPT_H
#define VIPO_TOOLS_INTERRUPT_H

#include <stdbool.h>

/* Catches SIGINT and SIGTERM, unless the caller of the process ignores them. */
void interrupt_install(void);
/* The signal that came, 0 if none did. */
int interrupt_signal(void);

#endif
