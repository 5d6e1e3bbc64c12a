/* vipo: video-generation robot policies. One observation frame and a task text in, seven imagined
 * future frames out.
 *
 * From simple to advanced:
 *   1. status and errors          5. planning: vipo_planner_plan
 *   2. arrays and images          6. writing plans
 *   3. model                      7. single network calls (parity, benchmarks)
 *   4. sampler options            8. converting published models
 *                                 9. output files of one's own
 *
 * Conventions
 * - Every function that can fail returns a vipo_status and takes a vipo_error * (may be NULL) that
 *   receives the code and one line saying what, where, and what would be right.
 * - On failure nothing is allocated and *out is NULL / zeroed.
 * - A vipo_model is constant once open and may be shared by threads; a vipo_planner is one mutable
 *   session, used by one thread at a time. Results belong to the caller.
 * - Files are mapped into memory while they are read: replace them by renaming, never in place. (One that is
 *   cut short meanwhile raises SIGBUS, as for every program that maps files.)
 * - Arrays are float32, C order, channels last: a video is [samples][frames][height][width][3].
 */
#ifndef VIPO_VIPO_H
#define VIPO_VIPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(VIPO_STATIC) || !defined(__GNUC__)
#define VIPO_API
#else
#define VIPO_API __attribute__((visibility("default")))
#endif

#define VIPO_VERSION_MAJOR 0
#define VIPO_VERSION_MINOR 1
#define VIPO_VERSION_PATCH 0

/* "0.1.0" */
VIPO_API const char *vipo_version(void);

/* ---- 1. status and errors ------------------------------------------------------------------- */

#define VIPO_STATUS_LIST(X)                                                                                  \
    X(OK, "ok")                                                                                              \
    X(INVALID_ARGUMENT, "invalid argument")                                                                  \
    X(OUT_OF_MEMORY, "out of memory")                                                                        \
    X(IO, "input/output error")                                                                              \
    X(FORMAT, "malformed file")                                                                              \
    X(MISMATCH, "name, shape or type mismatch")                                                              \
    X(UNSUPPORTED, "not supported")                                                                          \
    X(NUMERIC, "not a number")                                                                               \
    X(CANCELLED, "cancelled")                                                                                \
    X(INTERNAL, "internal error")

typedef enum vipo_status {
#define VIPO_STATUS_ENUM(name, text) VIPO_##name,
    VIPO_STATUS_LIST(VIPO_STATUS_ENUM)
#undef VIPO_STATUS_ENUM
} vipo_status;

typedef struct vipo_error {
    vipo_status status;
    char message[512]; /* one line, no newline, UTF-8 */
} vipo_error;

VIPO_API const char *vipo_status_text(vipo_status status);

typedef enum vipo_log_level {
    VIPO_LOG_ERROR,
    VIPO_LOG_WARNING,
    VIPO_LOG_INFO,
    VIPO_LOG_DEBUG
} vipo_log_level;

/* What a long call tells its caller while it works. Every member may be NULL. Called from the thread
 * that made the call, never from workers. */
typedef struct vipo_callbacks {
    void *user;
    void (*log)(void *user, vipo_log_level level, const char *line);
    /* done of total network evaluations (an estimate that may grow for draft-target); phase is a short
     * word such as "load" or "plan". */
    void (*progress)(void *user, const char *phase, double done, double total);
    /* One JSON object per line, without newline (see docs: trace). */
    void (*trace)(void *user, const char *json_line);
    /* Asked between network operations; true ends the call with VIPO_CANCELLED. */
    bool (*cancelled)(void *user);
} vipo_callbacks;

/* ---- 2. arrays and images ------------------------------------------------------------------- */

#define VIPO_MAX_RANK 6

/* Dense float32 array, C order. Owned by whoever declared it; vipo_array_free releases and zeroes. */
typedef struct vipo_array {
    float *data;
    int rank;
    size_t shape[VIPO_MAX_RANK];
} vipo_array;

