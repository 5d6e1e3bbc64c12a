/* Optical flow network: GMFlow of two scales with six refinements (Xu et al., "GMFlow", CVPR 2022, and "Unifying Flow,
 * Stereo and Depth Estimation", TPAMI 2023), the one that AVDC uses. Features of both pictures at 1/8 and 1/4 meet in a
 * transformer with shifted windows; matching over the whole map at 1/8, then in 9x9 neighbourhoods at 1/4; recurrent
 * refinement; convex upsampling.
 *
 * Maps are [height][width][channel], flows [height][width][2] (x, y) in pixels of their own map. */
#ifndef VIPO_NETS_UNIMATCH_H
#define VIPO_NETS_UNIMATCH_H

#include "nets/weight_store.h"

enum {
    VIPO_UNIMATCH_CHANNELS = 128,
    VIPO_UNIMATCH_MULTIPLE = 32, /* of which both sides of a picture are multiples */
    VIPO_UNIMATCH_PARAMETERS = 7360688,
};

typedef struct vipo_unimatch vipo_unimatch;

/* Weights under the names of the published checkpoint. */
vipo_status vipo_unimatch_open(vipo_unimatch **out, const vipo_packer *packer,
                               const vipo_weight_source *source, const vipo_callbacks *callbacks,
                               vipo_error *error);
void vipo_unimatch_close(vipo_unimatch **net);
size_t vipo_unimatch_bytes(const vipo_unimatch *net);

/* What one thread needs to run the network: memory that grows to what a picture size asks for, and is kept. */
typedef struct vipo_unimatch_session vipo_unimatch_session;
/* Called with intermediates: item 0 is the direction from the first picture to the second (or the first picture). */
typedef void vipo_unimatch_dump(void *user, const char *name, int item, const float *value, int height,
                                int width, int channels);

vipo_status vipo_unimatch_session_open(vipo_unimatch_session **out, const vipo_unimatch *net, vipo_pool *pool,
                                       vipo_error *error);
void vipo_unimatch_session_close(vipo_unimatch_session **session);
void vipo_unimatch_session_dump(vipo_unimatch_session *session, vipo_unimatch_dump *dump, void *user);
size_t vipo_unimatch_session_bytes(const vipo_unimatch_session *session);

/* Features of a picture [height][width][3], 0..255: coarse [height / 8][width / 8][128], fine [height / 4][width /
 * 4][128]. */
vipo_status vipo_unimatch_features(vipo_unimatch_session *session, const float *picture, int height,
                                   int width, int item, float *coarse, float *fine,
                                   const vipo_callbacks *callbacks, vipo_error *error);

typedef struct vipo_unimatch_pair {
    int height, width; /* of the pictures */
    const float *coarse[2], *fine[2];
    float *forward, *backward; /* [height][width][2]; backward may be NULL */
} vipo_unimatch_pair;
vipo_status vipo_unimatch_flow(vipo_unimatch_session *session, const vipo_unimatch_pair *pair,
                               const vipo_callbacks *callbacks, vipo_error *error);

/* Bilinear, corners on corners: source = i (n_in - 1) / (n_out - 1). gain [channels] multiplies the result; NULL: 1. */
void vipo_bilinear_corners(vipo_pool *pool, const float *in, int in_height, int in_width, int channels,
                           float *out, int out_height, int out_width, const float *gain);

#endif
