/* Drawing on an RGB8 picture. Everything is clipped to the canvas. Coordinates are (y, x) from the top
 * left, sizes (height, width), in pixels. */
#ifndef VIPO_MEDIA_CANVAS_H
#define VIPO_MEDIA_CANVAS_H

#include "core/status.h"

typedef struct vipo_colour {
    uint8_t r, g, b;
} vipo_colour;

void vipo_canvas_fill(vipo_image *canvas, vipo_colour colour);
void vipo_canvas_rectangle(vipo_image *canvas, int y, int x, int height, int width, vipo_colour colour);
/* The outermost pixels of that rectangle. */
void vipo_canvas_outline(vipo_image *canvas, int y, int x, int height, int width, vipo_colour colour);

/* A frame [height][width][3] in [0,1] (clamped, rounded), every value scale x scale pixels large. */
void vipo_canvas_frame(vipo_image *canvas, int y, int x, const float *frame, int height, int width,
                       int scale);
/* 255 value, clamped and rounded. */
uint8_t vipo_canvas_level(float value);

/* Text of one line in media/font.h enlarged `size` times with rounded corners; y, x is its top left.
 * UTF-8: whatever is not ASCII is drawn as one '?' a character. */
void vipo_canvas_text(vipo_image *canvas, int y, int x, const char *text, int size, vipo_colour colour);
int vipo_text_width(const char *text, int size);
int vipo_text_height(int size);

/* Longest beginning of text that is at most `width` wide, cut between words if possible; *next is where
 * the rest begins. Returns the length in bytes, 0 if text is empty or nothing fits. */
size_t vipo_text_line(const char *text, int size, int width, const char **next);
/* Copies text to out, its end replaced by "..." if it is wider than `width`. */
void vipo_text_shorten(char *out, size_t room, const char *text, int size, int width);

#endif
