/* Points that are followed from frame to frame, and the rigid motion of some of them. */
#ifndef VIPO_POLICY_TRACKS_H
#define VIPO_POLICY_TRACKS_H

#include "policy/field.h"
#include "policy/motion_draws.h"
#include "policy/rigid_motion.h"

typedef struct vipo_tracks {
    double *points; /* [n][3] where they are */
    double *uv;     /* [n][2] the same in the picture */
    double *to;     /* [n][2] where the next frame shows them */
    bool *inside;   /* [n] which of them are meant */
    int n;
} vipo_tracks;

/* Copies n points; all are inside. */
vipo_status vipo_tracks_open(vipo_tracks *out, const double *points, const double *uv, int n,
                             vipo_error *error);
void vipo_tracks_close(vipo_tracks *tracks);

/* Copies point i to the end of out, which has room for it. */
void vipo_tracks_add(vipo_tracks *out, const vipo_tracks *from, int i);
/* Copies those inside into out, which has room for all; it may be the same. */
void vipo_tracks_select(const vipo_tracks *tracks, vipo_tracks *out);

/* Forgets all points but those inside. */
void vipo_tracks_keep(vipo_tracks *tracks);
/* Moves all points; uv follows them. */
void vipo_tracks_move(vipo_tracks *tracks, const vipo_projection *camera, const double motion[16]);

/* The motion of all points, by the named fit. VIPO_NUMERIC if none has a finite loss. */
vipo_status vipo_tracks_fit(const vipo_tracks *tracks, const vipo_projection *camera, vipo_motion_fit fit,
                            int restarts, vipo_draw_source *source, vipo_rigid_fit *out, vipo_error *error);

/* Frame k of a flow [n][H][W][2]. */
vipo_field vipo_flow_frame(const vipo_array *flow, int k);

/* VIPO_OK if the arrays are there and fit each other, and every flow is finite. */
vipo_status vipo_motion_check_request(const vipo_motion_request *request, bool with_mask, vipo_error *error);
/* VIPO_OK if the numbers that both kinds of options have are in their ranges. */
vipo_status vipo_motion_check_counts(int samples, int restarts, vipo_error *error);

#endif
