/* Drawing and text, at and beyond the edges. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "media/canvas.h"
#include "media/font.h"

enum { HEIGHT = 24, WIDTH = 40 };

static uint8_t pixels[HEIGHT * WIDTH * 3 + 1];
static vipo_image canvas = {pixels, HEIGHT, WIDTH};
static const vipo_colour white = {255, 255, 255}, black = {0, 0, 0}, red = {200, 0, 0};

static int clear(void **state)
{
    (void)state;
    vipo_canvas_fill(&canvas, white);
    pixels[HEIGHT * WIDTH * 3] = 77; /* a guard behind the picture */
    return 0;
}

static int check_guard(void **state)
{
    (void)state;
    return pixels[HEIGHT * WIDTH * 3] == 77 ? 0 : 1;
}

static int count_dark(void)
{
    int n = 0;
    for (int i = 0; i < HEIGHT * WIDTH; i++) n += pixels[3 * i + 1] < 128;
    return n;
}

static void clips_rectangles(void **state)
{
    (void)state;
    vipo_canvas_rectangle(&canvas, -5, -5, 7, 8, red);
    assert_int_equal(count_dark(), 2 * 3);
    vipo_canvas_rectangle(&canvas, HEIGHT - 1, WIDTH - 2, 50, 50, red);
    assert_int_equal(count_dark(), 2 * 3 + 2);
    vipo_canvas_rectangle(&canvas, HEIGHT + 9, 0, 5, 5, red);
    vipo_canvas_rectangle(&canvas, 5, 5, -3, 4, red);
    assert_int_equal(count_dark(), 2 * 3 + 2);
    vipo_canvas_outline(&canvas, 10, 10, 5, 6, black);
    assert_int_equal(count_dark(), 2 * 3 + 2 + 18);
}

static void rounds_and_clamps_frames(void **state)
{
    (void)state;
    assert_int_equal(vipo_canvas_level(-0.1F), 0);
    assert_int_equal(vipo_canvas_level(1.7F), 255);
    assert_int_equal(vipo_canvas_level(NAN), 0);
    assert_int_equal(vipo_canvas_level(0.5F), 128);
    for (int i = 0; i < 256; i++) assert_int_equal(vipo_canvas_level((float)i / 255.0F), i);
    static const float frame[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}; /* black red / green blue */
    vipo_canvas_frame(&canvas, 2, 3, frame, 2, 2, 3);
    static const uint8_t green[] = {0, 255, 0}, blue[] = {0, 0, 255};
    assert_memory_equal(pixels + ((2 + 5) * WIDTH + 3 + 2) * 3, green, 3);
    assert_memory_equal(pixels + ((2 + 3) * WIDTH + 3 + 3) * 3, blue, 3);
    vipo_canvas_frame(&canvas, -4, WIDTH - 3, frame, 2, 2, 3); /* clipped on two sides */
}

static void has_every_glyph(void **state)
{
    (void)state;
    for (int c = ' '; c <= '~'; c++) {
        const char character = (char)c;
        assert_in_range(vipo_font_width(character), 1, 7);
        int ink = 0;
        for (int y = -1; y <= VIPO_FONT_HEIGHT; y++)
            for (int x = -1; x <= 8; x++) ink += vipo_font_ink(character, y, x);
        if (c == ' ') assert_int_equal(ink, 0);
        if (c != ' ') assert_true(ink > 0);
        for (int x = -1; x <= 8; x++) assert_false(vipo_font_ink(character, VIPO_FONT_HEIGHT, x));
        /* no two glyphs alike */
        for (int d = ' '; d < c; d++) {
            int differ = vipo_font_width((char)d) != vipo_font_width(character);
            for (int y = 0; y < VIPO_FONT_HEIGHT; y++)
                for (int x = 0; x < 8; x++)
                    differ += vipo_font_ink(character, y, x) != vipo_font_ink((char)d, y, x);
            if (!differ) fail_msg("'%c' and '%c' look the same", c, d);
        }
    }
    assert_int_equal(vipo_font_width('\t'), vipo_font_width('?'));
}

static void draws_text(void **state)
{
    (void)state;
    vipo_canvas_text(&canvas, 1, 1, "Hi", 1, black);
    const int small = count_dark();
    assert_int_equal(small, 7 + 7 + 3 + 6); /* H: two stems and a bar; i: a stem with a gap */
    clear(NULL);
    vipo_canvas_text(&canvas, 1, 1, "Hi", 2, black);
    assert_in_range(count_dark(), 3 * small, 4 * small);
    for (int y = -20; y < HEIGHT + 3; y += 7)
        vipo_canvas_text(&canvas, y, -8, "clipped on all sides @", 2, black);
    assert_int_equal(vipo_text_width("", 2), 0);
    assert_int_equal(vipo_text_width("\xc3\xa9\xe2\x80\xa6", 1), vipo_text_width("??", 1));
    assert_int_equal(vipo_text_width("ab", 3), 3 * vipo_text_width("ab", 1));
}

static void breaks_lines(void **state)
{
    (void)state;
    const char *text = "open the  door", *next;
    assert_int_equal(vipo_text_line(text, 1, 1000, &next), strlen(text));
    assert_string_equal(next, "");
    assert_int_equal(vipo_text_line(text, 1, vipo_text_width("open the", 1), &next), 8);
    assert_string_equal(next, "door");
    assert_int_equal(vipo_text_line(text, 1, vipo_text_width("open the ", 1), &next), 8);
    assert_int_equal(vipo_text_line(text, 1, vipo_text_width("open th", 1), &next), 4);
    assert_string_equal(next, "the  door");
    assert_int_equal(vipo_text_line(text, 1, vipo_text_width("ope", 1), &next), 3);
    assert_string_equal(next, "n the  door");
    assert_int_equal(vipo_text_line(text, 1, 1, &next), 0);
    assert_int_equal(vipo_text_line("", 1, 100, &next), 0);
}

static void shortens(void **state)
{
    (void)state;
    char out[16];
    vipo_text_shorten(out, sizeof out, "door", 1, 1000);
    assert_string_equal(out, "door");
    vipo_text_shorten(out, sizeof out, "open the door", 1, vipo_text_width("open...", 1));
    assert_string_equal(out, "open...");
    vipo_text_shorten(out, sizeof out, "open the door of the cupboard", 1, 1000); /* no room in out */
    assert_string_equal(out, "open the doo...");
    vipo_text_shorten(out, sizeof out, "door", 1, 2);
    assert_string_equal(out, "");
}

#define drawing_test(f) cmocka_unit_test_setup_teardown(f, clear, check_guard)

int main(void)
{
    const struct CMUnitTest tests[] = {
        drawing_test(clips_rectangles), drawing_test(rounds_and_clamps_frames),
        drawing_test(has_every_glyph),  drawing_test(draws_text),
        drawing_test(breaks_lines),     drawing_test(shortens),
    };
    return cmocka_run_group_tests_name("canvas", tests, NULL, NULL);
}
