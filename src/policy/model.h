/* A model folder in memory: configuration, networks, tokenizer, schedule. Public functions: vipo/vipo.h. */
#ifndef VIPO_POLICY_MODEL_H
#define VIPO_POLICY_MODEL_H

#include "media/preprocess.h"
#include "nets/clip_bpe.h"
#include "nets/clip_text.h"
#include "nets/unet3d.h"
#include "sampling/schedule.h"

struct vipo_model {
    char *folder;
    vipo_config config;
    vipo_preprocess_steps preprocess;
    const vipo_ops *ops;
    vipo_choices choices; /* of methods, for the network's convolutions */
    vipo_schedule schedule;
    vipo_unet3d *unet;    /* NULL: not asked for */
    vipo_clip_text *text; /* NULL: not asked for, or the folder has none */
    vipo_clip_bpe *bpe;   /* with text */
    vipo_load_times load;
    vipo_model_info info; /* as it was when the model was opened */
};

/* "folder/file" into path. */
enum { VIPO_PATH_ROOM = 4096 };
vipo_status vipo_model_path(char path[VIPO_PATH_ROOM], const char *folder, const char *file,
                            vipo_error *error);

/* config.json and what follows from it. */
vipo_status vipo_model_read_config(const char *folder, vipo_config *config, vipo_preprocess_steps *preprocess,
                                   vipo_error *error);

/* Threads that open a model. 0: all cores, or one where the process may not have as many. */
vipo_status vipo_model_open_pool(vipo_pool **out, int threads, vipo_error *error);

/* Chooses the methods of the network that model->config describes, for model->ops. pool: of options->threads. */
vipo_status vipo_model_choose_methods(vipo_model *model, const vipo_model_options *options, vipo_pool *pool,
                                      vipo_error *error);

/* Fails with one line if the model has no text encoder. */
vipo_status vipo_model_need_text(const vipo_model *model, vipo_error *error);

#endif
