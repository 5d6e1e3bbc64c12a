/* What vipo info says of an action policy's folder. */
#ifndef VIPO_TOOLS_POLICY_INFO_H
#define VIPO_TOOLS_POLICY_INFO_H

#include "tool.h"

/* Returns the exit status. */
int policy_info(tool *t, const char *folder);

#endif