VIPO_API vipo_status vipo_array_alloc(vipo_array *out, int rank, const size_t *shape, vipo_error *error);
VIPO_API void vipo_array_free(vipo_array *array);
VIPO_API size_t vipo_array_size(const vipo_array *array); /* elements */

/* NumPy .npy: float16/32/64 and integers are converted to float32 on reading; float32 is written.
 * Writing goes to a temporary file that is renamed at the end. */
VIPO_API vipo_status vipo_npy_read(const char *path, vipo_array *out, vipo_error *error);
VIPO_API vipo_status vipo_npy_write(const char *path, const vipo_array *array, vipo_error *error);

/* 8-bit RGB picture, rows from the top, [height][width][3]. */
typedef struct vipo_image {
    uint8_t *data;
    int height, width;
} vipo_image;

/* PNG or JPEG, recognised by content. Grey and palette become RGB, alpha is dropped, 16 bit -> 8 bit. */
VIPO_API vipo_status vipo_image_read(const char *path, vipo_image *out, vipo_error *error);
VIPO_API vipo_status vipo_image_write_png(const char *path, const vipo_image *image, vipo_error *error);
VIPO_API void vipo_image_free(vipo_image *image);

/* ---- 3. model --------------------------------------------------------------------------------- */

typedef struct vipo_model vipo_model;

enum { VIPO_MODEL_UNET = 1, VIPO_MODEL_TEXT = 2 };

/* A convolution can be computed by several methods (direct, Winograd's of two sizes). Which one is the fastest depends
 * on its size and on the processor, and each rounds in its own way: on one machine all runs take the same ones. */
typedef enum vipo_tuning {
    VIPO_TUNING_DEFAULT, /* $VIPO_TUNE, "on" or "off"; else on */
    VIPO_TUNING_ON, /* the fastest: measured when a model with a new size of layer is opened (under a second for a small
                        model, seconds for a large one) and stored for ever; like OFF where nothing can be stored */
    VIPO_TUNING_OFF, /* a fixed choice, the same on every machine with these kernels */
} vipo_tuning;

typedef struct vipo_model_options {
    /* Op table: "ref", "avx2", "avx512", "amx"; NULL: $VIPO_COMPUTE, else the fastest here but amx, whose rounding errors are
     * about ten times as large. */
    const char *compute;
    vipo_tuning tuning;
    const char *
        cache; /* folder where choices are stored; NULL: $VIPO_CACHE, $XDG_CACHE_HOME/vipo or ~/.cache/vipo */
    unsigned
        parts; /* VIPO_MODEL_*; default both; a folder without text_encoder.safetensors opens, texts are then refused */
    const vipo_callbacks *callbacks; /* borrowed during open */
    bool
        half_weights; /* keep the 3x3 weights of maps of at most 256 pixels as binary16, which halves their memory;
                          a network step then differs by 1e-4 to 1e-3 (relative L2). "ref" takes no notice. */
    int threads; /* that arrange the weights while opening; 0: all cores. Neither the model nor the choice of methods, which
                    is measured with all cores, depends on it. */
} vipo_model_options;

/* Calibration of draft-target-lazy on one model: how far its estimated distances are from the true ones. Kept in the
 * model folder's config.json, as members of "calibration": {"draft_target_lazy": {...}}. */
enum { VIPO_MAX_RATIOS = 128 };
typedef struct vipo_calibration {
    int draft_stride;                   /* what it was measured with and holds for; 0: none */
    int target_stride;                  /* what it was measured with; it holds for others too */
    int plans;                          /* measured */
    int n_ratios;                       /* timesteps / draft_stride - 1: tokens 1, 2, ..., all but the last */
    double ratios[VIPO_MAX_RATIOS];     /* geometric mean of estimate / true distance, 0.01..100 */
    double log_spread[VIPO_MAX_RATIOS]; /* standard deviation of the ratio's logarithm over plans, 0..10 */
} vipo_calibration;

