/* Ready-made evaluations. */
#include "vipo/eval.h"

/* The paper's settings on Meta-World (Draft-and-Target Sampling, arXiv 2603.13438): chunk 10, threshold 11, growth 1.5, strides
 * 10 and 2. */
#define DRAFT_TARGET(its_chunk, its_threshold)                                                               \
    {                                                                                                        \
        .name = "draft-target", .chunk = (its_chunk), .draft_stride = 10, .target_stride = 2,                \
        .threshold = (its_threshold), .threshold_growth = 1.5, .chunk_rule = VIPO_CHUNK_FRESH,               \
        .draft_reuse = true, .lazy_calibrated = true                                                         \
    }
#define BY_STEPS(its_name, its_steps)                                                                        \
    {                                                                                                        \
        .name = (its_name), .steps = (its_steps), .chunk = 6, .draft_stride = 10, .target_stride = 2,        \
        .threshold = 11, .threshold_growth = 1.5, .draft_reuse = true, .lazy_calibrated = true               \
    }

static const vipo_sampler_options compared[] = {BY_STEPS("ddim", 100), BY_STEPS("ddim", 50),
                                                BY_STEPS("ddim", 25), BY_STEPS("dpm-solver++", 20),
                                                DRAFT_TARGET(10, 11)};
static const vipo_sampler_options chunks[] = {DRAFT_TARGET(2, 11), DRAFT_TARGET(4, 11), DRAFT_TARGET(6, 11),
                                              DRAFT_TARGET(8, 11), DRAFT_TARGET(10, 11)};
static const vipo_sampler_options thresholds[] = {DRAFT_TARGET(10, 4), DRAFT_TARGET(10, 6),
                                                  DRAFT_TARGET(10, 8), DRAFT_TARGET(10, 10),
                                                  DRAFT_TARGET(10, 12)};
static const char *const one_camera[] = {"corner"};

#define LIST(samplers_) .samplers = (samplers_), .n_samplers = sizeof(samplers_) / sizeof *(samplers_)

static const vipo_eval_suite suites[] = {
    {.name = "quick",
     .summary = "11 tasks, 1 camera, 3 seeds, the sampler that is given",
     .profile = VIPO_SIM_FARAMA_V3,
     .cameras = one_camera,
     .n_cameras = 1,
     .seeds = 3},
    {.name = "paper-metaworld",
     .summary = "11 tasks, 3 cameras, 25 seeds as AVDC's results; DDIM with 100, 50 and 25 steps, "
                "DPM-Solver++ with 20, "
                "draft-target with the paper's chunk 10 and threshold 11",
     .profile = VIPO_SIM_AVDC_V2,
     .seeds = 25,
     LIST(compared)},
    {.name = "paper-chunks",
     .summary = "the same episodes; draft-target with chunks 2, 4, 6, 8, 10 at threshold 11",
     .profile = VIPO_SIM_AVDC_V2,
     .seeds = 25,
     LIST(chunks)},
    {.name = "paper-thresholds",
     .summary = "the same episodes; draft-target with thresholds 4, 6, 8, 10, 12 at chunk 10",
     .profile = VIPO_SIM_AVDC_V2,
     .seeds = 25,
     LIST(thresholds)},
};

const vipo_eval_suite *vipo_eval_suite_at(int i)
{
    return i >= 0 && i < (int)(sizeof suites / sizeof *suites) ? &suites[i] : NULL;
}
