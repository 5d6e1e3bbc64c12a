/* An open action policy: networks and the memory of a session. Public functions: vipo/action.h. */
#ifndef VIPO_POLICY_GOAL_POLICY_H
#define VIPO_POLICY_GOAL_POLICY_H

#include "policy/policy_networks.h"
#include "sampling/action_sampler.h"
#include "vipo/action.h"

struct vipo_goal_policy {
    char *folder;
    vipo_policy_networks *networks;
    vipo_action_schedule schedule; /* gcp */
    vipo_compute compute;          /* ops, pool, scratch */
    /* For `samples` sequences at once; everything in one block. */
    int samples;
    float *memory;
    float *encoder, *network; /* of the nets */
    float *features;          /* [samples][feature]: of one picture */
    float *condition;         /* [samples][condition] */
    float *x, *work;          /* [samples][horizon][action_dim]; twice that */
    /* The goal of the call before and its features. */
    float *goal, *goal_features; /* [goals][H][W][3], [goals][feature] */
    int goals;                   /* 0: none */
};

/* config.json of a folder. */
vipo_status vipo_goal_policy_read_config(const char *folder, vipo_policy_config *out, vipo_error *error);

/* Memory for that many samples. */
vipo_status vipo_goal_policy_reserve(vipo_goal_policy *policy, int samples, vipo_error *error);

#endif
