/* BFGS (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 6.1) with forward differences and a line search for
 * the strong Wolfe conditions (algorithms 3.5, 3.6), settings as SciPy's minimize(method="BFGS") has them. */
#ifndef VIPO_POLICY_BFGS_H
#define VIPO_POLICY_BFGS_H

#include <stdbool.h>

enum { VIPO_BFGS_MAX = 8 };

typedef struct vipo_bfgs_problem {
    int n; /* 1..VIPO_BFGS_MAX */
    double (*value)(void *user, const double *x);
    void *user;
    int iterations;   /* at most */
    double tolerance; /* of the gradient's largest element */
} vipo_bfgs_problem;

typedef struct vipo_bfgs_result {
    double value;
    int iterations, evaluations;
    bool converged; /* false: the line search found no lower point (rounding), or too many iterations */
} vipo_bfgs_result;

/* x: start, then the lowest point found. */
void vipo_bfgs_minimize(const vipo_bfgs_problem *problem, double *x, vipo_bfgs_result *out);

#endif