/* Everything a caller may want to know about a model without loading its payload. Strings are owned
 * by the struct's fixed buffers. */
typedef struct vipo_model_info {
    char name[64];
    int height, width, frames; /* of the video; frames = future frames */
    int model_channels, levels, channel_mult[8], res_blocks, attention_ds[8], attention_levels;
    int head_channels, token_channels;
    int timesteps;
    char objective[16];
    bool has_text_encoder;
    int text_width, text_layers, vocabulary;
    size_t unet_parameters, text_parameters;
    size_t unet_file_bytes, text_file_bytes;
    char unet_dtype[8], text_dtype[8];
    char preprocess[256]; /* human-readable, e.g. "resize 240x320, centre crop 128x128, box mean 2x2" */
    int n_tensors;
    vipo_calibration calibration; /* draft_stride 0: none */
} vipo_model_info;

/* Where the seconds of opening a model went, network and text encoder together. */
typedef struct vipo_load_times {
    double config;    /* config.json */
    double tokenizer; /* vocab.json, merges.txt */
    double map;       /* weight files: mapped, their headers read and checked */
    double read;      /* tensors: copied or converted, every number checked */
    double pack;      /* tensors: packed for the kernels; the list of operations written down */
    double total;
} vipo_load_times;

VIPO_API void vipo_model_default_options(vipo_model_options *options);
/* Opens a model folder: config.json, unet.safetensors and, if there, text_encoder.safetensors,
 * vocab.json, merges.txt. Every tensor is checked by name, shape and type. */
VIPO_API vipo_status vipo_model_open(vipo_model **out, const char *folder, const vipo_model_options *options,
                                     vipo_error *error);
VIPO_API void vipo_model_close(vipo_model **model);
VIPO_API const char *vipo_model_compute(const vipo_model *model); /* name of the op table in use */
VIPO_API void vipo_model_load_times(const vipo_model *model, vipo_load_times *out);
/* Methods in use: "fixed", or "tuned 3f2a91c0", where the same number says that every layer is computed alike. */
VIPO_API const char *vipo_model_methods(const vipo_model *model);
/* Reads config.json and the tensor headers only. */
VIPO_API vipo_status vipo_model_read_info(const char *folder, vipo_model_info *out, vipo_error *error);
VIPO_API void vipo_model_get_info(const vipo_model *model, vipo_model_info *out);

/* How a convolution of the network is computed. */
typedef struct vipo_layer_method {
    const char *kind, *method; /* "3x3", "3x3-stride2", "3x3-upsample2", "time"; "direct", "winograd4", ... */
    int in, out, frames, height, width; /* channels, size of the input */
    bool half_weights;
    int uses;       /* layers of this kind and size */
    double seconds; /* of one call, when it was measured; 0: it was not */
} vipo_layer_method;

typedef struct vipo_methods {
    char compute[16]; /* op table */
    char name[24];    /* as vipo_model_methods; "untuned": fixed so far, to be measured by vipo_model_open */
    vipo_layer_method *layers; /* [n_layers], in order of first use */
    int n_layers;
} vipo_methods;

/* What vipo_model_open would take; opens, measures and stores nothing. options: compute, tuning,
 * cache, half_weights. */
VIPO_API vipo_status vipo_model_read_methods(const char *folder, const vipo_model_options *options,
                                             vipo_methods *out, vipo_error *error);
VIPO_API void vipo_methods_free(vipo_methods *methods);

/* Writes the calibration into the folder's config.json, in place of an old one. All other bytes of the file stay as
 * they are; after a failure all do. Models that are open do not notice. */
VIPO_API vipo_status vipo_model_store_calibration(const char *folder, const vipo_calibration *calibration,
                                                  vipo_error *error);

