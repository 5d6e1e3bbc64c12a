/* The only place that reads environment variables. */
#ifndef VIPO_CORE_ENVIRONMENT_H
#define VIPO_CORE_ENVIRONMENT_H

/* Value of a variable, NULL if unset or empty. */
const char *vipo_environment(const char *name);

#endif
