/* Parts of Meta-World's rewards; tolerance and its sigmoids are those of the DeepMind Control Suite (Tassa et al. 2018, arXiv
 * 1801.00690). Every value lies within 0..1. */
#ifndef VIPO_SIM_REWARD_TERMS_H
#define VIPO_SIM_REWARD_TERMS_H

#include "sim/metaworld.h"

typedef enum vipo_falloff { VIPO_LONG_TAIL, VIPO_GAUSSIAN } vipo_falloff;

/* 1 inside low..high, 0.1 at distance margin from it, 0 outside if margin is 0 (or less). */
double vipo_tolerance(double x, double low, double high, double margin, vipo_falloff falloff);

/* Product of Hamacher (a t-norm), a b / (a + b - a b); 0 for two zeros. */
double vipo_hamacher(double a, double b);

/* A number in the precision in which upstream has it: the effort of a version 3 action is single, and so is all that follows
 * from it and from plain numbers. */
typedef struct vipo_term {
    double value;
    bool single;
} vipo_term;
vipo_term vipo_term_add(vipo_term a, double b);
vipo_term vipo_term_scale(vipo_term a, double b);
vipo_term vipo_term_hamacher(vipo_term a, double b);

typedef enum vipo_caging_density {
    VIPO_CAGING_SPARSE,
    VIPO_CAGING_MEDIUM,
    VIPO_CAGING_HIGH
} vipo_caging_density;

typedef struct vipo_caging {
    double object_radius, pad_distance, xz_distance;
    double reach_radius; /* of medium density */
    vipo_caging_density density;
} vipo_caging;

/* How well the fingers are around an object at `position`, and closed. */
vipo_term vipo_caging_reward(const vipo_sim *sim, const vipo_caging *caging, const double position[3],
                             double effort);

#endif
