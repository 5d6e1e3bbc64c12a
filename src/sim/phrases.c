/* Ways to say what each task is about, for training and testing text encoders. */
#include "sim/metaworld.h"

enum { MAX_PHRASES = 12, HELD_OUT = 2 };

/* In the order of vipo_tasks. The first is AVDC's; the last two are held out from training. */
static const char *const phrases[VIPO_TASKS][MAX_PHRASES] = {
    {"door open", "open the door", "pull the door open", "pull the door open by its handle",
     "swing the door open", "open the cabinet door", "open the safe door", "please open the door",
     "make the door open", "move the door to the open position", "grab the handle and open the door",
     "pull on the door handle"},
    {"door close", "close the door", "push the door closed", "shut the door", "close the cabinet door",
     "push the door until it is closed", "close the safe door", "please close the door",
     "make the door closed", "move the door to the closed position", "swing the door shut",
     "push the open door shut"},
    {"basketball", "dunk the basketball", "put the ball in the hoop", "put the basketball into the basket",
     "throw the ball into the hoop", "place the basketball in the hoop", "move the ball to the basket",
     "lift the ball and drop it in the hoop", "play basketball", "bring the basketball to the net",
     "pick up the ball and dunk it", "score a basket"},
    {"shelf place", "place the block on the shelf", "put the cube on the shelf",
     "pick up the block and place it on the shelf", "place the object onto the shelf",
     "move the blue block to the shelf", "put the puck on the shelf", "set the object on the shelf",
     "shelve the block", "bring the cube to the shelf", "lift the block and set it on the shelf",
     "store the block on the shelf"},
    {"button press", "press the button", "push the button", "push the button in",
     "press the button from the front", "hit the button", "push the red button forward",
     "press the button on the box", "please press the button", "push the button into the box",
     "press the red button on the wall", "poke the button"},
    {"button press topdown", "press the button from above", "press the button from the top",
     "push the button down", "press the red button down", "push the button from the top down",
     "press the button downward", "hit the button from above", "press the top button",
     "push down the red button", "press down on the button", "lower the hand onto the button"},
    {"faucet close", "close the faucet", "turn off the faucet", "rotate the faucet handle to close it",
     "close the tap", "turn the tap off", "stop the water", "turn the faucet handle closed",
     "rotate the tap to the closed position", "please close the faucet", "turn the faucet off",
     "shut the tap"},
    {"faucet open", "open the faucet", "turn on the faucet", "rotate the faucet handle to open it",
     "open the tap", "turn on the tap", "let the water run", "turn the faucet handle open",
     "rotate the tap to the open position", "please open the faucet", "turn the faucet on",
     "turn the tap on"},
    {"handle press", "press the handle", "press the handle down", "push the handle down",
     "push down the lever", "lower the handle", "push the red handle down", "press the bar down",
     "move the handle downward", "please press the handle", "press down on the handle",
     "press the lever down"},
    {"hammer", "hammer the nail", "hit the nail with the hammer", "use the hammer to drive the nail",
     "pick up the hammer and hit the nail", "drive the nail in with the hammer", "strike the nail",
     "hammer in the nail", "swing the hammer at the nail", "knock the nail into the wall with the hammer",
     "pound the nail into the box", "grab the hammer and strike the nail"},
    {"assembly", "put the ring on the peg", "assemble the nut onto the peg",
     "pick up the nut and place it on the peg", "put the wrench on the peg", "slide the ring onto the peg",
     "assemble the parts", "move the nut to the peg", "lift the tool and put it on the peg",
     "insert the peg through the ring", "place the ring over the peg", "fit the ring around the peg"},
};

static const char *phrase(int task, int i, int from, int to)
{
    return task >= 0 && task < VIPO_TASKS && i >= 0 && i < to - from ? phrases[task][from + i] : NULL;
}

const char *vipo_sim_task_phrase(int task, int i)
{
    return phrase(task, i, 0, MAX_PHRASES - HELD_OUT);
}

const char *vipo_sim_task_held_out_phrase(int task, int i)
{
    return phrase(task, i, MAX_PHRASES - HELD_OUT, MAX_PHRASES);
}