/* The condition frame the model sees: float32 [1][H][W][3] in [0,1]. */
VIPO_API vipo_status vipo_model_preprocess(const vipo_model *model, const vipo_image *image, vipo_array *out,
                                           vipo_error *error);
/* The same by a folder's config.json, or by AVDC's presets "mw", "thor", "bridge". */
VIPO_API vipo_status vipo_preprocess_folder(const char *folder, const vipo_image *image, vipo_array *out,
                                            vipo_error *error);
VIPO_API vipo_status vipo_preprocess_preset(const char *preset, const vipo_image *image, vipo_array *out,
                                            vipo_error *error);

/* Token ids of a text by a folder's vocab.json and merges.txt (nothing else is read). ids has room for
 * capacity; *count is set to the number of ids. Longer texts are cut to max_length with the end token
 * kept; *truncated (may be NULL) says so. max_length 0: no limit. */
VIPO_API vipo_status vipo_tokenize(const char *folder, const char *text, int max_length, int32_t *ids,
                                   int capacity, int *count, bool *truncated, vipo_error *error);

/* One tensor of a safetensors file's header. */
typedef struct vipo_tensor_info {
    const char *name;
    const char *dtype; /* "F32" ... */
    int rank;
    size_t shape[VIPO_MAX_RANK];
    size_t bytes;
} vipo_tensor_info;
/* Calls visit for each tensor in name order; reads no payload. */
VIPO_API vipo_status vipo_safetensors_list(const char *path,
                                           void (*visit)(void *user, const vipo_tensor_info *info),
                                           void *user, vipo_error *error);

/* The same for a safetensors file or a PyTorch checkpoint (.pt), told apart by content. Names of a
 * checkpoint join the keys of nested dicts with '/': "ema/ema_model.betas". */
VIPO_API vipo_status vipo_weights_list(const char *path,
                                       void (*visit)(void *user, const vipo_tensor_info *info), void *user,
                                       vipo_error *error);

/* ---- 4. sampler options ----------------------------------------------------------------------- */

typedef enum vipo_chunk_rule { VIPO_CHUNK_FRESH, VIPO_CHUNK_REMAINDER } vipo_chunk_rule;

typedef enum vipo_ab2_form { VIPO_AB2_X0, VIPO_AB2_R } vipo_ab2_form;

typedef struct vipo_sampler_options {
    const char *
        name; /* "ddpm", "ddim", "dpm-solver++", "unipc", "ab2", "draft-target", "draft-target-lazy", "auto" */
    int steps; /* 1..timesteps; 0: the sampler's default (ddim 100, the multistep solvers 12 or as many as a
                model of few timesteps has room for, ddpm always all) */
    /* Time grid of ddim and the multistep solvers: "uniform", or "s:P,Q" (also "s/P/Q"): t = round(-1 + T u^P / (u^P +
     * (1-u)^Q)), u = i / steps, finer at both ends. NULL: ddim uniform, ab2 s:1.7,1.15, the others s:1.7,1.5. */
    const char *grid;
    int order;          /* unipc: 2 or 3; 0: 2 */
    vipo_ab2_form form; /* ab2: what is extrapolated */
    double
        fallback; /* ab2: a step whose correction is larger (rms, [-1,1] units) is taken by DDIM; 0: never */
    double guidance; /* classifier-free guidance weight w: (1+w) cond - w uncond; 0: off */
    /* draft-target sampling (arXiv 2603.13438); strides in timesteps */
    int chunk;               /* k: draft tokens per round */
    int draft_stride;        /* delta */
    int target_stride;       /* tau, divides delta */
    double threshold;        /* lambda_0, L2 over the whole video in [-1,1] units */
    double threshold_growth; /* added per round */
    vipo_chunk_rule chunk_rule;
    bool draft_reuse; /* the first target step takes the draft's own network output */
    /* draft-target-lazy: are estimates divided by the model's ratios, if it has some for this draft stride? */
    bool lazy_calibrated;
    bool verify; /* also measure the true distance behind every decision: same plan, more network calls */
    /* auto: largest wanted distance to the exact flow, rms in [-1,1] units; the fastest sampler within it is taken, or
     * the nearest one if there is none. It sets everything else itself, but for guidance. */
    double distance;
} vipo_sampler_options;

