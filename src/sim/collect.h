/* A data set being made, vipo_sim_collect: settings and files of the folder (collect_folder.c), one episode (take.c), the
 * episodes that are complete and the index of them (collect_index.c), the workers (collect.c).
 *
 * An episode is complete when its file in episodes/ is there, which comes after its videos; everything is renamed into
 * place. So the folder needs no other memory of how far it is. */
#ifndef VIPO_SIM_COLLECT_H
#define VIPO_SIM_COLLECT_H

#include <jansson.h>

#include "sim/metaworld.h"

enum { VIPO_COLLECT_CAMERAS = 3, VIPO_COLLECT_FORMAT = 1, VIPO_COLLECT_NAME = 64 };

/* Environment steps per second, the clock of the videos. */
#define VIPO_COLLECT_CLOCK 80.0

typedef struct vipo_collection {
    const char *folder;
    vipo_sim_collect_options options; /* checked */
    int tasks[VIPO_TASKS], n_tasks;   /* numbers, without repetition */
    const char *cameras[VIPO_COLLECT_CAMERAS];
    int n_cameras;
    int lock; /* descriptor, -1: none */
} vipo_collection;

/* ---- collect_folder.c ---- */

/* Checks the options, makes the folder or compares its settings, locks it against others and removes what an interruption
 * left behind. */
vipo_status vipo_collection_open(vipo_collection *out, const char *folder,
                                 const vipo_sim_collect_options *options, vipo_error *error);
void vipo_collection_close(vipo_collection *collection);
/* Names of an episode's files, relative to the folder, and one put behind the folder's name, to be freed. */
void vipo_collection_episode(const vipo_collection *collection, int task, uint64_t seed,
                             char out[VIPO_COLLECT_NAME]);
void vipo_collection_video(const vipo_collection *collection, int task, uint64_t seed, int camera,
                           char out[VIPO_COLLECT_NAME]);
vipo_status vipo_collection_path(const vipo_collection *collection, const char *name, char **out,
                                 vipo_error *error);

/* ---- take.c ---- */

/* An episode as it happened, and what is kept of it in pictures. */
typedef struct vipo_take vipo_take;

/* What a worker's work asks while it goes on: true ends it with VIPO_CANCELLED. done: share of the episode, 0..1. */
typedef struct vipo_take_watch {
    void *user;
    bool (*stop)(void *user, double done);
} vipo_take_watch;

/* Runs the expert from `seed`; if that succeeds (or failures are kept) writes videos and episode and sets *kept.
 * opposite: an environment of the opposite task, which comes first; NULL: none. */
vipo_status vipo_take_make(const vipo_collection *collection, vipo_sim *sim, vipo_sim *opposite,
                           uint64_t seed, const vipo_take_watch *watch, bool *kept, vipo_error *error);
/* Which states of an episode of `steps` steps are frames: 0 and every stride-th up to the last. Returns how many, at most
 * VIPO_SIM_MAX_STEPS + 1. */
int vipo_take_frames(const vipo_sim_collect_options *options, int steps, int *frames, int *stride);

/* ---- collect_index.c ---- */

typedef struct vipo_kept_episode {
    int task;
    uint64_t seed;
    int steps, first_success; /* 0: none */
    int n_frames;
    int frames[VIPO_SIM_MAX_STEPS + 1];
    double psnr[VIPO_COLLECT_CAMERAS]; /* 0: lossless */
    double drawn
        [VIPO_COLLECT_CAMERAS]; /* vipo_hash_bytes of the pictures; -1: of an earlier version, not known */
    size_t video_bytes;
} vipo_kept_episode;

/* False if the episode is not complete. */
bool vipo_kept_episode_read(const vipo_collection *collection, int task, uint64_t seed,
                            vipo_kept_episode *out);
/* A seed without success. */
typedef struct vipo_seed {
    int task;
    uint64_t seed;
} vipo_seed;
/* Writes index.jsonl and skipped.jsonl from lists sorted by task (its place in the collection) and seed; fills counts. */
vipo_status vipo_collection_write_index(const vipo_collection *collection, const vipo_seed *kept, int n_kept,
                                        const vipo_seed *skipped, int n_skipped,
                                        vipo_sim_collect_result *result, vipo_error *error);

#endif
