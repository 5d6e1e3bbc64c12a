/* Model folders for tests: links to a shipped one, and a tiny one with made-up weights. */
#ifndef VIPO_TESTS_MODEL_FOLDER_H
#define VIPO_TESTS_MODEL_FOLDER_H

#include "support/files.h"

/* Path of a file of a folder; four calls may be alive at once. */
const char *test_in_folder(const char *folder, const char *file);

/* Makes a folder of that name in the temporary folder (keeps an old one) and returns its path, which lives as
 * long as the program. */
const char *test_folder(const char *name);

/* models/metaworld-64 as a folder of links: config.json, unet.safetensors, text_encoder.safetensors,
 * vocab.json, merges.txt. A test may replace any of them (test_file_write, test_tensors_write). */
const char *test_metaworld_folder(const char *name);

enum { TINY_SIDE = 16, TINY_FRAMES = 3, TINY_TIMESTEPS = 20, TINY_TOKEN_WIDTH = 128 };

/* A model of milliseconds: 16x16, 3 frames, 20 timesteps, channels 32 and 64, attention at 2, made-up weights, the
 * text encoder of models/metaworld-64. */
const char *test_tiny_folder(const char *name);

/* The tiny model's config.json and UNet weights. */
extern const char test_tiny_config[];
void test_tiny_unet(test_tensors *out);

#endif