VIPO_API void vipo_sampler_default_options(vipo_sampler_options *options);
/* Name of sampler i, NULL past the end; a line that says what it is. */
VIPO_API const char *vipo_sampler_name(int i);
VIPO_API const char *vipo_sampler_summary(int i);

/* A sampler with settings that "auto" may choose. */
typedef struct vipo_sampler_candidate {
    char sampler[40]; /* name and settings as `vipo compare` reads them: "ab2:12", "draft-target:chunk=10" */
    double distance;  /* recorded: rms distance to the exact flow in [-1,1] units */
    double seconds;   /* predicted for the request at hand */
} vipo_sampler_candidate;

/* What "auto" chose, and why. A network call of b rows is taken to last seconds_fixed + seconds_per_row b. */
enum { VIPO_MAX_CANDIDATES = 32 };
typedef struct vipo_sampler_choice {
    double distance; /* wanted */
    double seconds_fixed, seconds_per_row;
    double measure_seconds; /* spent on measuring; 0: known from an earlier plan */
    int n_candidates, chosen;
    bool within; /* the chosen one is within the wanted distance; else none is */
    vipo_sampler_candidate candidates[VIPO_MAX_CANDIDATES];
} vipo_sampler_choice;

/* ---- 5. planning ------------------------------------------------------------------------------ */

typedef struct vipo_planner vipo_planner;

typedef struct vipo_planner_options {
    int threads; /* 0: all cores. Results do not depend on it. */
    int max_batch; /* rows per network call; larger batches are split; 0: by memory. Results do not depend on it. */
} vipo_planner_options;

VIPO_API void vipo_planner_default_options(vipo_planner_options *options);
/* The model must outlive the planner. */
VIPO_API vipo_status vipo_planner_open(vipo_planner **out, const vipo_model *model,
                                       const vipo_planner_options *options, vipo_error *error);
VIPO_API void vipo_planner_close(vipo_planner **planner);
VIPO_API int vipo_planner_threads(const vipo_planner *planner);

/* Where noise comes from: counter-based numbers, the same for any threads and shards; or PyTorch's stream on
 * a CPU, torch.manual_seed(seed) and torch.randn in AVDC's order, to repeat its runs. */
typedef enum vipo_rng { VIPO_RNG_PHILOX, VIPO_RNG_TORCH } vipo_rng;

/* Which of several samples to follow. Higher is better; what each is worth: docs/best-of.md. */
typedef enum vipo_score {
    VIPO_SCORE_NONE,
    VIPO_SCORE_CONSENSUS, /* minus the mean rms distance, in [-1,1] units, to the other samples: the medoid is best */
    VIPO_SCORE_DENOISING, /* minus the mean squared error of the network's v when the finished video is noised again,
                             to 0.3, 0.5 and 0.7 of the timesteps with one fixed noise each: a bound of its
                             log-likelihood is made of such errors (Ho et al. 2020). 3 evaluations per sample */
} vipo_score;
/* "none", "consensus", "denoising"; NULL past the end. */
VIPO_API const char *vipo_score_name(int i);

