/* CLIP's tokenizer against recorded ids of the reference, and against texts and files that are wrong.
 * VIPO_CLIP_VOCAB may name a folder with the whole vocabulary (tests/golden/clip/make_vocabulary.py). */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/clip_bpe.h"
#include "nets/clip_words.h"
#include "support/support.h"

enum { ROOM = 512 };

static vipo_clip_bpe *open_trimmed(void)
{
    vipo_clip_bpe *bpe;
    vipo_error error;
    assert_ok(vipo_clip_bpe_open(&bpe, test_path("tests/golden/clip/vocab.trimmed.json"),
                                 test_path("tests/golden/clip/merges.trimmed.txt"), &error),
              &error);
    return bpe;
}

static json_t *load(const char *relative)
{
    json_error_t where;
    json_t *document = json_load_file(test_path(relative), 0, &where);
    if (!document) fail_msg("%s: %s", relative, where.text);
    return document;
}

/* Encodes and compares with a JSON array of ids. */
static void assert_ids(const vipo_clip_bpe *bpe, const char *text, int max_length, const json_t *expected)
{
    int32_t ids[ROOM];
    int count;
    vipo_error error;
    assert_ok(vipo_clip_bpe_encode(bpe, text, max_length, ids, ROOM, &count, NULL, &error), &error);
    bool same = (size_t)count == json_array_size(expected);
    for (int i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(expected, (size_t)i));
    if (!same) fail_msg("\"%s\": other ids than the reference", text);
}

static void check_golden(const vipo_clip_bpe *bpe)
{
    json_t *golden = load("tests/golden/clip/tokens.json");
    const json_t *strings = json_object_get(golden, "strings"), *string;
    size_t i;
    int cut = 0;
    assert_int_equal(json_array_size(strings), 165);
    json_array_foreach(strings, i, string)
    {
        const char *text = json_string_value(json_object_get(string, "text"));
        const json_t *at_77 = json_object_get(string, "ids_max77"),
                     *at_128 = json_object_get(string, "ids_max128");
        assert_ids(bpe, text, 0, json_object_get(string, "ids"));
        if (at_77) assert_ids(bpe, text, 77, at_77);
        if (at_128) assert_ids(bpe, text, 128, at_128);
        cut += (at_77 != NULL) + (at_128 != NULL);
    }
    assert_int_equal(cut, 3);
    json_decref(golden);
}

static void test_golden_trimmed(void **state)
{
    (void)state;
    vipo_clip_bpe *bpe = open_trimmed();
    assert_int_equal(vipo_clip_bpe_vocabulary(bpe), 49408);
    assert_int_equal(vipo_clip_bpe_begin(bpe), 49406);
    assert_int_equal(vipo_clip_bpe_end(bpe), 49407);
    check_golden(bpe);
    vipo_clip_bpe_close(&bpe);
    assert_null(bpe);
}

static void test_golden_whole(void **state)
{
    (void)state;
    const char *folder = getenv("VIPO_CLIP_VOCAB");
    if (!folder) skip();
    char vocabulary[512], merges[512];
    snprintf(vocabulary, sizeof vocabulary, "%s/vocab.json", folder);
    snprintf(merges, sizeof merges, "%s/merges.txt", folder);
    vipo_clip_bpe *bpe;
    vipo_error error;
    assert_ok(vipo_clip_bpe_open(&bpe, vocabulary, merges, &error), &error);
    check_golden(bpe);
    vipo_clip_bpe_close(&bpe);
}

static void test_model_folder(void **state)
{
    (void)state;
    json_t *config = load("models/metaworld-64/config.json");
    json_t *tests = json_object_get(json_object_get(config, "tokenizer"), "tests");
    assert_true(json_object_size(tests) >= 5);
    const char *text;
    const json_t *expected;
    json_object_foreach(tests, text, expected)
    {
        int32_t ids[ROOM];
        int count;
        bool truncated = true;
        vipo_error error;
        assert_ok(
            vipo_tokenize(test_path("models/metaworld-64"), text, 77, ids, ROOM, &count, &truncated, &error),
            &error);
        assert_false(truncated);
        assert_int_equal(count, json_array_size(expected));
        for (int i = 0; i < count; i++)
            assert_int_equal(ids[i], json_integer_value(json_array_get(expected, (size_t)i)));
    }
    json_decref(config);
    int count;
    vipo_error error;
    assert_int_equal(vipo_tokenize("/no/such/folder", "x", 0, NULL, 0, &count, NULL, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "/no/such/folder/vocab.json"));
}

