/* Which processor this is: what measured times hold for. */
#ifndef VIPO_COMPUTE_PROCESSOR_H
#define VIPO_COMPUTE_PROCESSOR_H

#include <stdbool.h>
#include <stddef.h>

enum { VIPO_PROCESSOR_CACHES = 6 };

typedef struct vipo_processor {
    char vendor[16]; /* "AuthenticAMD"; elsewhere than on x86 the machine's name, "aarch64" */
    char name[56];   /* as the processor calls itself; "" if it does not */
    int family, model, stepping;
    /* Caches of the first core, in the kernel's order: "L1d 32K". Of the first, since on processors with two kinds of
     * cores it would else depend on where this runs. None where the kernel does not tell. */
    char caches[VIPO_PROCESSOR_CACHES][16];
    int n_caches;
    size_t largest_cache; /* bytes, 0: unknown */
} vipo_processor;

void vipo_processor_find(vipo_processor *out);

#endif
