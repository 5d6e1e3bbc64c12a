/* Defaults of a data set, the same with and without MuJoCo. */
#include "vipo/sim.h"

#include <string.h>

void vipo_sim_default_collect_options(vipo_sim_collect_options *options)
{
    memset(options, 0, sizeof *options);
    vipo_sim_default_options(&options->sim);
    options->sim.shadow_size = 1024;
    options->episodes = 20;
    options->noise_hold = 1;
    options->picture_height = 240;
    options->picture_width = 320;
    options->height = options->width = 128;
    options->max_frames = 45;
    options->crf = 22;
    options->min_psnr = 38;
}