static void assert_same(const vipo_clip_bpe *bpe, const char *a, const char *b)
{
    int32_t ids[2][ROOM];
    int count[2];
    vipo_error error;
    assert_ok(vipo_clip_bpe_encode(bpe, a, 0, ids[0], ROOM, &count[0], NULL, &error), &error);
    assert_ok(vipo_clip_bpe_encode(bpe, b, 0, ids[1], ROOM, &count[1], NULL, &error), &error);
    if (count[0] != count[1] || memcmp(ids[0], ids[1], (size_t)count[0] * sizeof(int32_t)) != 0)
        fail_msg("\"%s\" and \"%s\" have different ids", a, b);
}

static void test_normalisation(void **state)
{
    (void)state;
    vipo_clip_bpe *bpe = open_trimmed();
    assert_same(bpe, "\xe2\x84\xab", "\xc3\xa5");             /* angstrom sign */
    assert_same(bpe, "\xe2\x84\xaa", "k");                    /* kelvin sign */
    assert_same(bpe, "\xc4\xb0", "i\xcc\x87");                /* dotted capital I */
    assert_same(bpe, "\xce\x9f\xce\xa3", "\xce\xbf\xcf\x83"); /* no final sigma */
    assert_same(bpe, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81");
    assert_same(bpe, "a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81"); /* marks in canonical order */
    assert_same(bpe,
                "a\xe1\xa0\x8e"
                "b",
                "a \xe1\xa0\x8e b"); /* U+180E is no white space */
    assert_same(bpe,
                "a\xc2\x85"
                "b\x0b"
                "c",
                "a b c"); /* U+0085 and U+000B are */
    assert_same(bpe, "door's", "door 's");
    assert_same(bpe, "42", "4 2");

    /* U+11A7 follows a syllable without joining it. */
    int32_t ids[ROOM];
    int with, without;
    vipo_error error;
    assert_ok(vipo_clip_bpe_encode(bpe, "\xea\xb0\x80\xe1\x86\xa7", 0, ids, ROOM, &with, NULL, &error),
              &error);
    assert_ok(vipo_clip_bpe_encode(bpe, "\xea\xb0\x80", 0, ids, ROOM, &without, NULL, &error), &error);
    assert_true(with > without);
    vipo_clip_bpe_close(&bpe);
}

static void test_special_tokens(void **state)
{
    (void)state;
    vipo_clip_bpe *bpe = open_trimmed();
    int32_t ids[ROOM];
    int count;
    vipo_error error;
    assert_ok(vipo_clip_bpe_encode(bpe, "<|endoftext|><|startoftext|>", 0, ids, ROOM, &count, NULL, &error),
              &error);
    const int32_t expected[] = {49406, 49407, 49406, 49407};
    assert_int_equal(count, 4);
    assert_memory_equal(ids, expected, sizeof expected);
    /* In capitals it is an ordinary text, and stands apart from what follows. */
    assert_same(bpe, "<|ENDOFTEXT|>!", "<| endoftext |> !");
    assert_same(bpe, "!<|ENDOFTEXT|>!", "!<| endoftext |>!");
    vipo_clip_bpe_close(&bpe);
}

static void test_limits(void **state)
{
    (void)state;
    vipo_clip_bpe *bpe = open_trimmed();
    int32_t ids[8] = {0};
    int count;
    bool truncated;
    vipo_error error;
    const char *text = "1 2 3 4"; /* four tokens */
    assert_ok(vipo_clip_bpe_encode(bpe, text, 6, ids, 8, &count, &truncated, &error), &error);
    assert_int_equal(count, 6);
    assert_false(truncated);
    assert_ok(vipo_clip_bpe_encode(bpe, text, 5, ids, 8, &count, &truncated, &error), &error);
    assert_int_equal(count, 5);
    assert_true(truncated);
    assert_int_equal(ids[4], 49407);
    assert_ok(vipo_clip_bpe_encode(bpe, text, 2, ids, 2, &count, &truncated, &error), &error);
    assert_int_equal(count, 2);
    assert_true(truncated);
    assert_ok(vipo_clip_bpe_encode(bpe, text, 0, NULL, 0, &count, NULL, &error), &error);
    assert_int_equal(count, 6);

    ids[3] = 77;
    assert_int_equal(vipo_clip_bpe_encode(bpe, text, 0, ids, 3, &count, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "text: 6 tokens, expected at most 3");
    assert_int_equal(ids[3], 77);
    assert_int_equal(vipo_clip_bpe_encode(bpe, text, 1, ids, 8, &count, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_clip_bpe_encode(bpe, text, -1, ids, 8, &count, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    vipo_clip_bpe_close(&bpe);
}

static void test_not_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int offset;
    } cases[] = {{"\xff", 0},           {"open \xe9 door", 5},   {"caf\xc3", 3},         {"\xc0\xaf", 0},
                 {"ab\xed\xa0\x80", 2}, {"\xf4\x90\x80\x80", 0}, {"\xe2\x82\xac\x80", 3}};
    vipo_clip_bpe *bpe = open_trimmed();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int count = 7;
        char expected[64];
        vipo_error error;
        assert_int_equal(vipo_clip_bpe_encode(bpe, cases[i].text, 77, NULL, 0, &count, NULL, &error),
                         VIPO_FORMAT);
        snprintf(expected, sizeof expected, "text: byte %d is not UTF-8", cases[i].offset);
        assert_string_equal(error.message, expected);
        assert_int_equal(count, 0);
    }
    vipo_clip_bpe_close(&bpe);
}

/* A megabyte of each must be done in about a second, not in hours. */
static void test_hostile_texts(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "x", "etaoinsh", "\xcc\x81\xcc\x96", "a\xcc\x96\xcc\x81", "<|endoftext|>", "<|", " ",
        "!", "1 ",       "\xef\xac\xac",     "\xe1\x86\xa7"};
    vipo_clip_bpe *bpe = open_trimmed();
    char *text = malloc(VIPO_CLIP_TEXT_MAX + 2);
    assert_non_null(text);
    int count;
    bool truncated;
    vipo_error error;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const size_t step = strlen(parts[i]);
        size_t n = 0;
        for (; n + step <= VIPO_CLIP_TEXT_MAX; n += step) memcpy(text + n, parts[i], step);
        text[n] = '\0';
        assert_ok(vipo_clip_bpe_encode(bpe, text, 0, NULL, 0, &count, NULL, &error), &error);
        assert_ok(vipo_clip_bpe_encode(bpe, text, 77, NULL, 0, &count, &truncated, &error), &error);
        assert_int_equal(count, truncated ? 77 : 2);
    }
    memset(text, 'x', VIPO_CLIP_TEXT_MAX + 1);
    text[VIPO_CLIP_TEXT_MAX + 1] = '\0';
    assert_int_equal(vipo_clip_bpe_encode(bpe, text, 0, NULL, 0, &count, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "text: 1048577 bytes, expected at most 1048576");
    free(text);
    vipo_clip_bpe_close(&bpe);
}

static void *encode_often(void *arg)
{
    const vipo_clip_bpe *bpe = arg;
    static const char text[] = "pick up the red block and place it on the blue block";
    for (int i = 0; i < 200; i++) {
        int32_t ids[ROOM];
        int count;
        if (vipo_clip_bpe_encode(bpe, text, 77, ids, ROOM, &count, NULL, NULL) != VIPO_OK || count != 14 ||
            ids[1] != 3142)
            return arg;
    }
    return NULL;
}

static void test_shared_by_threads(void **state)
{
    (void)state;
    vipo_clip_bpe *bpe = open_trimmed();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_often, bpe), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    vipo_clip_bpe_close(&bpe);
}