typedef struct vipo_request {
    const vipo_array *cond;   /* [samples or 1][H][W][3] in [0,1]; required */
    const char *text;         /* UTF-8; or */
    const vipo_array *tokens; /* [1][L][C] text features; takes precedence over text */
    int samples;              /* >= 1 */
    uint64_t seed;
    vipo_rng rng;
    const vipo_array *noise; /* x_T [samples][frames][H][W][3], or NULL: drawn from seed */
    const vipo_array *
        step_noise; /* ddpm only: [timesteps-1 or timesteps][samples][frames][H][W][3] in order of use, or NULL */
    /* Warm start: a plan made before, [samples or 1][frames][H][W][3] as vipo_plan has it ((x+1)/2), or NULL: from pure
     * noise. x0 = 2 warm - 1, moved `executed` frames towards the start (the last frame fills the end), is given the noise
     * of timestep t = from_step, x_t = alpha_t x0 + sigma_t noise, and denoised from there (Meng et al. 2022, SDEdit). */
    const vipo_array *warm;
    /* 0..timesteps-1. -1: timesteps-1 without warm (the only choice there); with it about 35 % of the timesteps. The
     * draft-target samplers start at draft times only: from_step + 1 must be a multiple of the draft stride. ddpm then takes
     * the last from_step (+ 1) entries of step_noise. */
    int from_step;
    int executed; /* 0..frames */
    vipo_sampler_options sampler;
    vipo_score score; /* of the samples; needs one condition frame */
    vipo_callbacks callbacks;
} vipo_request;

VIPO_API void vipo_request_default(vipo_request *request);

typedef struct vipo_plan {
    vipo_array video;            /* [samples][frames][H][W][3], (x+1)/2: nominally [0,1], not clipped */
    char sampler[96];            /* resolved name with settings, e.g. "ddim-100", "ab2-12 from 35" */
    vipo_sampler_choice *choice; /* auto: why that one; owned. NULL: the request named a sampler */
    char compute[16];            /* op table */
    char methods[24];            /* as vipo_model_methods */
    int from_step;               /* timestep that sampling started from */
    int calls;                   /* batched denoiser calls, without those of verify */
    int evaluations;             /* calls x rows, summed over samples; without those of verify */
    int network_rows; /* rows the network really ran: evaluations and verify_evaluations, doubled by guidance */
    int rounds, drafted,
        accepted;    /* draft-target: rounds, draft tokens, accepted tokens; summed over samples */
    bool calibrated; /* draft-target-lazy: the model's ratios were used */
    int verify_calls, verify_evaluations; /* verify: what the true distances cost */
    int verified;                         /* verify: decisions taken by estimates */
    int agreed;                           /* those that true distances would take too */
    /* ab2: root of the sum of the squared corrections of its steps, rms over all samples in [-1,1] units: an estimate of the
     * distance to the exact flow (docs/samplers.md). NAN: the sampler gives none. */
    double error_estimate;
    int fallbacks;         /* ab2: steps of single samples that were taken by DDIM */
    double seconds;        /* sampling alone, without text encoding and loading */
    double text_seconds;   /* tokenizer, text encoder and task embedding */
    vipo_array scores;     /* [samples], higher is better; empty without a score in the request */
    int best;              /* the sample of the highest score, the first of several */
    int score_evaluations; /* rows the network ran for the scores; not in evaluations and network_rows */
    double score_seconds;
    double start_seconds; /* from the call to the first step; without measuring by auto */
    size_t weight_bytes;  /* of network and text encoder, packed */
    size_t arena_bytes;   /* feature maps and rows of network batches */
    size_t scratch_bytes; /* of all threads */
    size_t sampler_bytes; /* states, and the result */
    size_t peak_bytes;    /* all of these */
} vipo_plan;

VIPO_API vipo_status vipo_planner_plan(vipo_planner *planner, const vipo_request *request, vipo_plan *out,
                                       vipo_error *error);
VIPO_API void vipo_plan_free(vipo_plan *plan);

/* Text -> token ids (up to 77 int32 at ids, NULL to skip) and features [1][L][C] (out, NULL to skip). */
VIPO_API vipo_status vipo_planner_encode_text(vipo_planner *planner, const char *text, int32_t *ids,
                                              int *n_ids, vipo_array *out, const vipo_callbacks *callbacks,
                                              vipo_error *error);

