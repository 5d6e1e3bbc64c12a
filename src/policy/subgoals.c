#include "policy/subgoals.h"

#include <math.h>
#include <string.h>

#include "policy/rigid_motion.h"

void vipo_subgoals_chain(const double grasp[3], const double *motions, int n, int stride,
                         double (*subgoals)[3])
{
    memcpy(subgoals[0], grasp, sizeof subgoals[0]);
    for (int k = 0; k < n; k++)
        vipo_rigid_move(motions + (size_t)k * (size_t)stride, subgoals[k], subgoals[k + 1]);
}

bool vipo_subgoals_rise(double (*const subgoals)[3], int count, bool short_too, double *rise)
{
    const bool whole = count >= 4;
    const int first = whole ? 1 : 0, end = whole ? count - 2 : count - 1;
    *rise = 0;
    if (!whole && !(short_too && count >= 2)) return false;
    for (int k = first; k < end; k++) *rise = fmax(*rise, fabs(subgoals[k + 1][2] - subgoals[k][2]));
    return true;
}