/* ---- wrong files --------------------------------------------------------------------------------- */

static const char *write_text(const char *name, const char *text, size_t size)
{
    const char *path = test_temporary(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void assert_refused(const char *vocabulary, const char *merges, size_t merges_size, const char *part)
{
    const char *vocabulary_path = vocabulary ? write_text("vocab.json", vocabulary, strlen(vocabulary))
                                             : test_path("tests/golden/clip/vocab.trimmed.json");
    const char *merges_path = write_text("merges.txt", merges, merges_size);
    vipo_clip_bpe *bpe;
    vipo_error error;
    assert_int_equal(vipo_clip_bpe_open(&bpe, vocabulary_path, merges_path, &error), VIPO_FORMAT);
    assert_null(bpe);
    if (!strstr(error.message, part)) fail_msg("%s; expected: %s", error.message, part);
}

static void test_wrong_files(void **state)
{
    (void)state;
#define REFUSED_MERGES(text, part) assert_refused(NULL, text, sizeof text - 1, part)
    REFUSED_MERGES("#version: 0.2\nt\n", "merges.txt: line 2: expected two tokens");
    REFUSED_MERGES("t h e\n", "line 1: expected two tokens and a space between them, found \"t h e\"");
    REFUSED_MERGES(" h\n", "line 1: expected two tokens");
    REFUSED_MERGES("t \n", "line 1: expected two tokens");
    REFUSED_MERGES("t\0 h\n", "line 1: expected two tokens");
    REFUSED_MERGES("t h\n\nt h\n", "line 3: this merge was given before");
    REFUSED_MERGES("t qqqqq\n", "line 1: \"qqqqq\" is not in the vocabulary");
    REFUSED_MERGES("q </w>\n", "line 1: \"</w>\" is not in the vocabulary");
    REFUSED_MERGES("#version\n#version\n", "line 2: expected two tokens");
    REFUSED_MERGES("\xff\xfe t\n", "is not in the vocabulary");
#undef REFUSED_MERGES
    char line[3000];
    memset(line, 'a', sizeof line);
    line[1500] = ' ';
    assert_refused(NULL, line, sizeof line, "line 1: expected two tokens");

    assert_refused("[]", "", 0, "expected an object of tokens and ids");
    assert_refused("{}", "", 0, "vocab.json: \xc4\x80: missing, expected an integer in");
    assert_refused("{\"a\": -1}", "", 0, "vocab.json: a: expected an integer in 0..16777215, found -1");
    assert_refused("{\"a\": 16777216}", "", 0, "found 16777216");
    assert_refused("{\"a\": \"b\"}", "", 0, "found string \"b\"");
    assert_refused("{\"a\": null}", "", 0, "a: expected an integer");
    assert_refused("{\"a\": 3, \"b\": 3}", "", 0, "has id 3, which another token has");
}

/* No #version line, Windows line ends, no newline at the end, no merges at all. */
static void test_merges_spelling(void **state)
{
    (void)state;
    static const char *const spellings[] = {"#version: 0.2\nt h\nth e</w>\n", "t h\nth e</w>",
                                            "t h\r\nth e</w>\r\n", "\n\nt h\n\nth e</w>\n\n"};
    vipo_clip_bpe *bpe;
    vipo_error error;
    int32_t ids[ROOM];
    int count;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        const char *merges = write_text("merges.txt", spellings[i], strlen(spellings[i]));
        assert_ok(vipo_clip_bpe_open(&bpe, test_path("tests/golden/clip/vocab.trimmed.json"), merges, &error),
                  &error);
        assert_ok(vipo_clip_bpe_encode(bpe, "the", 0, ids, ROOM, &count, NULL, &error), &error);
        assert_int_equal(count, 3);
        assert_int_equal(ids[1], 518);
        vipo_clip_bpe_close(&bpe);
    }
    const char *empty = write_text("merges.txt", "", 0);
    assert_ok(vipo_clip_bpe_open(&bpe, test_path("tests/golden/clip/vocab.trimmed.json"), empty, &error),
              &error);
    assert_ok(vipo_clip_bpe_encode(bpe, "the", 0, ids, ROOM, &count, NULL, &error), &error);
    assert_int_equal(count, 5);
    vipo_clip_bpe_close(&bpe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_trimmed),    cmocka_unit_test(test_golden_whole),
        cmocka_unit_test(test_model_folder),      cmocka_unit_test(test_normalisation),
        cmocka_unit_test(test_special_tokens),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_not_utf8),          cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_wrong_files),       cmocka_unit_test(test_merges_spelling),
        cmocka_unit_test(test_shared_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
