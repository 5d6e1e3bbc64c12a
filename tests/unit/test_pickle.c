/* The restricted pickle reader: what Python writes in each protocol, and what nobody should. */
#include "support/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/pickle.h"

enum { GLOBAL_DICT, GLOBAL_CALL, GLOBAL_NAME, GLOBALS };
static const vipo_pickle_global globals[GLOBALS] = {
    [GLOBAL_DICT] = {"collections", "OrderedDict", VIPO_PICKLE_USE_DICT},
    [GLOBAL_CALL] = {"torch", "Size", VIPO_PICKLE_USE_CALL},
    [GLOBAL_NAME] = {"torch", "FloatStorage", VIPO_PICKLE_USE_NAME},
};

/* Reads the bytes where they are, or a copy without a byte to spare, so that sanitizers see reading too far. */
static vipo_status parse(vipo_pickle **out, const void *bytes, size_t size, vipo_error *error)
{
    unsigned char *copy = malloc(size);
    if (size > 0) {
        assert_non_null(copy);
        memcpy(copy, bytes, size);
    }
    const vipo_status tight = vipo_pickle_parse(out, copy, size, "a test", globals, GLOBALS, error);
    vipo_pickle_close(out);
    free(copy);
    const vipo_status status = vipo_pickle_parse(out, bytes, size, "a test", globals, GLOBALS, error);
    assert_int_equal(tight, status);
    return status;
}

/* The bytes of a literal, without its terminating zero. */
#define PICKLE(literal) (literal), sizeof(literal) - 1

