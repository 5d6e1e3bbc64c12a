/* Where the time of network calls goes: operations gathered over calls, summed by level and by kind. */
#ifndef VIPO_TOOLS_PROFILE_H
#define VIPO_TOOLS_PROFILE_H

#include "session.h"

typedef struct profile_row {
    vipo_operation operation; /* seconds: the median, once finished */
    double *seconds;          /* [calls] */
} profile_row;

typedef struct profile {
    int calls; /* that it has room for */
    int begun; /* calls so far */
    int next;  /* operation of the call under way */
    int count, room;
    profile_row *rows; /* in order of a call */
    bool failed;       /* out of memory */
    double peak;       /* of multiply-adds on this machine, GFLOP/s; 0: not known */
} profile;

void profile_open(profile *p, int calls);
void profile_close(profile *p);
/* Before each call. */
void profile_begin_call(profile *p);
/* vipo_denoise_request.profile, with the profile as its user. */
void profile_visit(void *user, const vipo_operation *operation);
/* Medians. Returns an exit status. */
int profile_finish(tool *t, profile *p);

/* Multiply-adds of a call. */
double profile_macs(const profile *p);
/* Tables on standard output: by level, by kind of operation, sum. */
void profile_print(const profile *p);
/* The same as a JSON object. */
json_t *profile_json(const profile *p);
/* A CSV file with a row for each operation. */
vipo_status profile_write(const profile *p, const session *s, const char *path, vipo_error *error);

#endif
