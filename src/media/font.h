/* The bitmap font of captions: proportional, 7 rows for capitals and 2 below the line. */
#ifndef VIPO_MEDIA_FONT_H
#define VIPO_MEDIA_FONT_H

#include <stdbool.h>

enum { VIPO_FONT_HEIGHT = 9, VIPO_FONT_BASELINE = 7, VIPO_FONT_GAP = 1 };

/* Width in pixels of an ASCII character 32..126; others are drawn as '?'. */
int vipo_font_width(char character);
/* True where the character has ink; false outside of it. */
bool vipo_font_ink(char character, int y, int x);

#endif