static void fails_with(const void *bytes, size_t size, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    vipo_pickle *pickle;
    const vipo_status status = parse(&pickle, bytes, size, &error);
    if (status == VIPO_OK) fail_msg("accepted, expected: %s", part);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void render(const vipo_pickle *p, const vipo_pickle_value *v, char *out, size_t size)
{
    size_t used = strlen(out);
#define PUT(...) (used += (size_t)snprintf(out + used, size - used, __VA_ARGS__))
    switch (v->kind) {
    case VIPO_PICKLE_NONE:
        PUT("None");
        return;
    case VIPO_PICKLE_BOOL:
        PUT("%s", v->integer ? "True" : "False");
        return;
    case VIPO_PICKLE_INT:
        PUT("%lld", (long long)v->integer);
        return;
    case VIPO_PICKLE_BIG_INT:
        PUT("big");
        return;
    case VIPO_PICKLE_FLOAT:
        PUT("%g", v->number);
        return;
    case VIPO_PICKLE_TEXT:
        if (v->text.length > 99)
            PUT("text of %zu", v->text.length);
        else
            PUT("'%.*s'", (int)v->text.length, v->text.bytes);
        return;
    case VIPO_PICKLE_BYTES:
        PUT("b'%.*s'", (int)v->text.length, v->text.bytes);
        return;
    case VIPO_PICKLE_GLOBAL:
        PUT("global %d", v->global);
        return;
    case VIPO_PICKLE_CALL:
        PUT("call %d", v->global);
        render(p, vipo_pickle_at(p, v->part), out, size);
        return;
    case VIPO_PICKLE_PERSISTENT:
        PUT("persistent ");
        render(p, vipo_pickle_at(p, v->part), out, size);
        return;
    default:
        break;
    }
    const bool is_dict = v->kind == VIPO_PICKLE_DICT;
    PUT("%s", is_dict ? "{" : v->kind == VIPO_PICKLE_LIST ? "[" : "(");
    for (uint32_t i = 0; i < v->list.count; i++) {
        if (i > 0) PUT("%s", is_dict && i % 2 ? ": " : ", ");
        render(p, vipo_pickle_at(p, v->list.items[i]), out, size);
        used = strlen(out);
    }
    PUT("%s", is_dict ? "}" : v->kind == VIPO_PICKLE_LIST ? "]" : ")");
#undef PUT
}

static void reads_as(const void *bytes, size_t size, const char *expected)
{
    char found[2048] = "";
    vipo_error error = {0};
    vipo_pickle *pickle;
    assert_ok(parse(&pickle, bytes, size, &error), &error);
    render(pickle, vipo_pickle_root(pickle), found, sizeof found);
    vipo_pickle_close(&pickle);
    assert_string_equal(found, expected);
}

/* pickle.dumps of one object in protocols 2 to 5 (CPython 3.11). */
static const char *const written[] = {
    "80027d71002858010000006171015d7102284b014affffffff4bff4d2c014ad4feffff4a701101004affffff7f4a00000080"
    "8a060000000000018a060000000000ff8a08ffffffffffffff7f8a0800000000000000808a090000000000000000404b0065"
    "58010000006271032888894e473ff800000000000047bfd00000000000007471045802000000c3a971057d71062858010000"
    "007871072958010000007971084b0185710958010000007a710a4b014b0286710b580100000077710c4b014b024b0387710d"
    "580100000076710e284b014b024b034b0474710f7558010000006c71105d71115802000000733171125d7113580100000073"
    "711461580200000073327115681358020000006f64711663636f6c6c656374696f6e730a4f726465726564446963740a7117"
    "295271182858010000006b71194b0158010000006d711a4b02757d711b58090000005f6d65746164617461711c6817295271"
    "1d5800000000711e7d711f580700000076657273696f6e71204b017373736258030000006269677121582c01000071717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171225804"
    "0000006d616e7971235d7124284b004b014b0265752e",
    "80037d71002858010000006171015d7102284b014affffffff4bff4d2c014ad4feffff4a701101004affffff7f4a00000080"
    "8a060000000000018a060000000000ff8a08ffffffffffffff7f8a0800000000000000808a090000000000000000404b0065"
    "58010000006271032888894e473ff800000000000047bfd00000000000007471045802000000c3a971057d71062858010000"
    "007871072958010000007971084b0185710958010000007a710a4b014b0286710b580100000077710c4b014b024b0387710d"
    "580100000076710e284b014b024b034b0474710f7558010000006c71105d71115802000000733171125d7113580100000073"
    "711461580200000073327115681358020000006f64711663636f6c6c656374696f6e730a4f726465726564446963740a7117"
    "295271182858010000006b71194b0158010000006d711a4b02757d711b58090000005f6d65746164617461711c6817295271"
    "1d5800000000711e7d711f580700000076657273696f6e71204b017373736258030000006269677121582c01000071717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171225804"
    "0000006d616e7971235d7124284b004b014b0265752e",
    "80049573020000000000007d94288c0161945d94284b014affffffff4bff4d2c014ad4feffff4a701101004affffff7f4a00"
    "0000808a060000000000018a060000000000ff8a08ffffffffffffff7f8a0800000000000000808a09000000000000000040"
    "4b00658c0162942888894e473ff800000000000047bfd000000000000074948c02c3a9947d94288c017894298c0179944b01"
    "85948c017a944b014b0286948c0177944b014b024b0387948c017694284b014b024b034b047494758c016c945d948c027331"
    "945d948c017394618c0273329468138c026f64948c0b636f6c6c656374696f6e73948c0b4f72646572656444696374949394"
    "295294288c016b944b018c016d944b02757d948c095f6d657461646174619468192952948c00947d948c0776657273696f6e"
    "944b01737373628c0362696794582c0100007171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "717171717171717171717171717171717171948c046d616e79945d94284b004b014b0265752e",
    "80059573020000000000007d94288c0161945d94284b014affffffff4bff4d2c014ad4feffff4a701101004affffff7f4a00"
    "0000808a060000000000018a060000000000ff8a08ffffffffffffff7f8a0800000000000000808a09000000000000000040"
    "4b00658c0162942888894e473ff800000000000047bfd000000000000074948c02c3a9947d94288c017894298c0179944b01"
    "85948c017a944b014b0286948c0177944b014b024b0387948c017694284b014b024b034b047494758c016c945d948c027331"
    "945d948c017394618c0273329468138c026f64948c0b636f6c6c656374696f6e73948c0b4f72646572656444696374949394"
    "295294288c016b944b018c016d944b02757d948c095f6d657461646174619468192952948c00947d948c0776657273696f6e"
    "944b01737373628c0362696794582c0100007171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "7171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171717171"
    "717171717171717171717171717171717171948c046d616e79945d94284b004b014b0265752e",
};
enum { WRITTEN = sizeof written / sizeof written[0] };

static const char content[] =
    "{'a': [1, -1, 255, 300, -300, 70000, 2147483647, -2147483648, 1099511627776, -1099511627776, "
    "9223372036854775807, -9223372036854775808, big, 0], 'b': (True, False, None, 1.5, -0.25), "
    "'\xc3\xa9': {'x': (), 'y': (1), 'z': (1, 2), 'w': (1, 2, 3), 'v': (1, 2, 3, 4)}, 'l': [], 's1': ['s'], "
    "'s2': ['s'], 'od': {'k': 1, 'm': 2}, 'big': text of 300, 'many': [0, 1, 2]}";

static void test_protocols(void **state)
{
    (void)state;
    for (int i = 0; i < WRITTEN; i++) {
        test_bytes pickle = test_bytes_from_hex(written[i]);
        reads_as(pickle.bytes, pickle.size, content);
        free(pickle.bytes);
    }
    test_bytes sets = test_bytes_from_hex(
        "80059522000000000000005d94284303726177949602000000000000006261948f94284b0190284b029194652e");
    reads_as(sets.bytes, sets.size, "[b'raw', b'ba', [1], [2]]");
    free(sets.bytes);
}

static void test_calls(void **state)
{
    (void)state;
    reads_as(PICKLE("\x80\2ctorch\nSize\nK\1K\2\x86\x85R."), "call 1((1, 2))");
    reads_as(PICKLE("\x80\2(K\1itorch\nSize\n."), "call 1(1)");
    reads_as(PICKLE("\x80\2(ctorch\nSize\nK\1o."), "call 1(1)");
    reads_as(PICKLE("\x80\2ctorch\nSize\n)\x81."), "call 1()");
    reads_as(PICKLE("\x80\4\x8c\5torch\x8c\4Size\x93)}\x92."), "call 1()");
    reads_as(PICKLE("\x80\2ctorch\nFloatStorage\nX\1\0\0\0k\x86Q."), "persistent (global 2, 'k')");
    reads_as(PICKLE("\x80\2ccollections\nOrderedDict\n)R(K\1K\2u."), "{1: 2}");
    /* as Python 2 wrote it */
    reads_as(PICKLE("\x80\2ccollections\nOrderedDict\n](](U\1aK\1e](U\1bK\2ee\x85R."), "{'a': 1, 'b': 2}");
    reads_as(PICKLE("\x80\2ccollections\nOrderedDict\n)R}U\11_metadataK\1sb."), "{}");
    reads_as(PICKLE("\x80\2K\1K\x32"
                    "0."),
             "1");
    reads_as(PICKLE("\x80\2K\1(K\x32K\3"
                    "1."),
             "1");
    reads_as(PICKLE("\x80\2K\7"
                    "2\x86."),
             "(7, 7)");
}

/* ---- refusals ------------------------------------------------------------------------------------------- */

static void test_foreign_globals(void **state)
{
    (void)state;
    const vipo_status no = VIPO_UNSUPPORTED;
    fails_with(PICKLE("\x80\2cos\nsystem\nX\2\0\0\0ls\x85R."), no, "refers to os.system");
    fails_with(PICKLE("\x80\2cposix\nsystem\nX\2\0\0\0ls\x85R."), no, "posix.system");
    fails_with(PICKLE("\x80\4\x8c\2os\x8c\6system\x93\x8c\2ls\x85R."), no, "os.system");
    fails_with(PICKLE("\x80\2(X\2\0\0\0lsios\nsystem\n."), no, "os.system");
    fails_with(PICKLE("\x80\2(cos\nsystem\nX\2\0\0\0lso."), no, "os.system");
    fails_with(PICKLE("\x80\2cbuiltins\neval\nX\1\0\0\0"
                      "1\x85R."),
               no, "builtins.eval");
    fails_with(PICKLE("\x80\2c__builtin__\nexec\nX\1\0\0\0"
                      "1\x85\x81."),
               no, "__builtin__.exec");
    fails_with(PICKLE("\x80\4\x8c\10builtins\x8c\7getattr\x93)}\x92."), no, "builtins.getattr");
    fails_with(PICKLE("\x80\2csubprocess\nPopen\n."), no, "subprocess.Popen");
    /* near misses */
    fails_with(PICKLE("\x80\2ctorch\nsize\n."), no, "torch.size");
    fails_with(PICKLE("\x80\2ctorch.Size\n\n."), no, "torch.Size.");
    fails_with(PICKLE("\x80\2ctorch\nSize.__class__\n."), no, "torch.Size.__class__");
    fails_with(PICKLE("\x80\4\x8c\5torch\x8c\5Size\0\x93."), no, "torch.Size");
    /* a name that only may be mentioned */
    fails_with(PICKLE("\x80\2ctorch\nFloatStorage\n)R."), no, "calls torch.FloatStorage");
    fails_with(PICKLE("\x80\2(itorch\nFloatStorage\n."), no, "calls torch.FloatStorage");
}

static void test_one_line(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_pickle *pickle;
    const char evil[] = "\x80\4\x8c\5o\ns\x1b[\x8c\3\xff\nx\x93.";
    assert_int_equal(parse(&pickle, evil, sizeof evil - 1, &error), VIPO_UNSUPPORTED);
    for (const char *c = error.message; *c; c++)
        assert_true((unsigned char)*c >= 32 && (unsigned char)*c < 127);
}

static void test_broken(void **state)
{
    (void)state;
    const vipo_status no = VIPO_FORMAT;
    fails_with(PICKLE(""), no, "truncated");
    fails_with(PICKLE("\x80"), no, "truncated");
    fails_with(PICKLE("\x80\2"), no, "without STOP");
    fails_with(PICKLE("\x80\1K\1."), no, "protocols 2 to 5");
    fails_with(PICKLE("\x80\6K\1."), no, "protocols 2 to 5");
    fails_with(PICKLE("K\1."), no, "protocols 2 to 5");
    fails_with(PICKLE("\x80\2."), no, "one value");
    fails_with(PICKLE("\x80\2K\1K\1."), no, "one value");
    fails_with(PICKLE("\x80\2(K\1."), no, "one value");
    fails_with(PICKLE("\x80\2K\1.x"), no, "follows its end");
    fails_with(PICKLE("\x80\2I1\n."), no, "opcode 0x49");
    fails_with(PICKLE("\x80\2Pabc\n."), no, "opcode 0x50");
    fails_with(PICKLE("\x80\2\x82\1."), no, "opcode 0x82");
    fails_with(PICKLE("\x80\5\x97."), no, "opcode 0x97");
    fails_with(PICKLE("\x80\2\x80\2K\1."), no, "opcode 0x80");
    fails_with(PICKLE("\x80\2\0."), no, "opcode 0x00");
    fails_with(PICKLE("\x80\2"
                      "0."),
               no, "stack is empty");
    fails_with(PICKLE("\x80\2K\1("
                      "0."),
               no, "stack is empty");
    fails_with(PICKLE("\x80\2"
                      "1."),
               no, "without a MARK");
    fails_with(PICKLE("\x80\2t."), no, "without a MARK");
    fails_with(PICKLE("\x80\2u."), no, "without a MARK");
    fails_with(PICKLE("\x80\2(e."), no, "stack is empty");
    fails_with(PICKLE("\x80\2(u."), no, "stack is empty");
    fails_with(PICKLE("\x80\2K\1a."), no, "stack is empty");
    fails_with(PICKLE("\x80\2K\1K\2a."), no, "no list");
    fails_with(PICKLE("\x80\2)K\2a."), no, "no list");
    fails_with(PICKLE("\x80\2]K\1K\2s."), no, "no dict");
    fails_with(PICKLE("\x80\2}(K\1u."), no, "no value");
    fails_with(PICKLE("\x80\2(K\1d."), no, "no value");
    fails_with(PICKLE("\x80\2K\1\x86."), no, "stack is empty");
    fails_with(PICKLE("\x80\2K\1K\1R."), no, "no global");
    fails_with(PICKLE("\x80\2ctorch\nSize\nK\1R."), no, "no tuple");
    fails_with(PICKLE("\x80\2(o."), no, "without its class");
    fails_with(PICKLE("\x80\4K\1K\2\x93."), no, "no string");
    fails_with(PICKLE("\x80\2ctorch"), no, "line without end");
    fails_with(PICKLE("\x80\2)}b."), no, "no dict");
    fails_with(PICKLE("\x80\2ccollections\nOrderedDict\nK\1K\1\x86R."), no, "several arguments");
    fails_with(PICKLE("\x80\2ccollections\nOrderedDict\nK\1\x85R."), no, "no list");
    fails_with(PICKLE("\x80\2ccollections\nOrderedDict\n]K\1a\x85R."), no, "pairs");
    fails_with(PICKLE("\x80\4ctorch\nSize\n)}K\1K\1s\x92."), no, "keyword");
    fails_with(PICKLE("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xffK\1."), no, "frame");
}

static void test_huge_numbers(void **state)
{
    (void)state;
    const vipo_status no = VIPO_FORMAT;
    fails_with(PICKLE("\x80\2\x8b\xff\xff\xff\xff\1."), no, "asks for 4294967295 bytes");
    fails_with(PICKLE("\x80\2\x8b\0\0\0\x80\1."), no, "asks for");
    fails_with(PICKLE("\x80\2\x8a\xff\1\1."), no, "asks for 255 bytes");
    fails_with(PICKLE("\x80\2X\xff\xff\xff\xff"
                      "abc."),
               no, "asks for");
    fails_with(PICKLE("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"
                      "abc."),
               no, "asks for");
    fails_with(PICKLE("\x80\4\x8e\0\0\0\0\0\0\0\x80"
                      "abc."),
               no, "asks for");
    fails_with(PICKLE("\x80\5\x96\xff\xff\xff\xff\xff\xff\xff\xff"
                      "abc."),
               no, "asks for");
    fails_with(PICKLE("\x80\2T\xff\xff\xff\xff"
                      "abc."),
               no, "asks for");
    fails_with(PICKLE("\x80\2K\1r\xff\xff\xff\xff."), no, "memo index beyond");
    fails_with(PICKLE("\x80\2K\1r\0\0\0\1."), no, "memo index beyond");
    fails_with(PICKLE("\x80\2K\1q\x7f."), no, "memo index beyond");
    fails_with(PICKLE("\x80\2K\1q\2."), no, "memo index beyond");
    fails_with(PICKLE("\x80\2j\xff\xff\xff\xff."), no, "never stored");
    fails_with(PICKLE("\x80\2h\0."), no, "never stored");
    fails_with(PICKLE("\x80\2K\1q\1h\0."), no, "never stored");
    fails_with(PICKLE("\x80\2q\0."), no, "stack is empty");
}

/* Small files that describe a lot. */
static void test_bombs(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_pickle *pickle;
    test_bytes bytes = {0};
    test_pickle_op(&bytes, "\x80\2]");
    for (int i = 0; i < 200; i++) test_pickle_op(&bytes, "2\x86"); /* 2^200 lists, as a tree */
    test_pickle_op(&bytes, ".");
    assert_ok(parse(&pickle, bytes.bytes, bytes.size, &error), &error);
    assert_int_equal(vipo_pickle_count(pickle), 201);
    vipo_pickle_close(&pickle);

    bytes.size = 3; /* lists in lists, without marks */
    for (int i = 0; i < 300000; i++) test_pickle_op(&bytes, "]");
    for (int i = 0; i < 300000; i++) test_pickle_op(&bytes, "a");
    test_pickle_op(&bytes, ".");
    assert_ok(parse(&pickle, bytes.bytes, bytes.size, &error), &error);
    vipo_pickle_close(&pickle);

    bytes.size = 2;
    for (int i = 0; i < 1001; i++) test_pickle_op(&bytes, "(");
    fails_with(bytes.bytes, bytes.size, VIPO_UNSUPPORTED, "nests deeper than 1000");
    bytes.size = 2;
    for (int i = 0; i < 1000; i++) test_pickle_op(&bytes, "(");
    for (int i = 0; i < 1000; i++) test_pickle_op(&bytes, "t");
    test_pickle_op(&bytes, ".");
    assert_ok(parse(&pickle, bytes.bytes, bytes.size, &error), &error);
    vipo_pickle_close(&pickle);

    /* a list that holds itself */
    fails_with(PICKLE("\x80\2]q\0h\0a"), VIPO_FORMAT, "without STOP");
    assert_ok(parse(&pickle, PICKLE("\x80\2]q\0h\0a."), &error), &error);
    const vipo_pickle_value *root = vipo_pickle_root(pickle);
    assert_ptr_equal(vipo_pickle_item(pickle, root, 0), root);
    assert_null(vipo_pickle_item(pickle, root, 1));
    vipo_pickle_close(&pickle);

    /* dicts made from one long list again and again: N copies of N pairs */
    bytes.size = 2;
    test_pickle_op(&bytes, "]q");
    test_bytes_add(&bytes, "\0(", 2);
    for (int i = 0; i < 20000; i++) test_bytes_add(&bytes, "K\1K\1\x86", 5);
    test_pickle_op(&bytes, "e");
    for (int i = 0; i < 20000; i++) {
        test_pickle_op(&bytes, "ccollections\nOrderedDict\nh");
        test_bytes_add(&bytes, "\0\x85R", 3);
    }
    fails_with(bytes.bytes, bytes.size, VIPO_UNSUPPORTED, "hold more than 16000000 items");
    free(bytes.bytes);
}

static void test_limits(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_pickle *pickle;
    const size_t n = VIPO_PICKLE_MAX_VALUES + 10;
    unsigned char *bytes = malloc(n);
    assert_non_null(bytes);
    memset(bytes, 'N', n);
    bytes[0] = 0x80;
    bytes[1] = 2;
    assert_int_equal(vipo_pickle_parse(&pickle, bytes, n, "a test", globals, GLOBALS, &error),
                     VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, "more than 4000000 values"));
    /* only the size is looked at */
    assert_int_equal(vipo_pickle_parse(&pickle, bytes, (size_t)VIPO_PICKLE_MAX_BYTES + 1, "a test", globals,
                                       GLOBALS, &error),
                     VIPO_UNSUPPORTED);
    free(bytes);
}

