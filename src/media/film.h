/* The pictures of an animation: the samples of a plan side by side, the condition frame first, then the
 * plan; under them, if there is a caption, a bar that fills with time and the caption. */
#ifndef VIPO_MEDIA_FILM_H
#define VIPO_MEDIA_FILM_H

#include "core/status.h"

enum { VIPO_FILM_CAPTION_LINES = 4, VIPO_FILM_CAPTION_ROOM = 256 };

/* Geometry in pixels; arrays are borrowed. */
typedef struct vipo_film {
    const vipo_array *video, *cond;
    size_t samples, frames; /* frames: of the film, 1 + future frames */
    int scale;
    int frame_height, frame_width; /* enlarged */
    int height, width;             /* of a picture of the film */
    int text_size, n_lines;        /* 0 lines: no caption, no bar */
    char lines[VIPO_FILM_CAPTION_LINES][VIPO_FILM_CAPTION_ROOM];
} vipo_film;

/* The arrays have passed vipo_plan_check. caption may be NULL. VIPO_UNSUPPORTED if a picture gets too
 * large. */
vipo_status vipo_film_init(vipo_film *out, const char *path, const vipo_array *video, const vipo_array *cond,
                           const vipo_write_options *options, const char *caption, vipo_error *error);

/* Draws picture i, which has height x width pixels. */
void vipo_film_draw(const vipo_film *film, size_t i, vipo_image *canvas);

/* True where a picture shows a frame, false for gaps, bar and caption. */
bool vipo_film_is_frame(const vipo_film *film, int y, int x);

/* Colours outside of the frames: n of them, for a palette. */
const uint8_t (*vipo_film_colours(int *n))[3];

#endif
