/* Meta-World's dense rewards ("v2" of both versions) and success, one function per task: from the observation (clipped as the
 * caller got it), the action as given, and the state of the scene. */
#ifndef VIPO_SIM_METAWORLD_REWARDS_H
#define VIPO_SIM_METAWORLD_REWARDS_H

#include "sim/metaworld.h"

#define VIPO_REWARD(name)                                                                                    \
    vipo_task_outcome vipo_reward_##name(const vipo_sim *sim, const double obs[VIPO_SIM_OBSERVATION],        \
                                         const double action[VIPO_SIM_ACTION])

VIPO_REWARD(door_open);
VIPO_REWARD(door_close);
VIPO_REWARD(basketball);
VIPO_REWARD(shelf_place);
VIPO_REWARD(button_press);
VIPO_REWARD(button_press_topdown);
VIPO_REWARD(faucet_close);
VIPO_REWARD(faucet_open);
VIPO_REWARD(handle_press);
VIPO_REWARD(hammer);
VIPO_REWARD(assembly);

#endif
