/* What a method of optical flow provides (policy/flow.c holds the table). */
#ifndef VIPO_POLICY_FLOW_METHOD_H
#define VIPO_POLICY_FLOW_METHOD_H

#include "core/status.h"
#include "vipo/action.h"

/* Neighbouring pictures, RGB8 [n][height][width][3], n >= 2. */
typedef struct vipo_flow_frames {
    const uint8_t *data;
    int n, height, width;
} vipo_flow_frames;

typedef struct vipo_flow_method_table {
    const char *name, *summary;
    int min_side;     /* of pictures, in pixels */
    bool needs_model; /* else there must be none */
    /* *state is NULL on failure, and where a method keeps nothing. */
    vipo_status (*open)(void **state, const vipo_flow_options *options, const vipo_callbacks *callbacks,
                        vipo_error *error);
    void (*close)(void *state);
    /* forward, and backward unless NULL: [n - 1][height][width][2]. */
    vipo_status (*run)(void *state, const vipo_flow_frames *frames, float *forward, float *backward,
                       const vipo_callbacks *callbacks, vipo_error *error);
} vipo_flow_method_table;

extern const vipo_flow_method_table vipo_flow_unimatch;
extern const vipo_flow_method_table vipo_flow_dis;

static inline const uint8_t *vipo_flow_picture(const vipo_flow_frames *frames, int i)
{
    return frames->data + (size_t)i * (size_t)frames->height * (size_t)frames->width * 3;
}

#endif