/* Times network calls of made-up input: seconds[i] is the shortest of `repeat` calls of rows[i] rows. Batches of more
 * rows than the planner runs at once are split as plans split them. One more call, of rows[0] rows, goes before and is
 * not timed. c(b) = seconds(b) / seconds(1) is what a batch costs. */
VIPO_API vipo_status vipo_planner_measure_batches(vipo_planner *planner, const int *rows, int n, int repeat,
                                                  double *seconds, const vipo_callbacks *callbacks,
                                                  vipo_error *error);

/* Fused multiply-adds that the session's threads do at most, GFLOP/s (2 each), measured for a few milliseconds with
 * vectors as wide as the kernels' (of `ref`: the widest here): what a network call's 2 macs / seconds are held against.
 * 0: no way to measure it on this processor. */
VIPO_API double vipo_planner_measure_peak(vipo_planner *planner);

/* Root mean square of a - b; arrays of equal size. In [-1,1] units for two plans: 2 x this value. */
VIPO_API double vipo_array_rms_difference(const vipo_array *a, const vipo_array *b);

/* ---- 6. writing plans ------------------------------------------------------------------------- */

typedef struct vipo_write_options {
    double fps; /* gif, mp4 */
    int scale;  /* integer enlargement of pictures; 0: chosen so that a frame is about 128 pixels high */
    const char *caption; /* contact sheet, gif: a line under or over the pictures; NULL: none */
} vipo_write_options;

VIPO_API void vipo_write_default_options(vipo_write_options *options);
/* By extension: .gif and .mp4 (condition frame, then the plan), .png (contact sheet: a row per sample,
 * condition frame + plan), .npy (the video as it is). cond: [1 or samples][H][W][3]. */
VIPO_API vipo_status vipo_plan_write(const char *path, const vipo_array *video, const vipo_array *cond,
                                     const vipo_write_options *options, vipo_error *error);
/* Would vipo_plan_write take `samples` plans of the model there? Looks at extension, options and size of the pictures
 * (VIPO_UNSUPPORTED: a side of more than 16384 pixels), so that a mistake is told before plans are made. */
VIPO_API vipo_status vipo_plan_write_check(const char *path, int samples, const vipo_model_info *model,
                                           const vipo_write_options *options, vipo_error *error);
/* True if vipo_plan_write knows the extension. */
VIPO_API bool vipo_plan_can_write(const char *path);

/* One row of a comparison sheet: cond [1][H][W][3] and video [1][frames][H][W][3] (both borrowed). */
typedef struct vipo_sheet_row {
    const char *caption;
    const vipo_array *cond, *video;
} vipo_sheet_row;
VIPO_API vipo_status vipo_sheet_write(const char *path, const vipo_sheet_row *rows, int n_rows,
                                      const vipo_write_options *options, vipo_error *error);

/* ---- 7. single network calls ------------------------------------------------------------------ */

/* One operation of a network call. Strings live as long as the planner's model. Multiply-adds (macs) are those of
 * the plain algorithm: nine per output and input channel of a 3x3 convolution, whatever its method. */
typedef struct vipo_operation {
    const char *name;   /* PyTorch's module name; "time_embed", "emb_layers": linear layers before the maps */
    const char *op;     /* "conv_space", "conv_time", "group_norm", "attention", "linear" */
    const char *kind;   /* of weights: "linear" (1x1), "3x3", "stride2", "upsample2", "time"; else "" */
    const char *method; /* "direct", "winograd2", "winograd4"; "" where there is nothing to choose */
    bool half;          /* its weights are kept as binary16 */
    int rows, frames, height, width, out_channels; /* of its output */
    int in_channels;                               /* of its input */
    int skip_channels;                             /* conv_time: input of the 1x1 skip convolution, or 0 */
    double macs;
    double products; /* multiplications that the method needs */
    double seconds;
} vipo_operation;

