/* The task's scripted policy: an oracle, which sees the simulator's state. What others are held against, and the way to try
 * out everything around a policy. */
#include "eval/predictor.h"

static vipo_status act(void *session, const vipo_moment *moment, double action[VIPO_SIM_ACTION],
                       vipo_error *error)
{
    (void)session;
    return vipo_sim_expert(moment->sim, moment->observation, action, error);
}

/* Plans that the user asks for all the same are made by AVDC's rule. */
const vipo_predictor vipo_predictor_expert = {
    .name = "expert",
    .summary = "the task's scripted policy, which knows the simulator's state; needs no plan",
    .act = act,
};
