/* Messages between the processes of an evaluation. There is one kind, MPI, in a shared object of its own (mpi.c), which is
 * opened only under mpirun: vipo itself needs no MPI. */
#ifndef VIPO_EVAL_TRANSPORT_H
#define VIPO_EVAL_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

/* Calls come from one thread. All of them return 0, or a number that text() explains. */
typedef struct vipo_transport {
    int version; /* VIPO_TRANSPORT_VERSION */
    int (*start)(int *process, int *processes, int *on_this_host);
    int (*send)(int to, const void *bytes, size_t size);
    /* *found false: nothing has come. */
    int (*receive)(int *from, void *bytes, size_t capacity, bool *found);
    int (*finish)(void); /* waits for the others */
    void (*abort)(void); /* ends the others, and this process */
    void (*text)(int code, char *out, size_t size);
} vipo_transport;

enum { VIPO_TRANSPORT_VERSION = 1 };
#define VIPO_TRANSPORT_SYMBOL "vipo_transport_mpi"

#endif