typedef struct vipo_denoise_request {
    const vipo_array *x;      /* [B][frames][H][W][3] */
    const vipo_array *cond;   /* [B or 1][H][W][3] in [0,1] */
    const vipo_array *tokens; /* [B or 1][L][C]; or */
    const char *text;
    const int *t; /* B values, or 1 for all */
    int n_t;
    bool unconditional; /* task tokens times 0 */
    /* Called with every intermediate: PyTorch's module name, shape in PyTorch's layout. NULL: off. */
    void (*dump)(void *user, const char *name, const vipo_array *value);
    void *dump_user;
    /* Writes every intermediate as NAME.npy into this folder; it appears, or files of these names in it are
     * replaced, when all of them are complete. NULL: off. */
    const char *dump_folder;
    /* Called with every operation and its time, in order; needs all rows in one batch. NULL: off. */
    void (*profile)(void *user, const vipo_operation *operation);
    void *profile_user;
    vipo_callbacks callbacks;
} vipo_denoise_request;

/* v = network(x, t); *seconds (may be NULL) is the time of the UNet alone. */
VIPO_API vipo_status vipo_planner_denoise(vipo_planner *planner, const vipo_denoise_request *request,
                                          vipo_array *v, double *seconds, vipo_error *error);

/* ---- 8. converting published models ----------------------------------------------------------- */

typedef struct vipo_convert_options {
    const char
        *from; /* "avdc": a checkpoint that AVDC's trainer wrote (.pt); "safetensors": its network; "gcp": a
                         goal-conditioned policy, a checkpoint or safetensors file (see action.h); "unimatch": the optical flow
                         network (.pth; action.h), with checkpoint, dtype and force alone */
    const char *checkpoint; /* the file; required */
    const char *weights;    /* avdc, gcp: "ema" (what they sample with) or "online" */
    const char *preset;     /* sizes and preprocessing: "mw", "thor" or "bridge"; or */
    const char
        *config; /* a JSON file, a model folder's config.json or a flat one; gcp: members that are not as in
                               the published policy, most sizes follow from the tensors; may be NULL */
    int frames;  /* future frames; 0: as preset or config says */
    const char *clip;  /* Hugging Face folder of the CLIP text encoder; NULL: the result has none */
    const char *dtype; /* "f32", "f16" or "bf16" */
    bool force;        /* replace the model in a folder that is not empty */
    vipo_callbacks callbacks;
} vipo_convert_options;

VIPO_API void vipo_convert_default_options(vipo_convert_options *options);
/* Makes the model folder `folder` (absent or empty, see force). Files are read as data only; every tensor is
 * checked by name, shape and type, copied, and the result opened once before it appears under its name. */
VIPO_API vipo_status vipo_convert(const char *folder, const vipo_convert_options *options, vipo_error *error);

/* ---- 9. output files of one's own --------------------------------------------------------------- */

/* Bytes go to a temporary file beside the destination, which commit renames over it: whatever goes wrong, the
 * destination keeps its old content or absence. Pipes, devices and /dev/stdout are written directly. Everything
 * that this library writes is written so. */
typedef struct vipo_output vipo_output;

/* VIPO_IO unless `path` can be written now: asked before the work is done. */
VIPO_API vipo_status vipo_output_check(const char *path, vipo_error *error);
VIPO_API vipo_status vipo_output_open(vipo_output **out, const char *path, vipo_error *error);
/* Complete lines reach the file at once. After a failure, further writes and commit fail with the same error. */
VIPO_API vipo_status vipo_output_write(vipo_output *out, const void *bytes, size_t size, vipo_error *error);
VIPO_API vipo_status vipo_output_commit(vipo_output **out, vipo_error *error); /* closes in every case */
VIPO_API void vipo_output_abandon(vipo_output **out);                          /* accepts NULL in *out */

#ifdef __cplusplus
}
#endif
#endif
