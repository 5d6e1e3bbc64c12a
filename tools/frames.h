/* Observations with their tasks, as the model sees them. */
#ifndef VIPO_TOOLS_FRAMES_H
#define VIPO_TOOLS_FRAMES_H

#include "tool.h"

typedef struct frame {
    char *text;
    vipo_array cond; /* [1][H][W][3] */
} frame;

typedef struct frame_list {
    frame *list;
    int count, room;
} frame_list;

/* Reads the picture and preprocesses it for the model folder. Returns an exit status; frames_free in every case. */
int frames_add(tool *t, frame_list *frames, const char *image, const char *text, const char *model);
/* The frames of a JSON file: an array of 1 to `most` objects with members file, relative to the JSON file's folder, and
 * text. Returns an exit status; frames_free in every case. */
int frames_read(tool *t, frame_list *frames, const char *path, const char *model, int most);
void frames_free(frame_list *frames);

#endif