/* ---- damage --------------------------------------------------------------------------------------------- */

static void test_truncated_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < WRITTEN; i++) {
        test_bytes pickle = test_bytes_from_hex(written[i]);
        for (size_t size = 0; size < pickle.size; size++)
            fails_with(pickle.bytes, size, VIPO_FORMAT, size < 2 ? "truncated" : "");
        free(pickle.bytes);
    }
}

static void test_random_damage(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < WRITTEN; i++) {
        test_bytes pickle = test_bytes_from_hex(written[i]);
        for (int round = 0; round < 5000; round++) {
            unsigned char before[3];
            size_t at[3];
            for (int k = 0; k < 3; k++) {
                random = random * 6364136223846793005ULL + 1442695040888963407ULL;
                at[k] = (size_t)(random >> 33) % pickle.size;
                before[k] = pickle.bytes[at[k]];
                pickle.bytes[at[k]] = (unsigned char)(random >> 20);
            }
            vipo_error error = {0};
            vipo_pickle *damaged;
            if (parse(&damaged, pickle.bytes, pickle.size, &error) != VIPO_OK)
                assert_true(error.message[0] != '\0');
            vipo_pickle_close(&damaged);
            for (int k = 3; k-- > 0;) pickle.bytes[at[k]] = before[k];
        }
        free(pickle.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_foreign_globals),
        cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_huge_numbers),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
