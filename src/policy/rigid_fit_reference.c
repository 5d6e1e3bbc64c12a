/* The rigid fit as AVDC does it (solve_3d_rigid_tfm of AVDC_experiments): a general minimizer from 0, then from random
 * starts. Kept to compare with; rigid_fit.c finds the same optimum in a fraction of the time. */
#include <math.h>
#include <string.h>

#include "policy/bfgs.h"
#include "policy/rigid_motion.h"

enum { MOST_RESTARTS = 1024 };
static const double good_enough = 1e-3;

static double loss_of(void *user, const double *x)
{
    double motion[16];
    vipo_rigid_from_parameters(x, motion);
    return vipo_rigid_loss(user, motion);
}

static void run(const vipo_matches *matches, double x[6], vipo_rigid_fit *out, bool first)
{
    vipo_matches copy = *matches;
    const vipo_bfgs_problem problem = {
        .n = 6, .value = loss_of, .user = &copy, .iterations = 1200, .tolerance = 1e-5};
    vipo_bfgs_result result;
    vipo_bfgs_minimize(&problem, x, &result);
    out->iterations += result.iterations;
    out->starts++;
    if (first || result.value < out->loss) {
        out->loss = result.value;
        vipo_rigid_from_parameters(x, out->motion);
    }
}

vipo_status vipo_rigid_fit_reference(const vipo_matches *matches, int restarts,
                                     const vipo_start_source *starts, vipo_rigid_fit *out, vipo_error *error)
{
    double x[6] = {0}, x0[MOST_RESTARTS * 6];
    *out = (vipo_rigid_fit){.starts = 0};
    run(matches, x, out, true);
    if (out->loss < good_enough || restarts == 0) return VIPO_OK;
    if (restarts > MOST_RESTARTS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d restarts, at most %d", restarts, MOST_RESTARTS);
    VIPO_TRY(starts->draw(starts->user, restarts, x0, error));
    for (int i = 0; i < restarts; i++) run(matches, x0 + 6 * i, out, i == 0); /* 0 is no candidate any more */
    return VIPO_OK;
}
