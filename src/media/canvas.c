#include "media/canvas.h"

#include <stdio.h>
#include <string.h>

#include "media/font.h"

void vipo_canvas_rectangle(vipo_image *canvas, int y, int x, int height, int width, vipo_colour colour)
{
    const int top = y < 0 ? 0 : y, left = x < 0 ? 0 : x;
    const int bottom = y + height < canvas->height ? y + height : canvas->height;
    const int right = x + width < canvas->width ? x + width : canvas->width;
    for (int i = top; i < bottom; i++) {
        uint8_t *to = canvas->data + ((size_t)i * (size_t)canvas->width + (size_t)left) * 3;
        for (int j = left; j < right; j++) {
            *to++ = colour.r;
            *to++ = colour.g;
            *to++ = colour.b;
        }
    }
}

void vipo_canvas_fill(vipo_image *canvas, vipo_colour colour)
{
    vipo_canvas_rectangle(canvas, 0, 0, canvas->height, canvas->width, colour);
}

void vipo_canvas_outline(vipo_image *canvas, int y, int x, int height, int width, vipo_colour colour)
{
    vipo_canvas_rectangle(canvas, y, x, 1, width, colour);
    vipo_canvas_rectangle(canvas, y + height - 1, x, 1, width, colour);
    vipo_canvas_rectangle(canvas, y, x, height, 1, colour);
    vipo_canvas_rectangle(canvas, y, x + width - 1, height, 1, colour);
}

uint8_t vipo_canvas_level(float value)
{
    if (!(value > 0)) return 0;
    return value < 1 ? (uint8_t)(value * 255.0F + 0.5F) : 255;
}

void vipo_canvas_frame(vipo_image *canvas, int y, int x, const float *frame, int height, int width, int scale)
{
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++, frame += 3) {
            const vipo_colour colour = {vipo_canvas_level(frame[0]), vipo_canvas_level(frame[1]),
                                        vipo_canvas_level(frame[2])};
            vipo_canvas_rectangle(canvas, y + i * scale, x + j * scale, scale, scale, colour);
        }
}

/* ---- text ---- */

static bool continues_character(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

static char drawn_character(char byte)
{
    return byte >= ' ' && byte <= '~' ? byte : '?';
}

static int advance(char byte, int size)
{
    return continues_character(byte) ? 0 : (vipo_font_width(drawn_character(byte)) + VIPO_FONT_GAP) * size;
}

int vipo_text_width(const char *text, int size)
{
    int width = 0;
    for (; *text; text++) width += advance(*text, size);
    return width > 0 ? width - VIPO_FONT_GAP * size : 0;
}

int vipo_text_height(int size)
{
    return VIPO_FONT_HEIGHT * size;
}

/* How much of pixel (y, x) of a glyph enlarged `size` times is ink, 0..1: the bitmap interpolated
 * linearly and sharpened, which rounds corners and smooths diagonals but keeps straight edges crisp. */
static float coverage(char character, int y, int x, int size)
{
    if (size == 1) return vipo_font_ink(character, y, x) ? 1 : 0;
    const float v = ((float)y + 0.5F) / (float)size - 0.5F, u = ((float)x + 0.5F) / (float)size - 0.5F;
    const int i = (int)(v + 1) - 1, j = (int)(u + 1) - 1; /* floor, as v, u > -1 */
    const float dv = v - (float)i, du = u - (float)j;
    float ink = 0;
    if (vipo_font_ink(character, i, j)) ink += (1 - dv) * (1 - du);
    if (vipo_font_ink(character, i, j + 1)) ink += (1 - dv) * du;
    if (vipo_font_ink(character, i + 1, j)) ink += dv * (1 - du);
    if (vipo_font_ink(character, i + 1, j + 1)) ink += dv * du;
    const float low = 0.25F, high = 0.75F;
    const float t = (ink - low) / (high - low);
    return t <= 0 ? 0 : t >= 1 ? 1 : t;
}

static uint8_t mix(uint8_t under, uint8_t over, float share)
{
    return (uint8_t)((float)under + ((float)over - (float)under) * share + 0.5F);
}

static void draw_character(vipo_image *canvas, int y, int x, char character, int size, vipo_colour colour)
{
    const int width = vipo_font_width(character) * size;
    for (int i = 0; i < VIPO_FONT_HEIGHT * size; i++)
        for (int j = 0; j < width; j++) {
            const int row = y + i, column = x + j;
            if (row < 0 || column < 0 || row >= canvas->height || column >= canvas->width) continue;
            const float share = coverage(character, i, j, size);
            uint8_t *pixel = canvas->data + ((size_t)row * (size_t)canvas->width + (size_t)column) * 3;
            pixel[0] = mix(pixel[0], colour.r, share);
            pixel[1] = mix(pixel[1], colour.g, share);
            pixel[2] = mix(pixel[2], colour.b, share);
        }
}

void vipo_canvas_text(vipo_image *canvas, int y, int x, const char *text, int size, vipo_colour colour)
{
    for (; *text; text++) {
        if (!continues_character(*text)) draw_character(canvas, y, x, drawn_character(*text), size, colour);
        x += advance(*text, size);
    }
}

size_t vipo_text_line(const char *text, int size, int width, const char **next)
{
    size_t length = 0, words = 0; /* bytes that fit; bytes up to the last end of a word */
    int used = -VIPO_FONT_GAP * size;
    for (; text[length]; length++) {
        used += advance(text[length], size);
        if (used > width && !continues_character(text[length])) break;
        if (text[length] != ' ' && (text[length + 1] == ' ' || text[length + 1] == '\0')) words = length + 1;
    }
    if (text[length] && words > 0) length = words;
    const char *rest = text + length;
    while (*rest == ' ') rest++;
    *next = rest;
    return length;
}

void vipo_text_shorten(char *out, size_t room, const char *text, int size, int width)
{
    snprintf(out, room, "%s", text);
    size_t length = strlen(out);
    if (!text[length] && vipo_text_width(out, size) <= width) return;
    while (length > 0) {
        length--;
        if (continues_character(out[length]) || length + 4 > room) continue;
        memcpy(out + length, "...", 4);
        if (vipo_text_width(out, size) <= width) return;
        out[length] = '\0'; /* the character before goes next */
    }
}
