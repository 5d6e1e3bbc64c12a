/* Episodes summed up: by settings, task and camera, and settings against each other. */
#ifndef VIPO_EVAL_SUMMARY_H
#define VIPO_EVAL_SUMMARY_H

#include "eval/record.h"
#include "vipo/eval.h"

/* Sums over episodes. */
typedef struct vipo_tally {
    int episodes, successes, errors;
    double steps, steps_to_success; /* the latter over successes */
    double total_reward, max_reward;
    int plans, replans;
    double calls, evaluations, rounds, drafted, accepted;
    double seconds, planning_seconds, flow_seconds, acting_seconds, physics_seconds, rendering_seconds;
    double low, high; /* Wilson's interval of the rate */
} vipo_tally;
void vipo_tally_add(vipo_tally *tally, const vipo_record *record);
void vipo_tally_finish(vipo_tally *tally);
/* NAN where there is nothing to divide by. */
double vipo_tally_rate(const vipo_tally *tally);
double vipo_ratio(double sum, double count);

/* Two settings on the episodes that both have. */
typedef struct vipo_comparison {
    int a, b;                     /* settings */
    int pairs;                    /* episodes of both */
    int successes_a, successes_b; /* of the pairs */
    int only_a, only_b;           /* of the pairs: success of one alone */
    double p;                     /* McNemar's exact test */
} vipo_comparison;

typedef struct vipo_settings_summary {
    vipo_settings settings;                        /* label: made unique */
    json_t *json;                                  /* its JSON, parsed */
    const char *policy, *plan, *profile, *sampler; /* from there; "" where there is none */
    int first, n;                                  /* its records */
    vipo_tally all;
    vipo_tally *by_task;        /* [n_tasks] */
    vipo_tally *by_camera;      /* [n_cameras] */
    double median_plan_seconds; /* NAN without plans */
} vipo_settings_summary;

typedef struct vipo_failure {
    char error[256];
    int count;
} vipo_failure;

enum { VIPO_REPORT_NAMES = 64 };

struct vipo_report {
    char title[200], videos[1024];
    int max_videos, baseline;
    vipo_record *records; /* by settings, task, camera, seed */
    int n_records, room;
    vipo_settings_summary *settings;
    int n_settings;
    char tasks[VIPO_REPORT_NAMES][VIPO_RECORD_NAME], cameras[VIPO_REPORT_NAMES][VIPO_RECORD_NAME];
    int n_tasks, n_cameras;
    vipo_comparison *comparisons;
    int n_comparisons;
    vipo_failure *failures; /* reasons of episodes that could not go on, the most frequent first */
    int n_failures;
    int different;
    char digest[VIPO_SETTINGS_HASH];
};

/* From records and settings, as they were read, to everything else. */
vipo_status vipo_report_sum_up(vipo_report *report, const char *baseline, vipo_error *error);
/* Index of a task's or camera's name, -1: there is none. */
int vipo_report_name(const char (*names)[VIPO_RECORD_NAME], int n, const char *name);

#endif
