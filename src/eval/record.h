/* One episode's result: a row of a store. */
#ifndef VIPO_EVAL_RECORD_H
#define VIPO_EVAL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "eval/settings.h"

enum { VIPO_RECORD_PLANS = 64, VIPO_RECORD_NAME = 48 };

typedef struct vipo_record {
    /* which episode */
    char settings[VIPO_SETTINGS_HASH];
    char task[VIPO_RECORD_NAME], camera[VIPO_RECORD_NAME];
    uint64_t seed;
    /* what came of it: a function of the above */
    bool success;
    int first_success; /* step, from 1; 0: none */
    int steps;
    double total_reward, max_reward; /* sum over steps; of a step */
    int plans, replans;              /* replans: plans - 1, or 0 */
    int calls, evaluations, network_rows;
    int rounds, drafted, accepted;     /* draft-target */
    int plan_steps[VIPO_RECORD_PLANS]; /* of the first plans: the step before which the picture was taken */
    char error[256];                   /* why it failed without running to its end; "" */
    /* how long it took */
    double seconds, planning_seconds, flow_seconds, acting_seconds, physics_seconds, rendering_seconds;
    double plan_seconds[VIPO_RECORD_PLANS]; /* video generation of each */
    /* by what */
    char finished[32]; /* "2026-01-31T12:00:00Z" */
    char host[64], version[16], compute[16], methods[24], mujoco[16], gl[96];
    char video[128]; /* name of its file, "" */
} vipo_record;

typedef enum vipo_field_kind {
    VIPO_FIELD_TEXT,
    VIPO_FIELD_UINT64,
    VIPO_FIELD_BOOL,
    VIPO_FIELD_INT,
    VIPO_FIELD_STEP, /* int, 0 is NULL */
    VIPO_FIELD_DOUBLE,
    VIPO_FIELD_INTS,   /* [plans], a JSON list */
    VIPO_FIELD_DOUBLES /* [plans], a JSON list */
} vipo_field_kind;

/* The columns, in order; the first VIPO_FIELD_KEYS are the key. */
typedef struct vipo_field {
    const char *name;
    vipo_field_kind kind;
    size_t offset, size;
    bool result; /* a function of the key: equal in every run */
} vipo_field;
enum { VIPO_FIELD_KEYS = 4 };
extern const vipo_field vipo_fields[];
extern const int vipo_n_fields;

/* How many of the lists' elements a record has. */
int vipo_record_listed(const vipo_record *record);
/* The value as SQLite keeps it, as a text: for CSV and digests. Reals with 17 digits. NULL is "". */
void vipo_field_print(const vipo_field *field, const vipo_record *record, char *out, size_t size);
/* Sets a list from its text. */
bool vipo_field_parse_list(const vipo_field *field, vipo_record *record, const char *text);
/* A hash of the key and of what is a function of it, carried on. */
uint64_t vipo_record_digest(uint64_t hash, const vipo_record *record);

#endif
