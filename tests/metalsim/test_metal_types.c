/* The list of selectors against its own C types, and against what the runtime says at open. */
#include "metal_world.h"

#include "drivers/metal/objc.h"

/* The letters of the types of a row, to compare with the encoding that the row has. */
#define LETTERS(T) \
    _Generic((T *)0,                                                                               \
        void *: "v", mtl_id *: "@", mtl_id **: "^@", mtl_sel *: ":", mtl_block *: "@?",           \
        mtl_bool *: "B", uint8_t *: "C", uint64_t *: "Q", int64_t *: "q", double *: "d",          \
        void **: "^v", const void **: "r^v", const char **: "r*",                                 \
        struct mtl_range *: "{_NSRange=QQ}", struct mtl_size *: "{?=QQQ}",   \
        struct mtl_version *: "{?=qqq}")

static const struct {
    const char *selector, *encoding, *letters[7];
} rows[] = {
#define SEND0(on, name, s, e, o, v, n, R) {s, e, {LETTERS(R)}},
#define SEND1(on, name, s, e, o, v, n, R, A) {s, e, {LETTERS(R), LETTERS(A)}},
#define SEND2(on, name, s, e, o, v, n, R, A, B) {s, e, {LETTERS(R), LETTERS(A), LETTERS(B)}},
#define SEND3(on, name, s, e, o, v, n, R, A, B, C) \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C)}},
#define SEND4(on, name, s, e, o, v, n, R, A, B, C, D) \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C), LETTERS(D)}},
#define SEND5(on, name, s, e, o, v, n, R, A, B, C, D, E) \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C), LETTERS(D), LETTERS(E)}},
#include "drivers/metal/selectors.inc"
#include "drivers/metal/selectors_end.inc"
};

/* The encodings of the list are those of its own C types, and there are as many arguments as the
 * selector has colons. */
static void test_list(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char letters[128];
        int length = snprintf(letters, sizeof letters, "%s@:", rows[i].letters[0]), arguments = 0;
        for (int a = 1; rows[i].letters[a]; a++, arguments++)
            length += snprintf(letters + length, sizeof letters - (size_t)length, "%s",
                               rows[i].letters[a]);
        int colons = 0;
        for (const char *p = rows[i].selector; *p; p++)
            colons += *p == ':';
        if (!ferry__mtl_same_encoding(letters, rows[i].encoding) || colons != arguments)
            fail_msg("%s: the types are %s, the encoding is %s", rows[i].selector, letters,
                     rows[i].encoding);
    }
}

static void test_same_encoding(void **unused)
{
    (void)unused;
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"v24@0:8@16", "v24@0:8@?16", true},
        {"v32@0:8{_NSRange=QQ}16", "v32@0:8{?=QQ}16", true},
        {"@24@0:8r*16", "@24@0:8^v16", true},
        {"@24@0:8^@16", "@24@0:8^{NSError=#@[3i]}16", true},
        {"@24@0:8@\"NSString\"16", "@24@0:8@16", true},
        {"@24@0:8@?<v@?@>16", "@24@0:8@?16", true},
        {"B16@0:8", "c16@0:8", true},
        {"Q16@0:8", "q16@0:8", true},
        {"Q16@0:8", "I16@0:8", false},
        {"Q16@0:8", "Vv16@0:8", false},
        {"Vv16@0:8", "v16@0:8", true},
        {"v16@0:8", "v24@0:8@16", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (ferry__mtl_same_encoding(pairs[i].a, pairs[i].b) != pairs[i].same ||
            ferry__mtl_same_encoding(pairs[i].b, pairs[i].a) != pairs[i].same)
            fail_msg("%s and %s", pairs[i].a, pairs[i].b);
}

/* A method whose types are not those of the list is an error in words at device open. */
static void test_types(void **unused)
{
    (void)unused;
    static const struct {
        const char *selector, *encoding, *says;
    } wrong[] = {
        {"newBufferWithLength:options:", "@32@0:8I16Q24", "newBufferWithLength:options:"},
        {"contents", "Q16@0:8", "contents"},
        {"copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:", "v48@0:8@16Q24@32Q40",
         "copyFromBuffer:"},
        {"fillBuffer:range:value:", "v44@0:8@16{_NSRange=QQ}24S40", "fillBuffer:"},
        {"GPUStartTime", "f16@0:8", "GPUStartTime"},
        {"setSignaledValue:", "v20@0:8i16", "setSignaledValue:"},
        {"objectAtIndex:", "@24@0:8f16", "objectAtIndex:"},
        {"maxTotalThreadsPerThreadgroup", "d16@0:8", NULL},
        {"commit", "v16@0:8", NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        start_machine(&(struct metalsim_config){.machine = METALSIM_INTEL,
                                                .retyped = wrong[i].selector,
                                                .encoding = wrong[i].encoding});
        struct world world = {0};
        ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
        enum ferry_status status =
            driver->open(&(struct ferry__open_params){0}, &world.state, &world.limits, world.why);
        ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
        bool refused = wrong[i].says != NULL;
        assert_int_equal(status != FERRY_OK, refused);
        if (refused)
            assert_non_null(strstr(world.why, wrong[i].says));
        else
            close_world(&world);
    }
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_same_encoding),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
